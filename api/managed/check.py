"""Whether a value has its type, and by which element a list's item is known.

What a manager applies is checked before anything is merged; the messages are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from api.managed import elements
from api.managed.types import Type

_encode = msgspec.json.encode


class TypedError(ValueError):
    """A value does not have its type; `errors` are pairs of a path and a message."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        self.errors = errors
        texts = [f"{path}: {message}" if path else message for path, message in errors]
        super().__init__(texts[0] if len(texts) == 1 else "\n".join(["errors:", *(f"  {text}" for text in texts)]))


class _ItemError(ValueError):
    pass


def item_element(item: Any, list_type: Type) -> str:
    """The path element of an item of a list that is a map or a set. Raises ValueError if it has none."""
    keys = list_type.keys
    if not keys:
        if isinstance(item, dict):
            raise _ItemError("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise _ItemError("not supported: associative list with lists as elements")
        if item is None:
            raise _ItemError("associative list without keys has an element that's an explicit null")
        return "v:" + _encode(item).decode()
    if item is None:
        raise _ItemError("associative list with keys may not have a null element")
    if not isinstance(item, dict):
        raise _ItemError("associative list with keys may not have non-map elements")
    if list_type.item and keys[0] in item:
        return list_type.item + _encode(item[keys[0]]).decode() + "}"
    pairs = []
    for key in keys:
        if key in item:
            pairs.append((key, item[key]))
        elif key in list_type.defaults:
            pairs.append((key, list_type.defaults[key]))
    if not pairs:
        if len(keys) == 1:
            raise _ItemError(
                f'associative list with keys has an element that omits key field "{keys[0]}" '
                "(and doesn't have default value)"
            )
        listed = " ".join(f'"{key}"' for key in keys)
        raise _ItemError(
            f"associative list with keys has an element that omits all key fields [{listed}] "
            "(and doesn't have default values for any key fields)"
        )
    return elements.key(pairs)


def check(value: Any, type_: Type, *, duplicates: bool = False) -> None:
    """Raises TypedError. `duplicates`: items of a list may be the same (in objects that are stored already)."""
    if errors := list(_check(value, type_, "", duplicates)):
        raise TypedError(errors)


def _check(value: Any, type_: Type, path: str, duplicates: bool) -> Iterator[tuple[str, str]]:
    type_ = type_.resolve(value)
    if value is None:
        return
    if type_.kind == "scalar":
        if message := _scalar_error(value, type_.scalar):
            yield path, message
    elif type_.kind == "list":
        if isinstance(value, list):
            yield from _check_items(value, type_, path, duplicates)
        else:
            yield path, f"expected list, got &{{{_go(value)}}}"
    elif isinstance(value, dict):
        for name, below in value.items():
            inner = f"{path}.{name}"
            try:
                field = type_.of(name)
            except KeyError:
                yield inner, "field not declared in schema"
                continue
            yield from _check(below, field, inner, duplicates)
    else:
        yield path, f"expected map, got &{{{_go(value)}}}"


def _check_items(items: list[Any], type_: Type, path: str, duplicates: bool) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    assert type_.element is not None
    for index, item in enumerate(items):
        if type_.atomic:
            inner = f"{path}[{index}]"
        else:
            try:
                element = item_element(item, type_)
            except _ItemError as error:
                yield path, f"element {index}: {error}"
                return
            inner = path + elements.shown(element)
            if element in seen and not duplicates:
                yield path, f"duplicate entries for key {elements.shown(element)}"
            seen.add(element)
        yield from _check(item, type_.element, inner, duplicates)


def _scalar_error(value: Any, scalar: str) -> str:
    kind = "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else ""
    kind = kind or ("numeric" if isinstance(value, (int, float)) else "")
    if kind == scalar or (scalar == "untyped" and kind):
        return ""
    if scalar == "numeric":
        return f"expected numeric (int or float), got {_go_type(value)}"
    if scalar == "string":
        return f"expected string, got &value.valueUnstructured{{Value:{_go(value, quoted=True)}}}"
    if scalar == "boolean":
        return f"expected boolean, got &{{{_go(value)}}}"
    return f"expected any scalar, got &{{{_go(value)}}}"


def _go_type(value: Any) -> str:
    names = {bool: "bool", str: "string", int: "int64", float: "float64", dict: "map[string]interface {}"}
    return names.get(type(value), "[]interface {}")


def _go(value: Any, *, quoted: bool = False) -> str:
    """As Go's %v (or, quoted, its %#v) prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return elements.text(value) if quoted else value
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{_go(below)}" for name, below in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(_go, value)) + "]"
    return "<nil>" if value is None else str(value)
