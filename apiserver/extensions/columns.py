"""Printer columns of custom resources, as their definition describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api import codec
from api.types.apiextensions_v1 import CustomResourceColumnDefinition
from api.unstructured import Unstructured
from apiserver.extensions import jsonpath
from apiserver.printers import age
from apiserver.strategy import Column

_NAME = Column(
    "Name",
    format="name",
    description=(
        "Name must be unique within a namespace. Is required when creating resources, although some resources may "
        "allow a client to request the generation of an appropriate name automatically. Name is primarily intended "
        "for creation idempotence and configuration definition. Cannot be updated. More info: "
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
    ),
)
_AGE = CustomResourceColumnDefinition(
    name="Age",
    type="date",
    json_path=".metadata.creationTimestamp",
    description=(
        "CreationTimestamp is a timestamp representing the server time when this object was created. It is not "
        "guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It "
        "is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More "
        "info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
    ),
)


class Columns:
    """`described` are the definition's; without any there is the age."""

    def __init__(self, described: Sequence[CustomResourceColumnDefinition] | None) -> None:
        self._described = list(described or ()) or [_AGE]
        self.columns = [
            _NAME,
            *(
                Column(
                    column.name,
                    type=column.type,
                    format=column.format or "",
                    description=column.description
                    or f"Custom resource definition column (in JSONPath format): {column.json_path}",
                    priority=column.priority or 0,
                )
                for column in self._described
            ),
        ]

    def cells(self, obj: Unstructured) -> list[Any]:
        document = obj.document()
        cells: list[Any] = [obj.metadata.name]
        for column in self._described:
            cells.append(_cell(column.type, jsonpath.first(column.json_path, document)))
        return cells


def _cell(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "string":
        if isinstance(value, str):
            return value
        return codec.encode(value).decode()
    if kind == "integer":
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "number":
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "date" and isinstance(value, str):
        try:
            return age(value)
        except ValueError:
            return "<invalid>"
    return None
