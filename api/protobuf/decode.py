"""The bytes of a message to the plain JSON values that a client speaking JSON would have sent.

Unknown fields are skipped, as protobuf does; what Go's JSON would leave out is left out. A later value of a field
that is no list replaces an earlier one, or is merged into it if it is a message.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from api.protobuf import special
from api.protobuf.messages import Field, fields
from api.protobuf.wire import Malformed, read_fields, read_varint, signed

Decode = Callable[[Any], Any]
Store = Callable[[dict[str, Any], Any], None]

_NUMBERS = frozenset("ibf")


class Message:
    """Decodes one type of message; its fields are looked up at first use, since messages contain themselves."""

    __slots__ = ("_name", "_rows")

    def __init__(self, name: str) -> None:
        self._name = name
        self._rows: dict[int, Store] | None = None

    def __call__(self, data: bytes) -> dict[str, Any]:
        """The values. Raises Malformed."""
        values: dict[str, Any] = {}
        self.into(values, data)
        return values

    def into(self, values: dict[str, Any], data: bytes) -> None:
        """Add the values to those there are."""
        rows = self._rows
        if rows is None:
            rows = self._rows = {field.number: _store(field) for field in fields(self._name)}
        for number, value in read_fields(data):
            store = rows.get(number)
            if store is not None:
                store(values, value)


@cache
def message(name: str) -> Message:
    """The decoder of `core_v1.Pod`."""
    return Message(name)


def _store(field: Field) -> Store:
    decode = _checked(field)
    if field.many == "[":
        return _store_list(field, decode)
    if field.many == "{":
        return _store_map(field, decode)
    if _is_message(field.type):
        return _store_message(field)
    name, droppable = field.json, field.droppable

    def store(values: dict[str, Any], value: Any) -> None:
        made = decode(value)
        if made is None or (droppable and not made):
            values.pop(name, None)
        else:
            values[name] = made

    return store


def _store_message(field: Field) -> Store:
    inner, name = message(field.type), field.json

    def store(values: dict[str, Any], value: Any) -> None:
        if isinstance(value, int):
            raise _wrong_type(field, 0)
        inner.into(values.setdefault(name, {}) if name else values, value)

    return store


def _store_list(field: Field, decode: Decode) -> Store:
    name, numbers = field.json, field.type in "ib"

    def store(values: dict[str, Any], value: Any) -> None:
        items = values.setdefault(name, [])
        if not numbers or isinstance(value, int):
            items.append(decode(value))
            return
        at = 0
        while at < len(value):  # packed
            number, at = read_varint(value, at)
            items.append(decode(number))

    return store


def _store_map(field: Field, decode: Decode) -> Store:
    name = field.json

    def store(values: dict[str, Any], value: Any) -> None:
        if isinstance(value, int):
            raise _wrong_type(field, 0)
        entry = dict(read_fields(value))
        made = decode(entry[2]) if 2 in entry else _ZEROS.get(field.type, dict)()
        values.setdefault(name, {})[special.text_of(entry.get(1, b""))] = made

    return store


def _checked(field: Field) -> Decode:
    """The decoder, for values of the right wire type only."""
    decode = _decoder(field.type)
    wanted: type = int if field.type in _NUMBERS else bytes

    def checked(value: Any) -> Any:
        if not isinstance(value, wanted):
            raise _wrong_type(field, 0 if isinstance(value, int) else 2)
        return decode(value)

    return checked


def _wrong_type(field: Field, wire_type: int) -> Malformed:
    name = field.json[:1].upper() + field.json[1:]
    return Malformed(f"proto: wrong wireType = {wire_type} for field {name}")


def _is_message(type_: str) -> bool:
    return "." in type_


def _decoder(type_: str) -> Decode:
    return message(type_) if _is_message(type_) else _SCALARS[type_]


def _schema(data: bytes) -> Any:
    return message("apiextensions_v1.JSONSchemaProps")(data)


def _schema_or_array(data: bytes) -> Any:
    found = read_fields(data)
    listed = [_schema(_bytes(value)) for number, value in found if number == 2]
    return listed or _only_schema(found)


def _schema_or_bool(data: bytes) -> Any:
    found = dict(read_fields(data))
    return _schema(_bytes(found[2])) if 2 in found else bool(found.get(1))


def _schema_or_strings(data: bytes) -> Any:
    found = read_fields(data)
    strings = [special.text_of(value) for number, value in found if number == 2]
    return strings or _only_schema(found)


def _only_schema(found: list[tuple[int, int | bytes]]) -> Any:
    return next((_schema(_bytes(value)) for number, value in found if number == 1), None)


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise Malformed("proto: wrong wireType = 0 for a message")
    return value


_SCALARS: dict[str, Decode] = {
    "s": special.text_of,
    "i": signed,
    "b": bool,
    "f": lambda bits: struct.unpack("<d", bits.to_bytes(8, "little"))[0],
    "y": special.base64_text,
    "t": lambda data: special.time_of(data, micro=False),
    "u": lambda data: special.time_of(data, micro=True),
    "q": special.quantity_of,
    "x": special.int_or_string_of,
    "r": special.raw_of,
    "l": special.strings_of,
    "A": _schema_or_array,
    "B": _schema_or_bool,
    "P": _schema_or_strings,
}
_ZEROS: dict[str, Callable[[], Any]] = {
    "s": str,
    "y": str,
    "i": int,
    "b": bool,
    "f": float,
    "l": list,
    "q": lambda: "0",
    "t": lambda: None,
}
