"""What names the type of a message: the magic `k8s\\0` and a runtime.Unknown, around one object, a list or an event.

    Unknown {typeMeta {apiVersion, kind}, raw, contentEncoding, contentType}

A list's message is put together from those of its items, so that each object is encoded once for all who read it. The
events of a watch stand in messages of their own (meta.v1.WatchEvent), behind their length in four bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from api.protobuf import decode, encode
from api.protobuf.messages import fields, message_of
from api.protobuf.special import text_of
from api.protobuf.wire import LENGTH, Malformed, key, prefixed, read_fields, varint

__all__ = [
    "MAGIC",
    "Malformed",
    "UnknownKind",
    "Unrecognized",
    "event",
    "framed",
    "from_json",
    "list_pieces",
    "message",
    "to_json",
]

MAGIC = b"k8s\x00"
_TYPE_META, _RAW = key(1, LENGTH), key(2, LENGTH)
_TAIL = key(3, LENGTH) + b"\x00" + key(4, LENGTH) + b"\x00"  # Go writes the empty strings


class Unrecognized(Malformed):
    """Bytes that do not even say of what kind they are."""


class UnknownKind(LookupError):
    """There is no message of this kind; the text is upstream's."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(f'no kind "{kind}" is registered for version "{api_version}"')
        self.api_version, self.kind = api_version, kind


def from_json(json: bytes) -> bytes:
    """An object's JSON, which says apiVersion and kind, in its envelope. Raises UnknownKind."""
    values = msgspec.json.decode(json)
    api_version, kind = str(values.get("apiVersion", "")), str(values.get("kind", ""))
    return _enveloped(api_version, kind, encode.message(_message(api_version, kind))(values))


def message(json: bytes, api_version: str, kind: str) -> bytes:
    """The bare message of an object, to stand in a list or an event. Raises UnknownKind."""
    return encode.message(_message(api_version, kind))(msgspec.json.decode(json))


def list_pieces(api_version: str, kind: str, metadata: bytes, items: Sequence[bytes]) -> list[bytes]:
    """A list of bare messages in its envelope; `metadata` is JSON of ListMeta. Raises UnknownKind."""
    name = _message(api_version, kind)
    numbers = {field.json: field.number for field in fields(name)}
    start = key(numbers["items"], LENGTH)
    head = key(numbers["metadata"], LENGTH) + prefixed(
        encode.message("meta_v1.ListMeta")(msgspec.json.decode(metadata))
    )
    body = []
    for item in items:
        body.append(start + varint(len(item)))
        body.append(item)
    if numbers["items"] > numbers["metadata"]:
        body.insert(0, head)
    else:
        body.append(head)
    size = sum(map(len, body))
    return [_head(api_version, kind) + _RAW + varint(size), *body, _TAIL]


def event(type_: str, api_version: str, kind: str, message: bytes) -> bytes:
    """A meta.v1.WatchEvent about an object."""
    obj = prefixed(_RAW_OF_EXTENSION + prefixed(_enveloped(api_version, kind, message)))
    return _EVENT_TYPE + prefixed(type_.encode()) + _EVENT_OBJECT + obj


def framed(event: bytes) -> bytes:
    """A message of a stream behind its length."""
    return len(event).to_bytes(4, "big") + event


_EVENT_TYPE, _EVENT_OBJECT, _RAW_OF_EXTENSION = key(1, LENGTH), key(2, LENGTH), key(1, LENGTH)


def to_json(body: bytes, api_version: str = "", kind: str = "") -> bytes:
    """The JSON of an object in its envelope; one that says no apiVersion or kind has those given.

    Raises Unrecognized or another Malformed for what is no such document, UnknownKind for what is of no known kind.
    """
    said_version, said_kind, raw = _opened(body)
    api_version, kind = said_version or api_version, said_kind or kind
    head: dict[str, Any] = {"apiVersion": api_version, "kind": kind}
    try:
        values = decode.message(_message(api_version, kind))(raw)
        return msgspec.json.encode(head | values)
    except (Malformed, msgspec.MsgspecError, RecursionError) as error:
        version = api_version.rpartition("/")[2]
        raise Malformed(f'{kind} in version "{version}" cannot be handled as a {kind}: {error}') from None


def _opened(body: bytes) -> tuple[str, str, bytes]:
    """apiVersion, kind and the message."""
    if not body:
        raise Unrecognized("empty data")
    if not body.startswith(MAGIC):
        raise Unrecognized("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    if len(body) == len(MAGIC):
        raise Unrecognized("empty body")
    try:
        unknown = dict(read_fields(body[len(MAGIC) :]))
        types = dict(read_fields(_bytes(unknown.get(1, b""))))
        return text_of(types.get(1, b"")), text_of(types.get(2, b"")), _bytes(unknown.get(2, b""))
    except Malformed as error:
        raise Unrecognized(str(error)) from None


def _message(api_version: str, kind: str) -> str:
    name = message_of(api_version, kind)
    if name is None:
        raise UnknownKind(api_version, kind)
    return name


def _head(api_version: str, kind: str) -> bytes:
    meta = key(1, LENGTH) + prefixed(api_version.encode()) + key(2, LENGTH) + prefixed(kind.encode())
    return MAGIC + _TYPE_META + prefixed(meta)


def _enveloped(api_version: str, kind: str, message: bytes) -> bytes:
    return _head(api_version, kind) + _RAW + prefixed(message) + _TAIL


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise Malformed("proto: wrong wireType = 0 for field Raw")
    return value
