"""Objects with every field of their kind set, made from the types; the values vary with where they stand."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from api.resources import RESOURCES
from api.schema import Node, struct_node
from api.types import meta_v1

_DEEP = 2
"""How far a JSON schema, the one type that holds itself, is followed: a schema in each place of a schema."""

_META = ("DeleteOptions", "Status", "APIGroup", "APIGroupList", "APIResourceList", "APIVersions")


def kinds() -> Iterator[tuple[str, str, type[Any]]]:
    """(apiVersion, kind, type) of all that is sent or received as an object of its own."""
    for resource in RESOURCES:
        yield resource.api_version, resource.kind, resource.type
        if resource.list_kind:
            yield resource.api_version, resource.list_kind, resource.list_type
        for sub in resource.subresource_table:
            for other in RESOURCES:
                found = getattr(__import__(other.type.__module__, fromlist=["x"]), sub.kind, None)
                if (other.group, other.version) == (sub.group, sub.version) and found is not None:
                    yield other.api_version, sub.kind, found
                    break
    for name in _META:
        yield "v1", name, getattr(meta_v1, name)


def filled(api_version: str, kind: str, type_: type[Any]) -> dict[str, Any]:
    """JSON values of an object of the kind."""
    made = _struct(struct_node(type_), (kind,))
    return {**made, "apiVersion": api_version, "kind": kind}


def _struct(node: Node, path: tuple[str, ...]) -> dict[str, Any]:
    made = {}
    for name, field in node.fields.items():
        if name in ("apiVersion", "kind") and _is_head(node, path):
            continue
        in_schema = len(path) - path.index("openAPIV3Schema") if "openAPIV3Schema" in path else 0
        if in_schema > _DEEP and field.node.kind != "scalar":
            continue
        value = _value(field.node, (*path, name))
        if value is not None:
            made[name] = value
    return made


def _is_head(node: Node, path: tuple[str, ...]) -> bool:
    """Embedded objects have no type of their own in protobuf: those of lists' items, and of an Eviction's options."""
    return "metadata" in node.fields or node.go.endswith(("Options", "List", "APIVersions", "APIGroup", "Status"))


def _value(node: Node, path: tuple[str, ...]) -> Any:
    number = len("".join(path))
    if node.kind == "struct":
        return _struct(node, path)
    if node.kind == "list":
        assert node.element is not None
        return [_value(node.element, (*path, str(index))) for index in range(2)]
    if node.kind == "map":
        assert node.element is not None
        return {name: _value(node.element, (*path, name)) for name in ("a", "é")}
    if node.kind == "any":
        return _free(path, number)
    scalars: dict[str, Any] = {
        "string": "/".join(path[-2:]) + "ü",
        "bool": True,
        "float64": number / 4,
        "int32": -number if number % 3 else number * 1000,
        "int64": number * 2**33 - 1,
        "quantity": f"{number}Mi",
        "int-or-string": -number if number % 2 else f"{number}%",
        "date-time": f"2026-11-20T12:00:{number % 60:02}Z",
        "micro-time": f"2026-11-20T12:00:{number % 60:02}.{number:06}Z",
        "byte": base64.b64encode(bytes(range(number % 7, 40))).decode(),
    }
    return scalars[node.format]


def _free(path: tuple[str, ...], number: int) -> Any:
    name = next(part for part in reversed(path) if not part.isdigit() and part not in ("a", "é"))
    if name in ("items", "additionalProperties", "additionalItems", "dependencies", "a", "é"):
        return {"type": "string", "maxLength": number}
    if name == "config" or number % 2:
        return {"f:a": {".": {}}, "n": [1, 2.5, None, "x", True]}
    return {"b": number}
