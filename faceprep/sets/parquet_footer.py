"""The footer of a Parquet file, read without pyarrow.

pyarrow ends the process when the metadata of a damaged column chunk is requested.

    footer, u32 length of the footer, PAR1

The footer is a FileMetaData in Thrift's compact protocol. Source: apache/parquet-format,
parquet.thrift.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.sets.thrift import MalformedStruct, Struct, read_struct

_TAIL = struct.Struct("<I4s")
_ROW_GROUPS, _COLUMNS, _METADATA = 4, 1, 3
_ENCODINGS, _CODEC, _N_VALUES, _N_BYTES, _DATA_AT = 2, 4, 5, 7, 9
_PLAIN = {0, 3, 4}
"""PLAIN, and the encodings of levels, RLE and BIT_PACKED."""


class ColumnChunk(NamedTuple):
    """A column of a row group: the place of its pages [start, stop) and its number of values."""

    is_plain: bool
    start: int
    stop: int
    n_values: int


def read_footer(source: ByteSource) -> Struct:
    """Read the footer. Raises SourceError."""
    tail = source.read_at(max(source.size - _TAIL.size, 0), _TAIL.size)
    try:
        length, _ = _TAIL.unpack(tail)
        start = max(source.size - _TAIL.size - length, 0)
        return read_struct(source.read_at(start, length), 0)[0]
    except (MalformedStruct, struct.error) as error:
        raise _damaged(source, str(error)) from None


def find_chunk(source: ByteSource, footer: Struct, group: int, column: int) -> ColumnChunk:
    """Return a column of a row group. Raises SourceError where the footer does not describe it."""
    try:
        about: Struct = footer[_ROW_GROUPS][group][_COLUMNS][column][_METADATA]
        numbers = [_number(about[field]) for field in (_CODEC, _N_VALUES, _N_BYTES, _DATA_AT)]
        is_plain = not numbers[0] and set(about[_ENCODINGS]) <= _PLAIN
    except (LookupError, TypeError) as error:
        raise _damaged(source, f"column {column} of row group {group}: {error}") from None
    _, n_values, n_bytes, start = numbers
    return ColumnChunk(is_plain, start, start + n_bytes, n_values)


def _number(value: Any) -> int:
    """Return a number of the footer. Raises TypeError for another value, or one below zero."""
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a number, found {value!r}")
    return value


def _damaged(source: ByteSource, problem: str) -> SourceError:
    return SourceError(
        f"its footer is damaged: {problem}", path=source.path, remedy="Copy or make the file again."
    )
