"""The compact protocol of Thrift, as far as the footers and page headers of Parquet need it.

A struct is a row of fields: a byte (difference of the number << 4 | kind), then the value; a zero
byte ends it. Numbers are zigzag varints. Source: thrift/doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from faceprep.core.types import Buffer

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 0, 1, 2, 3, 7, 8, 12
_NUMBERS = frozenset((4, 5, 6))
_LISTS = frozenset((9, 10))
_DEEPEST = 8
_MAX_SHIFT = 63

Struct = dict[int, Any]
Shrink = Mapping[int, Callable[[Any], Any]]


class MalformedStruct(ValueError):
    """An error: the bytes are not a struct, or the struct does not end within them."""


def read_struct(data: Buffer, at: int, shrink: Shrink | None = None) -> tuple[Struct, int]:
    """Decode a struct into a dict by field number; return it and the position after it.

    `shrink` has functions for fields of the struct that are lists: what they return for an item
    takes its place, so that a long list need not be in memory. Raises MalformedStruct.

    >>> read_struct(bytes([0x15, 0x06, 0x11, 0x00]), 0)
    ({1: 3, 2: True}, 4)
    """
    try:
        return _read_struct(data, at, 0, shrink or {})
    except IndexError:
        raise MalformedStruct(f"no end within {len(data)} bytes") from None


def _read_struct(data: Buffer, at: int, depth: int, shrink: Shrink) -> tuple[Struct, int]:
    fields: Struct = {}
    number = 0
    while True:
        head = data[at]
        at += 1
        kind = head & 0x0F
        if kind == _STOP:
            return fields, at
        if head >> 4:
            number += head >> 4
        else:
            number, at = _read_zigzag(data, at)
        if kind in _NUMBERS:
            fields[number], at = _read_zigzag(data, at)
        elif kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        elif kind in _LISTS and number in shrink:
            fields[number], at = _read_list(data, at, depth, shrink[number])
        else:
            fields[number], at = _read_value(data, at, kind, depth)


def _read_value(data: Buffer, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > _DEEPEST:
        raise MalformedStruct(f"structs nested more than {_DEEPEST} deep")
    if kind in _NUMBERS:
        return _read_zigzag(data, at)
    if kind == _STRUCT:
        return _read_struct(data, at, depth + 1, {})
    if kind in (_BYTE, _TRUE, _FALSE):
        return data[at], at + 1
    if kind in _LISTS:
        return _read_list(data, at, depth, None)
    length = 8
    if kind == _BINARY:
        length, at = _read_varint(data, at)
    elif kind != _DOUBLE:
        raise MalformedStruct(f"unknown kind of field {kind} before byte {at}")
    if length > len(data) - at:
        raise MalformedStruct(f"a field of {length} bytes at byte {at} of {len(data)}")
    return bytes(data[at : at + length]), at + length


def _read_list(
    data: Buffer, at: int, depth: int, shrink: Callable[[Any], Any] | None
) -> tuple[list[Any], int]:
    head = data[at]
    at += 1
    n = head >> 4
    if n == 0x0F:
        n, at = _read_varint(data, at)
    if n > len(data) - at:
        raise MalformedStruct(f"a list of {n} at byte {at} of {len(data)}")
    values = []
    for _ in range(n):
        value, at = _read_value(data, at, head & 0x0F, depth + 1)
        values.append(shrink(value) if shrink else value)
    return values, at


def _read_zigzag(data: Buffer, at: int) -> tuple[int, int]:
    number = data[at]
    at += 1
    if number >= 0x80:
        number, at = _read_varint(data, at - 1)
    return number >> 1 ^ -(number & 1), at


def _read_varint(data: Buffer, at: int) -> tuple[int, int]:
    number = shift = 0
    while shift <= _MAX_SHIFT:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise MalformedStruct(f"the number before byte {at} has no end")
