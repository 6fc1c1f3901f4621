"""The types whose JSON is not that of their message: times, quantities, numbers or names, raw JSON, bytes.

Source: apimachinery's generated.proto files and the Go methods that stand beside them.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from api import time as api_time
from api.protobuf.wire import LENGTH, VARINT, Malformed, integer, key, prefixed, read_fields, signed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO_TIME = -62135596800  # Go's zero time in Unix seconds: year 1
_LAST = 253402300799  # the last second of year 9999
_FIRST_VARINT, _SECOND_VARINT, _FIRST, _THIRD = key(1, VARINT), key(2, VARINT), key(1, LENGTH), key(3, LENGTH)


def base64_bytes(text: str) -> bytes:
    """What a `[]byte` of JSON holds."""
    try:
        return binascii.a2b_base64(text)
    except binascii.Error as error:
        raise ValueError(f"illegal base64 data: {error}") from None


@lru_cache(maxsize=4096)  # an object is written many times with the same times in it
def time_message(text: str) -> bytes:
    """meta.v1.Time: seconds only, as in JSON."""
    return _timestamp(text, micro=False)


def micro_time_message(text: str) -> bytes:
    """meta.v1.MicroTime."""
    return _timestamp(text, micro=True)


def _timestamp(text: str, *, micro: bool) -> bytes:
    since = api_time.parse(text) - _EPOCH
    seconds = since.days * 86400 + since.seconds
    if seconds == _ZERO_TIME:
        return b""
    nanos = since.microseconds * 1000 if micro else 0
    return _FIRST_VARINT + integer(seconds) + _SECOND_VARINT + integer(nanos)


def time_of(data: bytes, *, micro: bool) -> str | None:
    """The text of a time; None for Go's zero time."""
    found = _numbers(data)
    seconds, nanos = signed(found.get(1, 0)), signed(found.get(2, 0))
    if not data or seconds == _ZERO_TIME:
        return None
    if not _ZERO_TIME <= seconds <= _LAST:
        raise Malformed("Time.MarshalJSON: year outside of range [0,9999]")
    moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000 if micro else 0)
    return api_time.format_micro(moment) if micro else api_time.format_time(moment)


def quantity_message(value: Any) -> bytes:
    """resource.Quantity: its text."""
    return _FIRST + prefixed(str(value).encode())


def quantity_of(data: bytes) -> str:
    """The text of a quantity."""
    return text_of(dict(read_fields(data)).get(1, b"0"))


def int_or_string_message(value: Any) -> bytes:
    """util.intstr.IntOrString."""
    if isinstance(value, str):
        return b"%b\x01%b\x00%b%b" % (_FIRST_VARINT, _SECOND_VARINT, _THIRD, prefixed(value.encode()))
    return b"%b\x00%b%b%b\x00" % (_FIRST_VARINT, _SECOND_VARINT, integer(value), _THIRD)


def int_or_string_of(data: bytes) -> int | str:
    """The number, or the text."""
    found = dict(read_fields(data))
    if found.get(1):
        return text_of(found.get(3, b""))
    number = found.get(2, 0)
    if not isinstance(number, int):
        raise Malformed("proto: wrong wireType = 2 for field IntVal")
    return signed(number)


def raw_message(value: Any) -> bytes:
    """runtime.RawExtension, meta.v1.FieldsV1, apiextensions' JSON: the JSON as text, of null nothing."""
    return b"" if value is None else _FIRST + prefixed(msgspec.json.encode(value))


def raw_of(data: bytes) -> Any:
    """The JSON's values; None if there is none."""
    raw = dict(read_fields(data)).get(1, b"")
    if not isinstance(raw, bytes):
        raise Malformed("proto: wrong wireType = 0 for field Raw")
    return msgspec.json.decode(text_of(raw)) if raw else None


def strings_message(values: list[str]) -> bytes:
    """A named list of strings, which is a message of its own."""
    return b"".join(_FIRST + prefixed(value.encode()) for value in values)


def strings_of(data: bytes) -> list[str]:
    """The strings of such a message."""
    return [text_of(item) for number, item in read_fields(data) if number == 1]


def base64_text(data: bytes) -> str:
    """`[]byte` as JSON has it."""
    return base64.b64encode(data).decode()


def text_of(data: int | bytes) -> str:
    """A string field. Raises Malformed; Go's JSON has the replacement character for bytes that are no UTF-8."""
    if isinstance(data, int):
        raise Malformed("proto: wrong wireType = 0 for a string")
    return data.decode("utf-8", "replace")


def _numbers(data: bytes) -> dict[int, int]:
    return {number: value for number, value in read_fields(data) if isinstance(value, int)}
