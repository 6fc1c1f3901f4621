"""/openapi/v2 in the protobuf form that kubectl and client-go ask for.

The messages are those of gnostic's `openapiv2` package, the wire format of
`application/com.github.proto-openapi.spec.v2@v1.0+protobuf`. Only the fields that Kubernetes' documents use are known
here. Extensions and defaults travel as YAML text, of which JSON is a part.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from api import codec

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
#: What clients ask for. The one with "@" is no valid media type, and what most of them still send.
ACCEPTED = (MEDIA_TYPE, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")

_Encode = Callable[[int, Any], bytes]


def document(value: Mapping[str, Any]) -> bytes:
    """A Swagger 2.0 document as an `openapi.v2.Document`."""
    return _message(value, _DOCUMENT)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _string(number: int, value: Any) -> bytes:
    return _bytes(number, str(value).encode())


def _strings(number: int, values: Any) -> bytes:
    return b"".join(_string(number, v) for v in values)


def _bool(number: int, value: Any) -> bytes:
    return _varint(number << 3) + b"\x01" if value else b""


def _int(number: int, value: Any) -> bytes:
    return _varint(number << 3) + _varint(int(value) & 0xFFFFFFFFFFFFFFFF)


def _double(number: int, value: Any) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", float(value))


def _any(number: int, value: Any) -> bytes:
    return _bytes(number, _string(2, codec.encode(value).decode()))


def _anys(number: int, values: Any) -> bytes:
    return b"".join(_any(number, v) for v in values)


def _of(fields: Mapping[str, tuple[int, _Encode]]) -> _Encode:
    return lambda number, value: _bytes(number, _message(value, fields))


def _each(encode: _Encode) -> _Encode:
    return lambda number, values: b"".join(encode(number, v) for v in values)


def _in(inner: int, encode: _Encode) -> _Encode:
    """The value as field `inner` of a message that has nothing else (gnostic's items and oneofs)."""
    return lambda number, value: _bytes(number, encode(inner, value))


def _named(encode: _Encode, *, inner: int = 1) -> _Encode:
    """A map as a message of (name, value) pairs, which are its field `inner`."""

    def entries(number: int, value: Mapping[str, Any]) -> bytes:
        pairs = (_bytes(inner, _string(1, name) + encode(2, item)) for name, item in value.items())
        return _bytes(number, b"".join(pairs))

    return entries


def _message(value: Mapping[str, Any], fields: Mapping[str, tuple[int, _Encode]]) -> bytes:
    out = []
    for name, item in value.items():
        if name.startswith("x-") and "x-" in fields:
            number, _ = fields["x-"]
            out.append(_bytes(number, _string(1, name) + _any(2, item)))
        elif name in fields:
            number, encode = fields[name]
            out.append(encode(number, item))
    return b"".join(out)


def _schema(number: int, value: Any) -> bytes:
    return _bytes(number, _message(value, _SCHEMA))


def _type(number: int, value: Any) -> bytes:
    return _bytes(number, _strings(1, [value] if isinstance(value, str) else value))


def _items(number: int, value: Any) -> bytes:
    return _bytes(number, _each(_schema)(1, value if isinstance(value, list) else [value]))


def _additional(number: int, value: Any) -> bytes:
    return _bytes(number, _varint(2 << 3) + bytes([value]) if isinstance(value, bool) else _schema(1, value))


def _parameter(number: int, value: Any) -> bytes:
    """A ParametersItem: a reference, or a Parameter that is of the body or of one of the other places."""
    if "$ref" in value:
        return _bytes(number, _bytes(2, _string(1, value["$ref"])))
    if value["in"] == "body":
        parameter = _bytes(1, _message(value, _BODY_PARAMETER))
    else:
        place, fields = _PLACES[value["in"]]
        parameter = _bytes(2, _bytes(place, _message(value, fields)))
    return _bytes(number, _bytes(1, parameter))


_SCHEMA: dict[str, tuple[int, _Encode]] = {
    "$ref": (1, _string),
    "format": (2, _string),
    "title": (3, _string),
    "description": (4, _string),
    "default": (5, _any),
    "maximum": (7, _double),
    "minimum": (9, _double),
    "maxLength": (11, _int),
    "minLength": (12, _int),
    "pattern": (13, _string),
    "maxItems": (14, _int),
    "minItems": (15, _int),
    "uniqueItems": (16, _bool),
    "required": (19, _strings),
    "enum": (20, _anys),
    "additionalProperties": (21, _additional),
    "type": (22, _type),
    "items": (23, _items),
    "allOf": (24, _each(_schema)),
    "properties": (25, _named(_schema)),
    "x-": (31, _any),
}
_BODY_PARAMETER: dict[str, tuple[int, _Encode]] = {
    "description": (1, _string),
    "name": (2, _string),
    "in": (3, _string),
    "required": (4, _bool),
    "schema": (5, _schema),
    "x-": (6, _any),
}
_HEADER_OR_PATH_PARAMETER: dict[str, tuple[int, _Encode]] = {
    "required": (1, _bool),
    "in": (2, _string),
    "description": (3, _string),
    "name": (4, _string),
    "type": (5, _string),
    "uniqueItems": (19, _bool),
    "x-": (22, _any),
}
_QUERY_PARAMETER: dict[str, tuple[int, _Encode]] = {
    "required": (1, _bool),
    "in": (2, _string),
    "description": (3, _string),
    "name": (4, _string),
    "type": (6, _string),
    "uniqueItems": (20, _bool),
    "x-": (23, _any),
}
_PLACES = {
    "header": (1, _HEADER_OR_PATH_PARAMETER),
    "query": (3, _QUERY_PARAMETER),
    "path": (4, _HEADER_OR_PATH_PARAMETER),
}
_RESPONSE: dict[str, tuple[int, _Encode]] = {"description": (1, _string), "schema": (2, _in(1, _schema))}
_OPERATION: dict[str, tuple[int, _Encode]] = {
    "tags": (1, _strings),
    "summary": (2, _string),
    "description": (3, _string),
    "operationId": (5, _string),
    "produces": (6, _strings),
    "consumes": (7, _strings),
    "parameters": (8, _each(_parameter)),
    "responses": (9, _named(_in(1, _of(_RESPONSE)))),
    "schemes": (10, _strings),
    "deprecated": (11, _bool),
    "x-": (13, _any),
}
_PATH_ITEM: dict[str, tuple[int, _Encode]] = {
    "get": (2, _of(_OPERATION)),
    "put": (3, _of(_OPERATION)),
    "post": (4, _of(_OPERATION)),
    "delete": (5, _of(_OPERATION)),
    "options": (6, _of(_OPERATION)),
    "head": (7, _of(_OPERATION)),
    "patch": (8, _of(_OPERATION)),
    "parameters": (9, _each(_parameter)),
}
_DOCUMENT: dict[str, tuple[int, _Encode]] = {
    "swagger": (1, _string),
    "info": (2, _of({"title": (1, _string), "version": (2, _string), "description": (3, _string)})),
    "consumes": (6, _strings),
    "produces": (7, _strings),
    "paths": (8, _named(_of(_PATH_ITEM), inner=2)),
    "definitions": (9, _named(_schema)),
}
