"""The parts of protobuf's wire format: varints, keys and lengths (protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

#: The varints of one byte.
SMALL = tuple(bytes([number]) for number in range(128))


class Malformed(ValueError):
    """Bytes that are no message; the text is Go's."""


def varint(value: int) -> bytes:
    """A number from 0 to 2**64 - 1."""
    if value < 128:
        return SMALL[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(value: int) -> bytes:
    """A signed number; negative ones take ten bytes."""
    return SMALL[value] if 0 <= value < 128 else varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def key(number: int, wire_type: int) -> bytes:
    """What a field begins with."""
    return varint(number << 3 | wire_type)


def prefixed(data: bytes) -> bytes:
    """Bytes behind their length."""
    size = len(data)
    return (SMALL[size] if size < 128 else varint(size)) + data


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


def read_field(data: bytes, at: int) -> tuple[int, int | bytes, int]:
    """(key, value, where it ends): an int for varints and for fixed numbers (their bits), else bytes.

    Raises Malformed.
    """
    tag, at = read_varint(data, at)
    wire_type = tag & 7
    if not tag >> 3:
        raise Malformed(f"proto: illegal tag 0 (wire type {wire_type})")
    if wire_type == VARINT:
        value, at = read_varint(data, at)
        return tag, value, at
    if wire_type == LENGTH:
        size, at = read_varint(data, at)
    elif wire_type in (FIXED64, FIXED32):
        size = 8 if wire_type == FIXED64 else 4
    else:
        raise Malformed(f"proto: illegal wireType {wire_type}")
    stop = at + size
    if stop > len(data):
        raise Malformed("unexpected EOF")
    found = data[at:stop]
    return tag, found if wire_type == LENGTH else int.from_bytes(found, "little"), stop


def read_fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """(number, value) of every field, as `read_field` has it."""
    found: list[tuple[int, int | bytes]] = []
    at, end = 0, len(data)
    while at < end:
        tag, value, at = read_field(data, at)
        found.append((tag >> 3, value))
    return found


def signed(value: int) -> int:
    """A varint as the signed number it stands for."""
    return value - (1 << 64) if value >> 63 else value
