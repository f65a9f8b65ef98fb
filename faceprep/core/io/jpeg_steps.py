"""The steps to which a JPEG rounds the frequencies of its brightness, read from its header."""

from __future__ import annotations

from collections.abc import Iterator

from faceprep.core.io.image_header import JPEG_FRAMES
from faceprep.core.types import Buffer

_TABLES, _SCAN = 0xDB, 0xDA
_TABLE_NUMBER = 8
"""Offset of the first component's table number in a frame header."""
_SIDE = 8
_ZIGZAG = sorted(
    ((row, column) for row in range(_SIDE) for column in range(_SIDE)),
    key=lambda at: (sum(at), at[sum(at) % 2 == 0]),
)
"""Rows and columns in the order of the file (ITU-T T.81, figure A.6)."""


def read_steps(data: Buffer) -> list[list[int]] | None:
    """Read the steps (8, 8), by row and column, of the first component of a sound JPEG.

    Return None where the header lacks them.
    """
    tables: dict[int, list[int]] = {}
    number = None
    for marker, segment in _segments(data):
        if marker == _TABLES:
            tables |= _read_tables(segment)
        elif marker in JPEG_FRAMES and len(segment) > _TABLE_NUMBER:
            number = segment[_TABLE_NUMBER]
    return _order(tables[number]) if number in tables else None


def _segments(data: Buffer) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, content) of the segments before the scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # a marker without a length
            at += 2
        else:
            stop = at + 2 + (data[at + 2] << 8 | data[at + 3])
            yield marker, bytes(data[at + 4 : stop])
            at = stop


def _read_tables(segment: bytes) -> dict[int, list[int]]:
    """Read the tables of one segment by their numbers; each has 64 values of one or two bytes."""
    tables, at = {}, 0
    while at < len(segment):
        width = 2 if segment[at] >> 4 else 1
        stop = at + 1 + _SIDE * _SIDE * width
        values = segment[at + 1 : stop]
        if len(values) == _SIDE * _SIDE * width:
            pieces = (values[i : i + width] for i in range(0, len(values), width))
            tables[segment[at] & 15] = [int.from_bytes(piece, "big") for piece in pieces]
        at = stop
    return tables


def _order(values: list[int]) -> list[list[int]]:
    steps = [[0] * _SIDE for _ in range(_SIDE)]
    for value, (row, column) in zip(values, _ZIGZAG, strict=True):
        steps[row][column] = value
    return steps
