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
from api.protobuf.wire import FIXED64, LENGTH, VARINT, Malformed, read_field, read_fields, read_varint, signed

Decode = Callable[[Any], Any]
Store = Callable[[dict[str, Any], Any], None]

_WIRE_TYPES = {"i": VARINT, "b": VARINT, "f": FIXED64}
_USUAL = (LENGTH, VARINT)


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
        """Add the values to those there are. A field is known by its key, which has the wire type in it."""
        rows = self._rows
        if rows is None:
            rows = self._rows = self._known()
        at, end = 0, len(data)
        while at < end:
            tag = data[at]
            # Nearly all fields: a number below 16; a length, or a value, below 128.
            if tag < 128 and at + 1 < end and (small := data[at + 1]) < 128 and tag & 7 in _USUAL:
                value: int | bytes = small
                at += 2
                if tag & 7 == LENGTH:
                    value = data[at : at + small]
                    at += small
                    if at > end:
                        raise Malformed("unexpected EOF")
            else:
                tag, value, at = read_field(data, at)
            store = rows.get(tag)
            if store is not None:
                store(values, value)
            else:
                self._unknown(tag)

    def _known(self) -> dict[int, Store]:
        rows = {}
        for field in fields(self._name):
            wire_type = LENGTH if field.many == "{" else _WIRE_TYPES.get(field.type, LENGTH)
            rows[field.number << 3 | wire_type] = _store(field)
            if field.many == "[" and wire_type == VARINT:
                rows[field.number << 3 | LENGTH] = _store_packed(field)
        return rows

    def _unknown(self, tag: int) -> None:
        """Skipped, unless it is a known field of another wire type."""
        if not tag >> 3:
            raise Malformed(f"proto: illegal tag 0 (wire type {tag & 7})")
        for field in fields(self._name):
            if field.number == tag >> 3:
                name = field.json[:1].upper() + field.json[1:]
                raise Malformed(f"proto: wrong wireType = {tag & 7} for field {name}")


@cache
def message(name: str) -> Message:
    """The decoder of `core_v1.Pod`."""
    return Message(name)


def _store(field: Field) -> Store:
    if field.many == "[":
        return _store_list(field)
    if field.many == "{":
        return _store_map(field)
    if _is_message(field.type):
        return _store_message(field)
    name, droppable, decode = field.json, field.droppable, _decoder(field.type)
    if field.type == "s":
        return _store_text(name, droppable)

    def store(values: dict[str, Any], value: Any) -> None:
        made = decode(value)
        if made is None or (droppable and not made):
            values.pop(name, None)
        else:
            values[name] = made

    return store


def _store_text(name: str, droppable: bool) -> Store:
    text = special.text_of

    def store(values: dict[str, Any], value: Any) -> None:
        if value or not droppable:
            values[name] = text(value)
        else:
            values.pop(name, None)

    return store


def _store_message(field: Field) -> Store:
    inner, name = message(field.type), field.json
    if not name:
        return inner.into

    def store(values: dict[str, Any], value: Any) -> None:
        inner.into(values.setdefault(name, {}), value)

    return store


def _store_list(field: Field) -> Store:
    name, decode = field.json, _decoder(field.type)

    def store(values: dict[str, Any], value: Any) -> None:
        values.setdefault(name, []).append(decode(value))

    return store


def _store_packed(field: Field) -> Store:
    name, decode = field.json, _decoder(field.type)

    def store(values: dict[str, Any], value: Any) -> None:
        items, at = values.setdefault(name, []), 0
        while at < len(value):
            number, at = read_varint(value, at)
            items.append(decode(number))

    return store


def _store_map(field: Field) -> Store:
    name, decode = field.json, _decoder(field.type)
    zero = _ZEROS.get(field.type, dict)
    numeric = field.type in _WIRE_TYPES

    def store(values: dict[str, Any], value: Any) -> None:
        entry = dict(read_fields(value))
        item = entry.get(2)
        if item is not None and isinstance(item, int) != numeric:
            raise Malformed(f"proto: wrong wireType = {0 if isinstance(item, int) else 2} for field {name}")
        values.setdefault(name, {})[special.text_of(entry.get(1, b""))] = zero() if item is None else decode(item)

    return store


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
