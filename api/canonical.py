"""What Go's decoder does to values beyond their JSON type: quantities, times and base64 are checked and made canonical.

A client that posts `memory: 1024Mi` reads `1Gi` back. Only fields of those types are visited: which ones a type holds
is found once and kept as a plan, so that a Pod costs microseconds.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from api import errors, fields
from api import time as api_time
from api.quantity import canonical
from api.schema import Node, struct_node
from api.unstructured import Unstructured

Visit = Callable[[Any], Any]
Plan = tuple[tuple[str, Visit], ...]

_plans: dict[type[Any], Plan] = {}


def canonicalize(obj: msgspec.Struct) -> None:
    """Makes an object's quantities, times and base64 values canonical, in place.

    Raises StatusError (400) in upstream's words for one that is malformed.
    """
    try:
        _visit_struct(obj.metadata if isinstance(obj, Unstructured) else obj)
    except ValueError as error:
        raise errors.bad_request(fields.cannot_be_handled(_head(obj), type(obj), str(error))) from None


def _head(obj: Any) -> dict[str, Any]:
    return {"apiVersion": getattr(obj, "api_version", ""), "kind": getattr(obj, "kind", "")}


def _visit_struct(obj: Any) -> Any:
    kind: type[msgspec.Struct] = type(obj)
    plan = _plans.get(kind)
    if plan is None:
        plan = _plans[kind] = _make_plan(struct_node(kind))
    for attribute, visit in plan:
        value = getattr(obj, attribute)
        if value is not None:
            made = visit(value)
            if made is not value:
                setattr(obj, attribute, made)
    return obj


def _make_plan(node: Node) -> Plan:
    return tuple(
        (entry.attribute, visit) for entry in node.fields.values() if (visit := _visitor(entry.node)) is not None
    )


def _visitor(node: Node) -> Visit | None:
    if node.kind == "scalar":
        return _SCALARS.get(node.format)
    if node.kind == "struct":
        return _visit_struct if _interesting(node, set()) else None
    if node.kind not in ("list", "map"):
        return None
    assert node.element is not None
    inner = _visitor(node.element)
    if inner is None:
        return None
    return _in_list(inner) if node.kind == "list" else _in_map(inner)


def _interesting(node: Node, above: set[int]) -> bool:
    """Whether anything below has to be visited; a type that holds itself is looked at once."""
    if node.kind == "scalar":
        return node.format in _SCALARS
    if node.element is not None:
        return _interesting(node.element, above)
    if node.kind != "struct" or id(node) in above:
        return False
    above.add(id(node))
    return any(_interesting(entry.node, above) for entry in node.fields.values())


def _in_list(inner: Visit) -> Visit:
    def visit(values: list[Any]) -> list[Any]:
        for index, value in enumerate(values):
            made = inner(value)
            if made is not value:
                values[index] = made
        return values

    return visit


def _in_map(inner: Visit) -> Visit:
    def visit(values: dict[str, Any]) -> dict[str, Any]:
        for key, value in values.items():
            made = inner(value)
            if made is not value:
                values[key] = made
        return values

    return visit


@lru_cache(maxsize=4096)  # an object is written many times with the same times in it
def _time(value: str) -> str:
    return api_time.format_time(api_time.parse(value))


def _micro_time(value: str) -> str:
    return api_time.format_micro(api_time.parse(value))


def _base64(value: str) -> str:
    # Go ignores line breaks inside, and writes the value back without them.
    plain = value.replace("\n", "").replace("\r", "")
    try:
        if len(plain) % 4:
            raise ValueError(plain)
        binascii.a2b_base64(plain, strict_mode=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"illegal base64 data at input byte {_bad_base64(plain)}") from None
    return plain


def _bad_base64(text: str) -> int:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for index, char in enumerate(text):
        if char not in alphabet:
            padding = text[index:]
            if set(padding) == {"="} and index % 4 in (2, 3) and len(padding) <= 4 - index % 4:
                break
            return index
    return len(text) // 4 * 4


_SCALARS: dict[str, Visit] = {
    "quantity": canonical,
    "date-time": _time,
    "micro-time": _micro_time,
    "byte": _base64,
}
