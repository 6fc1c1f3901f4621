"""The shape of every type, as a tree that can be walked beside raw JSON.

msgspec decodes at C speed but can't tell which fields it didn't know, what merges how, or where the quantities are.
Strict field validation, patches and canonicalisation ask here instead. A node is made once per type, at first use.
"""

from __future__ import annotations

import types as python_types
import typing
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import msgspec

from api._merge_metadata import ATOMIC_STRUCTS, FIELDS
from api.model import Marker, RawJSON

NodeKind = Literal["struct", "list", "map", "scalar", "any"]


@dataclass(frozen=True)
class Merge:
    """How patches treat a field: see KEP-555 and upstream's strategic merge patch documentation."""

    strategies: tuple[str, ...] = ()
    merge_key: str = ""
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""


NO_MERGE = Merge()


@dataclass(eq=False)
class Node:
    """One place in a type. `go` is the Go type that upstream's messages name, `format` what a scalar means."""

    kind: NodeKind
    go: str
    format: str = ""
    element: Node | None = None
    struct: type[msgspec.Struct] | None = None
    fields: dict[str, Field] = field(default_factory=dict)
    atomic: bool = False


@dataclass(eq=False)
class Field:
    """A field of a struct: its attribute and JSON name, and how it merges."""

    name: str
    attribute: str
    merge: Merge
    _annotation: Any
    required: bool
    _node: Node | None = None

    @property
    def node(self) -> Node:
        """The shape of the field's value (made late: types refer to themselves)."""
        if self._node is None:
            self._node = _node(self._annotation)
        return self._node


@cache
def struct_node(struct: type[msgspec.Struct]) -> Node:
    """The shape of a struct type."""
    key = f"{struct.__module__.rsplit('.', 1)[-1]}.{struct.__name__}"
    merges = FIELDS.get(key, {})
    hints = typing.get_type_hints(struct, include_extras=True)
    version = struct.__module__.rsplit("_", 1)[-1]
    node = Node("struct", f"{version}.{struct.__name__}", struct=struct, atomic=key in ATOMIC_STRUCTS)
    for entry in msgspec.structs.fields(struct):
        row = merges.get(entry.encode_name)
        node.fields[entry.encode_name] = Field(
            name=entry.encode_name,
            attribute=entry.name,
            merge=Merge(*row) if row else NO_MERGE,
            _annotation=hints[entry.name],
            required=entry.default is msgspec.NODEFAULT,
        )
    return node


_PLAIN = {str: "string", bool: "bool", float: "float64", int: "int64"}
ANY = Node("any", "interface {}")
_RAW = Node("any", "v1.FieldsV1", "raw")


def _node(annotation: Any) -> Node:
    marker = None
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            base, *extras = typing.get_args(annotation)
            marker = next((e for e in extras if isinstance(e, Marker)), marker)
            annotation = base
        elif origin in (typing.Union, python_types.UnionType) and type(None) in typing.get_args(annotation):
            remaining = [a for a in typing.get_args(annotation) if a is not type(None)]
            if len(remaining) > 1:
                # `Annotated[str | int, ...] | None` keeps its annotation; a bare union of several is not a wire type.
                raise TypeError(f"ambiguous annotation {annotation}")
            annotation = remaining[0]
        else:
            break
    if annotation is RawJSON:
        return _RAW
    if marker:
        return Node("scalar", marker.go, marker.format)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return struct_node(annotation)
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is list:
        element = _node(arguments[0])
        return Node("list", f"[]{element.go}", element=element)
    if typing.get_origin(annotation) is dict:
        element = _node(arguments[1])
        go = "v1.ResourceList" if element.format == "quantity" else f"map[string]{element.go}"
        return Node("map", go, element=element)
    return Node("scalar", _PLAIN[annotation], _PLAIN[annotation]) if annotation in _PLAIN else ANY
