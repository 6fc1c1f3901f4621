"""The parts of protobuf's wire format: varints, keys and lengths (protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

_SMALL = tuple(bytes([number]) for number in range(128))


class Malformed(ValueError):
    """Bytes that are no message; the text is Go's."""


def varint(value: int) -> bytes:
    """A number from 0 to 2**64 - 1."""
    if value < 128:
        return _SMALL[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(value: int) -> bytes:
    """A signed number; negative ones take ten bytes."""
    return _SMALL[value] if 0 <= value < 128 else varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def key(number: int, wire_type: int) -> bytes:
    """What a field begins with."""
    return varint(number << 3 | wire_type)


def prefixed(data: bytes) -> bytes:
    """Bytes behind their length."""
    size = len(data)
    return (_SMALL[size] if size < 128 else varint(size)) + data


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, where it ends). Raises Malformed."""
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7
            if shift > 63:
                raise Malformed("proto: integer overflow")
    except IndexError:
        raise Malformed("unexpected EOF") from None


def read_fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """(number, value) of every field: an int for varints and for fixed numbers (their bits), else bytes."""
    found: list[tuple[int, int | bytes]] = []
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        if tag < 128:
            at += 1
        else:
            tag, at = read_varint(data, at)
        wire_type = tag & 7
        if wire_type == LENGTH:
            size = data[at] if at < end else 128
            if size < 128:
                at += 1
            else:
                size, at = read_varint(data, at)
            stop = at + size
            if stop > end:
                raise Malformed("unexpected EOF")
            found.append((tag >> 3, data[at:stop]))
            at = stop
        elif wire_type == VARINT:
            value, at = read_varint(data, at)
            found.append((tag >> 3, value))
        elif wire_type in (FIXED64, FIXED32):
            stop = at + (8 if wire_type == FIXED64 else 4)
            if stop > end:
                raise Malformed("unexpected EOF")
            found.append((tag >> 3, int.from_bytes(data[at:stop], "little")))
            at = stop
        else:
            raise Malformed(f"proto: illegal wireType {wire_type}")
        if not tag >> 3:
            raise Malformed(f"proto: illegal tag 0 (wire type {wire_type})")
    return found


def signed(value: int) -> int:
    """A varint as the signed number it stands for."""
    return value - (1 << 64) if value >> 63 else value
