"""Path elements as FieldsV1 writes them: `f:spec`, `k:{"name":"web"}`, `v:"x"`, `i:0`; `.` is the place itself.

Elements are compared as text, so they have one spelling each: keys sorted by name, JSON without spaces.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

_encode = msgspec.json.encode
_decode = msgspec.json.decode

SELF = "."


def field(name: str) -> str:
    """A field of a structure or a key of a map."""
    return "f:" + name


def text(value: Any) -> str:
    """A scalar as JSON text."""
    return _encode(value).decode()


def key(pairs: Iterable[tuple[str, Any]]) -> str:
    """An item of a list that is a map, by its keys."""
    return "k:{" + ",".join(f"{text(name)}:{text(value)}" for name, value in sorted(pairs, key=lambda p: p[0])) + "}"


def member(value: Any) -> str:
    """An item of a list that is a set."""
    return "v:" + text(value)


def canonical(element: str) -> str | None:
    """The one spelling of an element that a client sent; None for a kind of element that is not known.

    Raises ValueError if it is malformed.
    """
    kind, colon, rest = element.partition(":")
    if not colon:
        raise ValueError(f"missing colon: {element!r}")
    try:
        if kind == "f":
            return element
        if kind == "k":
            pairs = _decode(rest, type=dict[str, Any])
            return key(pairs.items())
        if kind == "v":
            return member(_decode(rest))
        if kind == "i":
            return f"i:{int(rest)}"
    except (ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"malformed path element {element!r}: {error}") from None
    return None


_RANK = {"f": 0, "k": 1, "v": 2, "i": 3}


def _value_order(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, (int, float)):
        return 0, value
    if isinstance(value, str):
        return 1, value
    return 3, text(value)


def order(element: str) -> tuple[Any, ...]:
    """Sorts elements as upstream does; numbers in keys by their value."""
    if element == SELF:
        return (-1,)
    kind = element[0]
    rank = _RANK.get(kind, 4)
    if kind == "k":
        return (rank, [(name, _value_order(value)) for name, value in _decode(element[2:]).items()])
    if kind == "v":
        return (rank, _value_order(_decode(element[2:])))
    if kind == "i":
        return (rank, int(element[2:]))
    return (rank, element)


def shown(element: str) -> str:
    """As messages show it: `.spec`, `[name="web"]`, `[="x"]`, `[0]`."""
    kind, _, rest = element.partition(":")
    if kind == "f":
        return "." + rest
    if kind == "k":
        return "[" + ",".join(f"{name}={text(value)}" for name, value in _decode(rest).items()) + "]"
    if kind == "v":
        return f"[={rest}]"
    return f"[{rest}]"


def path(elements: Iterable[str]) -> str:
    """A whole path, such as `.spec.containers[name="web"].image`."""
    return "".join(map(shown, elements))


def key_names(element: str) -> list[str]:
    """The names of the keys that an item is known by."""
    return list(_decode(element[2:]))
