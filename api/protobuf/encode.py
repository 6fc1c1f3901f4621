"""Plain JSON values to the bytes of a message, field by field as Go writes them.

Go writes every field that is not a pointer, a list or a map, zero or not, in the order of their numbers, and maps by
key; so does this, and the bytes are the same. For each message the encoders of its fields are put together once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from api.protobuf import special
from api.protobuf.messages import Field, fields
from api.protobuf.wire import FIXED64, LENGTH, SMALL, VARINT, integer, key, prefixed, varint

Encode = Callable[[Any], bytes]

_WIRE_TYPES = {"i": VARINT, "b": VARINT, "f": FIXED64}
_ENTRY_KEY = key(1, LENGTH)


class Message:
    """Encodes one type of message; its fields are looked up at first use, since messages contain themselves.

    A message begins as the zeros of all its fields, each in its place; those that are there replace them. Most fields
    of most messages are not there, and cost nothing.
    """

    __slots__ = ("_embedded", "_name", "_places", "_zeros")

    def __init__(self, name: str) -> None:
        self._name = name
        self._zeros: list[bytes] | None = None
        self._places: dict[str, tuple[int, Encode]] = {}
        self._embedded: list[tuple[int, Encode]] = []

    def __call__(self, value: dict[str, Any]) -> bytes:
        """The message's bytes, without key and length."""
        if self._zeros is None:
            self._zeros = self._prepare()
        out = self._zeros.copy()
        places = self._places
        for name, item in value.items():
            place = places.get(name)
            if place is not None and item is not None:
                out[place[0]] = place[1](item)
        for at, encode in self._embedded:
            out[at] = encode(value)
        return b"".join(out)

    def _prepare(self) -> list[bytes]:
        zeros = []
        for at, field in enumerate(fields(self._name)):
            encode = _field(field)
            start = key(field.number, _WIRE_TYPES.get(field.type, LENGTH))
            zeros.append(start + _zero(field.type) if field.always and field.json else b"")
            if field.json:
                self._places[field.json] = at, encode
            else:
                self._embedded.append((at, encode))
        return zeros


@cache
def message(name: str) -> Message:
    """The encoder of `core_v1.Pod`."""
    return Message(name)


def _field(field: Field) -> Encode:
    """The encoder of a field with its key."""
    wire_type = _WIRE_TYPES.get(field.type, LENGTH)
    if field.many == "{":
        return _map(key(field.number, LENGTH), _encoder(field.type), key(2, wire_type))
    start = key(field.number, wire_type)
    if "." in field.type:
        encode = _behind_length(start, message(field.type))
    elif field.type == "s":
        encode = _behind_length(start, str.encode)
    else:
        encode = _behind(start, _encoder(field.type))
    return _each(encode) if field.many else encode


def _behind(start: bytes, encode: Encode) -> Encode:
    return lambda value: start + encode(value)


def _behind_length(start: bytes, encode: Encode) -> Encode:
    def encoded(value: Any) -> bytes:
        data = encode(value)
        size = len(data)
        return start + (SMALL[size] if size < 128 else varint(size)) + data

    return encoded


def _each(encode: Encode) -> Encode:
    return lambda values: b"".join(map(encode, values))


def _map(start: bytes, encode: Encode, value_key: bytes) -> Encode:
    def encoded(values: Any) -> bytes:
        out = []
        for name in sorted(values, key=str.encode):
            out.append(start)
            out.append(prefixed(_ENTRY_KEY + _string(name) + value_key + encode(values[name])))
        return b"".join(out)

    return encoded


def _encoder(type_: str) -> Encode:
    if type_ in _SCALARS:
        return _SCALARS[type_]
    if type_ in _UNIONS:
        return _UNIONS[type_]
    inner = message(type_)
    return lambda value: prefixed(inner(value))


def _zero(type_: str) -> bytes:
    if type_ in _ZEROS:
        return _ZEROS[type_]
    return prefixed(message(type_)({}))


def _string(value: str) -> bytes:
    return prefixed(value.encode())


def _prefixed(encode: Encode) -> Encode:
    return lambda value: prefixed(encode(value))


_SCALARS: dict[str, Encode] = {
    "s": _string,
    "i": integer,
    "b": lambda value: b"\x01" if value else b"\x00",
    "f": lambda value: struct.pack("<d", value),
    "y": _prefixed(special.base64_bytes),
    "t": _prefixed(special.time_message),
    "u": _prefixed(special.micro_time_message),
    "q": _prefixed(special.quantity_message),
    "x": _prefixed(special.int_or_string_message),
    "r": _prefixed(special.raw_message),
    "l": _prefixed(special.strings_message),
}
_ZEROS = {
    "s": b"\x00",
    "i": b"\x00",
    "b": b"\x00",
    "f": bytes(8),
    "t": b"\x00",
    "u": b"\x00",
    "r": b"\x00",
    "q": _SCALARS["q"]("0"),
    "x": _SCALARS["x"](0),
}


def _schema(value: Any) -> bytes:
    return prefixed(message("apiextensions_v1.JSONSchemaProps")(value))


def _schema_or_array(value: Any) -> bytes:
    if isinstance(value, list):
        return prefixed(b"".join(key(2, LENGTH) + _schema(item) for item in value))
    return prefixed(key(1, LENGTH) + _schema(value))


def _schema_or_bool(value: Any) -> bytes:
    allows = key(1, VARINT) + (b"\x00" if value is False else b"\x01")
    return prefixed(allows if isinstance(value, bool) else allows + key(2, LENGTH) + _schema(value))


def _schema_or_strings(value: Any) -> bytes:
    if isinstance(value, list):
        return prefixed(b"".join(key(2, LENGTH) + _string(item) for item in value))
    return prefixed(key(1, LENGTH) + _schema(value))


_UNIONS: dict[str, Encode] = {"A": _schema_or_array, "B": _schema_or_bool, "P": _schema_or_strings}
