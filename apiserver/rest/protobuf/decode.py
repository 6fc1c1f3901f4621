"""Kubernetes' protobuf envelope and messages, as the JSON they stand for.

A body is the magic `k8s\\0` and a runtime.Unknown: apiVersion, kind and the object's own message. Fields that the table
does not know are skipped, as protobuf does; values that Go's JSON would leave out are left out here.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec

from api import errors
from apiserver.rest.protobuf.table import TABLE

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GROUPS = {"": "core", "rbac.authorization.k8s.io": "rbac"}
_META_KINDS = ("DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "ListOptions", "Status")


class _Malformed(Exception):
    pass


def to_json(body: bytes) -> bytes:
    """Raises StatusError 400 for what is not such a document, or of an unknown kind."""
    if not body:
        return body
    if not body.startswith(_MAGIC):
        raise errors.bad_request(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    try:
        envelope = dict(_fields(body[len(_MAGIC) :]))
        types = dict(_fields(envelope.get(1, b"")))
        api_version, kind = types.get(1, b"").decode(), types.get(2, b"").decode()
        name = _struct(api_version, kind)
        if name is None:
            raise errors.bad_request(f'no kind "{kind}" is registered for version "{api_version}"')
        obj = _message(envelope.get(2, b""), name)
    except (_Malformed, struct.error, UnicodeDecodeError, ValueError, IndexError) as error:
        raise errors.bad_request(f"unable to decode the protobuf body: {error}") from None
    return msgspec.json.encode({"apiVersion": api_version, "kind": kind, **obj})


def _struct(api_version: str, kind: str) -> str | None:
    group, _, version = api_version.rpartition("/")
    name = f"{_GROUPS.get(group, group.split('.')[0])}_{version}.{kind}"
    if name in TABLE:
        return name
    return f"meta_v1.{kind}" if kind in _META_KINDS else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise _Malformed("varint too long")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value): an int for varints and fixed numbers as their bits, bytes for everything else."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > end:
                raise _Malformed("unexpected EOF")
            yield key >> 3, data[at : at + size]
            at += size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield key >> 3, int.from_bytes(data[at : at + size], "little")
            at += size
        else:
            raise _Malformed(f"illegal wire type {wire}")


@cache
def _rows(name: str) -> dict[int, tuple[str, str]]:
    return {number: (json, code) for number, json, code in TABLE.get(name, ())}


def _message(data: bytes, name: str) -> dict[str, Any]:
    rows = _rows(name)
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        row = rows.get(number)
        if row is None:
            continue
        key, code = row
        if not key:
            found.update(_message(value, code[2:]))
        elif code[0] == "[":
            _append(found.setdefault(key, []), value, code[1:])
        elif code[0] == "{":
            entry = dict(_fields(value))
            made = _value(entry[2], code[1:]) if 2 in entry else _zero(code[1:])
            found.setdefault(key, {})[entry.get(1, b"").decode()] = made
        else:
            optional = code[0] == "?"
            made = _value(value, code.lstrip("?"))
            if made is not None and (made or not optional):
                found[key] = made
    return found


def _append(items: list[Any], value: Any, code: str) -> None:
    if code in "ib" and isinstance(value, bytes):  # packed
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            items.append(_value(number, code))
    else:
        items.append(_value(value, code))


def _zero(code: str) -> Any:
    return {"s": "", "y": "", "q": "0", "i": 0, "b": False, "l": []}.get(code, {})


def _value(value: Any, code: str) -> Any:
    match code[0]:
        case "m":
            return _message(value, code[2:])
        case "s":
            return value.decode()
        case "i":
            return value - (1 << 64) if value >= 1 << 63 else value
        case "b":
            return bool(value)
        case "f":
            return struct.unpack("<d", value.to_bytes(8, "little"))[0]
        case "y":
            return base64.b64encode(value).decode()
        case "q":
            return dict(_fields(value)).get(1, b"0").decode()
        case "l":
            return [item.decode() for number, item in _fields(value) if number == 1]
    return _special(dict(_fields(value)), code)


def _special(fields: dict[int, Any], code: str) -> Any:
    if code in "tu":
        if not fields.get(1) and not fields.get(2):
            return None  # Go's zero time
        seconds = _value(fields.get(1, 0), "i")
        if seconds < -62135596800 + 1:
            return None
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=fields.get(2, 0) // 1000)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ" if code == "t" else "%Y-%m-%dT%H:%M:%S.%fZ")
    if code == "x":
        return fields.get(3, b"").decode() if fields.get(1) else _value(fields.get(2, 0), "i")
    if code in "rv":
        raw = fields.get(1, b"")
        return msgspec.json.decode(raw) if raw else None
    if code == "d":
        return f"{_value(fields.get(1, 0), 'i')}ns"
    raise _Malformed(f"unknown type {code!r}")
