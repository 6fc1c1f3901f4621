"""How the pipeline treats custom resources of one version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api import codec, errors
from api.errors import FieldError
from api.resources import Resource
from api.types.apiextensions_v1 import CustomResourceDefinitionVersion
from api.types.meta_v1 import Status, StatusDetails
from api.unstructured import Unstructured
from apiserver.extensions import jsonpath
from apiserver.extensions.columns import Columns
from apiserver.extensions.rules import Rules
from apiserver.extensions.schema import Schema
from apiserver.extensions.validate import validate
from apiserver.strategy import Context, Strategy

_MAX_REPLICAS = 2**31 - 1


class CustomStrategy(Strategy):
    """`schema` is what objects are validated by: of this version, or of the stored one if a webhook converts."""

    unconditional_update = False

    def __init__(
        self, resource: Resource, version: CustomResourceDefinitionVersion, schema: Schema, paths: tuple[str, ...]
    ) -> None:
        super().__init__(resource)
        self.version = version
        self.schema = schema
        self.terminating = False
        self._rules = Rules(schema)
        self._columns = Columns(version.additional_printer_columns)
        self.columns = self._columns.columns
        self.selectable_fields = tuple(field.json_path.removeprefix(".") for field in version.selectable_fields or ())
        if version.deprecated:
            self.deprecation = version.deprecation_warning or f"{resource.api_version} {resource.kind} is deprecated"
        self._paths = paths  # of selectable fields, of any version: they share one cache
        subresources = version.subresources
        self.has_status = subresources is not None and subresources.status is not None
        self.scale = subresources.scale if subresources is not None else None

    # -- preparation ----------------------------------------------------------------------------------------------

    def prepare_create(self, ctx: Context, obj: Unstructured) -> None:
        if self.terminating:
            raise _terminating()
        if self.has_status:
            obj.content.pop("status", None)
        obj.metadata.generation = 1

    def prepare_update(self, ctx: Context, new: Unstructured, old: Unstructured) -> None:
        if self.has_status:
            new.content.pop("status", None)
            if "status" in old.content:
                new.content["status"] = old.content["status"]
        if self._but_status(new) != self._but_status(old):
            new.metadata.generation = (old.metadata.generation or 0) + 1

    def _but_status(self, obj: Unstructured) -> dict[str, Any]:
        if not self.has_status:
            return obj.content
        return {name: value for name, value in obj.content.items() if name != "status"}

    def prepare_status_update(self, ctx: Context, new: Unstructured, old: Unstructured) -> None:
        """Nothing but the status counts, and who manages what of it."""
        managed, version = new.metadata.managed_fields, new.metadata.resource_version
        status = new.content.get("status")
        new.content = {name: value for name, value in old.content.items() if name != "status"}
        if status is not None:
            new.content["status"] = status
        new.metadata = codec.deepcopy(old.metadata)
        new.metadata.managed_fields, new.metadata.resource_version = managed, version

    # -- validation -----------------------------------------------------------------------------------------------

    def validate_create(self, ctx: Context, obj: Unstructured) -> list[FieldError]:
        document = obj.document()
        found = validate(document, self.schema)
        found = found or self._scale_errors(document)
        return found or self._rules.check(document, None)

    def validate_update(self, ctx: Context, new: Unstructured, old: Unstructured) -> list[FieldError]:
        document, before = new.document(), old.document()
        found = validate(document, self.schema, before)
        found = found or self._scale_errors(document)
        return found or self._rules.check(document, before)

    def validate_status_update(self, ctx: Context, new: Unstructured, old: Unstructured) -> list[FieldError]:
        return self.validate_update(ctx, new, old)

    def _scale_errors(self, document: dict[str, Any]) -> list[FieldError]:
        if self.scale is None:
            return []
        found = []
        for path in (self.scale.spec_replicas_path, self.scale.status_replicas_path):
            value = jsonpath.first(path, document)
            if value is None or (isinstance(value, int) and 0 <= value <= _MAX_REPLICAS):
                continue
            if not isinstance(value, int):
                detail = f"should be an integer: {value!r}"
            elif value < 0:
                detail = "should be a non-negative integer"
            else:
                detail = f"should be less than or equal to {_MAX_REPLICAS}"
            found.append(FieldError.invalid(path.removeprefix("."), value, detail))
        return found

    # -- views ----------------------------------------------------------------------------------------------------

    def field_values(self, obj: Unstructured) -> Mapping[str, str]:
        if not self._paths:
            return {}
        document = obj.document()
        return {path.removeprefix("."): _text(jsonpath.first(path, document)) for path in self._paths}

    def cells(self, obj: Unstructured) -> list[Any]:
        return self._columns.cells(obj)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _terminating() -> errors.StatusError:
    return errors.StatusError(
        Status(
            status="Failure",
            code=405,
            reason="MethodNotAllowed",
            message="create not allowed while custom resource definition is terminating",
            details=StatusDetails(),
        )
    )
