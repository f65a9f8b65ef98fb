"""The part of the protobuf wire format that `tf.train.Example` needs.

A message is a row of fields: varint (number << 3 | kind), then a varint (kind 0), 8 bytes (1), a
varint length and so many bytes (2), or 4 bytes (5). Source:
protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct

from faceprep.core.types import Buffer

_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
_LONGEST_VARINT = 10


class Malformed(ValueError):
    """An error: the bytes are not a protobuf message."""


def varint(number: int) -> bytes:
    """Encode a non-negative number: seven bits per byte, lowest bits first.

    >>> varint(300)
    b'\\xac\\x02'
    """
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(data: Buffer, at: int) -> tuple[int, int]:
    """Decode a number; return it and the position after it. Raises Malformed.

    >>> read_varint(varint(300), 0)
    (300, 2)
    """
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    number = shift = 0
    for end, byte in enumerate(data[at : at + _LONGEST_VARINT], at + 1):
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, end
        shift += 7
    raise Malformed(f"the number at byte {at} has no end")


def read_fields(data: bytes) -> list[tuple[int, bytes | int]]:
    """Decode the fields of a message as (number, value); a varint gives an int, all others bytes.

    Raises Malformed.

    >>> read_fields(b"\\x0a\\x02hi\\x10\\x03")
    [(1, b'hi'), (2, 3)]
    """
    fields: list[tuple[int, bytes | int]] = []
    at, end = 0, len(data)
    while at < end:
        tag, at = read_varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = read_varint(data, at)
            fields.append((tag >> 3, number))
            continue
        if kind == _BYTES:
            length, at = read_varint(data, at)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise Malformed(f"unknown kind of field {kind} before byte {at}")
        if length > end - at:
            raise Malformed(f"a field of {length} bytes at byte {at} of {end}")
        fields.append((tag >> 3, data[at : at + length]))
        at += length
    return fields


def read_numbers(value: bytes | int, kind: str) -> list[int] | list[float]:
    """Decode the numbers of one field, packed or single; `kind` is q for int64 or f for float32.

    Raises Malformed.

    >>> read_numbers(varint(3) + varint(2**64 - 1), "q")
    [3, -1]
    >>> read_numbers(struct.pack("<2f", 1, 0.5), "f")
    [1.0, 0.5]
    """
    if kind == "f":
        if isinstance(value, int) or len(value) % 4:
            raise Malformed("floats that are not 4 bytes each")
        return list(struct.unpack(f"<{len(value) // 4}f", value))
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = read_varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
