"""A structural schema, compiled once, and what it does to values: prune, default, tell what is unknown.

Source: apiextensions-apiserver's schema, pruning and defaulting packages (KEP-1693, "Structural schemas"). Only the
structural part decides here; what `allOf` and the like say is for validation alone.
"""

from __future__ import annotations

import copy
from typing import Any

_IMPLICIT = ("apiVersion", "kind", "metadata")
_UNSET: Any = object()


class Schema:
    """One place of a structural schema. `raw` is the schema itself, for validation."""

    __slots__ = (
        "default",
        "embedded",
        "extra",
        "fill",
        "int_or_string",
        "items",
        "list_keys",
        "list_type",
        "map_type",
        "nullable",
        "preserve",
        "properties",
        "raw",
        "rules",
        "type",
    )

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.type: str = raw.get("type") or ""
        self.properties = {name: Schema(below) for name, below in (raw.get("properties") or {}).items()}
        items, extra = raw.get("items"), raw.get("additionalProperties")
        self.items = Schema(items) if isinstance(items, dict) else None
        #: What keys without a property have to be; True: anything.
        self.extra: Schema | bool | None = Schema(extra) if isinstance(extra, dict) else extra
        self.nullable = bool(raw.get("nullable"))
        self.default: Any = raw["default"] if raw.get("default") is not None else _UNSET
        self.preserve = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
        self.int_or_string = bool(raw.get("x-kubernetes-int-or-string"))
        self.list_type: str = raw.get("x-kubernetes-list-type") or ("atomic" if self.type == "array" else "")
        self.list_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type") or ""
        self.rules: list[dict[str, Any]] = raw.get("x-kubernetes-validations") or []
        #: Whether anything here or below has a default: most schemas have few.
        self.fill: bool = self.has_default or any(below.fill for below in self.below())

    @property
    def has_default(self) -> bool:
        return self.default is not _UNSET

    def below(self) -> list[Schema]:
        found = list(self.properties.values())
        found += [schema for schema in (self.items, self.extra) if isinstance(schema, Schema)]
        return found

    def of(self, name: str) -> Schema | None:
        """The schema of a field of an object."""
        found = self.properties.get(name)
        return found if found is not None else self.extra if isinstance(self.extra, Schema) else None


class Shape:
    """What a version's schema does to whole objects (`api.unstructured.Shape`)."""

    def __init__(self, schema: Schema, *, preserve: bool = False) -> None:
        self.schema = schema
        self._preserve = preserve  # spec.preserveUnknownFields of before v1

    def normalize(self, document: dict[str, Any]) -> None:
        if not self._preserve:
            prune(document, self.schema, root=True)
        if self.schema.fill:
            set_defaults(document, self.schema)

    def unknown(self, document: dict[str, Any]) -> list[str]:
        if self._preserve:
            return []
        found: list[str] = []
        prune(copy.deepcopy(document), self.schema, root=True, dropped=found)
        return found


def prune(
    value: Any, schema: Schema | None, *, root: bool = False, path: str = "", dropped: list[str] | None = None
) -> None:
    """Drop, in place, the fields that the schema does not know; `dropped` gets their paths."""
    if isinstance(value, list):
        items = schema.items if schema is not None else None
        if items is None and schema is not None and schema.preserve:
            return
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                prune(item, items, path=f"{path}[{index}]", dropped=dropped)
        return
    if not isinstance(value, dict):
        return
    whole = root or (schema is not None and schema.embedded)
    for name in list(value):
        if whole and name in _IMPLICIT:
            if name == "metadata" and not root:
                _prune_metadata(value, path, dropped)
            continue
        known = schema.of(name) if schema is not None else None
        below = value[name]
        where = f"{path}.{name}" if path else name
        if known is not None:
            if isinstance(below, dict | list):
                prune(below, known, path=where, dropped=dropped)
        elif schema is None or not (schema.preserve or schema.extra is True):
            del value[name]
            if dropped is not None:
                dropped.append(where)


def _prune_metadata(value: dict[str, Any], path: str, dropped: list[str] | None) -> None:
    from api.schema import struct_node
    from api.types.meta_v1 import ObjectMeta

    metadata = value["metadata"]
    if not isinstance(metadata, dict):
        return
    known = struct_node(ObjectMeta).fields
    for name in [name for name in metadata if name not in known]:
        del metadata[name]
        if dropped is not None:
            dropped.append(f"{path}.metadata.{name}" if path else f"metadata.{name}")


def set_defaults(value: Any, schema: Schema) -> None:
    """Fill in, in place; a null where none is allowed gives way to a default."""
    if not schema.fill:
        return
    if isinstance(value, list):
        if schema.items is not None:
            for item in value:
                set_defaults(item, schema.items)
        return
    if not isinstance(value, dict):
        return
    for name, below in schema.properties.items():
        if below.has_default and (name not in value or (value[name] is None and not below.nullable)):
            value[name] = copy.deepcopy(below.default)
        if below.fill and name in value:
            set_defaults(value[name], below)
    extra = schema.extra
    if isinstance(extra, Schema) and extra.fill:
        for name in value:
            if name in schema.properties:
                continue
            if value[name] is None and extra.has_default and not extra.nullable:
                value[name] = copy.deepcopy(extra.default)
            set_defaults(value[name], extra)
