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
from api.protobuf.wire import FIXED64, LENGTH, VARINT, integer, key, prefixed

Encode = Callable[[Any], bytes]
Append = Callable[[list[bytes], Any], None]

_WIRE_TYPES = {"i": VARINT, "b": VARINT, "f": FIXED64}
_ENTRY_KEY = key(1, LENGTH)


class Message:
    """Encodes one type of message; its fields are looked up at first use, since messages contain themselves."""

    __slots__ = ("_name", "_rows")

    def __init__(self, name: str) -> None:
        self._name = name
        self._rows: tuple[tuple[str, bytes, Append], ...] | None = None

    def __call__(self, value: dict[str, Any]) -> bytes:
        """The message's bytes, without key and length."""
        rows = self._rows
        if rows is None:
            rows = self._rows = tuple(_row(field) for field in fields(self._name))
        out: list[bytes] = []
        for name, zero, append in rows:
            if name:
                item = value.get(name)
                if item is not None:
                    append(out, item)
                elif zero:
                    out.append(zero)
            else:
                append(out, value)
        return b"".join(out)

    def zero(self) -> bytes:
        """The message with nothing set."""
        return self({})


@cache
def message(name: str) -> Message:
    """The encoder of `core_v1.Pod`."""
    return Message(name)


def _row(field: Field) -> tuple[str, bytes, Append]:
    encode = _encoder(field.type)
    start = key(field.number, LENGTH if field.many == "{" else _WIRE_TYPES.get(field.type, LENGTH))
    if not field.json:
        return "", b"", _append_embedded(start, message(field.type), field.always)
    if field.many == "[":
        return field.json, b"", _append_list(start, encode)
    if field.many == "{":
        return field.json, b"", _append_map(start, encode, key(2, _WIRE_TYPES.get(field.type, LENGTH)))
    return field.json, start + _zero(field.type) if field.always else b"", _append_one(start, encode)


def _append_one(start: bytes, encode: Encode) -> Append:
    def append(out: list[bytes], value: Any) -> None:
        out.append(start)
        out.append(encode(value))

    return append


def _append_embedded(start: bytes, encode: Message, always: bool) -> Append:
    def append(out: list[bytes], parent: Any) -> None:
        data = encode(parent)
        if data or always:
            out.append(start)
            out.append(prefixed(data))

    return append


def _append_list(start: bytes, encode: Encode) -> Append:
    def append(out: list[bytes], values: Any) -> None:
        for value in values:
            out.append(start)
            out.append(encode(value))

    return append


def _append_map(start: bytes, encode: Encode, value_key: bytes) -> Append:
    def append(out: list[bytes], values: Any) -> None:
        for name in sorted(values, key=str.encode):
            out.append(start)
            out.append(prefixed(_ENTRY_KEY + _string(name) + value_key + encode(values[name])))

    return append


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
    return prefixed(message(type_).zero())


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
