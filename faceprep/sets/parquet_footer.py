"""The footer of a Parquet file, read without pyarrow.

pyarrow ends the process when the metadata of a damaged column chunk is requested.

    footer, u32 length of the footer, PAR1

The footer is a FileMetaData in Thrift's compact protocol. Source: apache/parquet-format,
parquet.thrift.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.sets.thrift import MalformedStruct, Struct, read_struct

_TAIL = struct.Struct("<I4s")
_ROW_GROUPS, _COLUMNS, _METADATA, _CRYPTO = 4, 1, 3, 8
_ENCODINGS, _CODEC, _N_VALUES, _N_BYTES, _DATA_AT, _DICTIONARY_AT = 2, 4, 5, 7, 9, 11
_PLAIN = {0, 3, 4}
"""PLAIN, and the encodings of levels, RLE and BIT_PACKED."""


class ColumnChunk(NamedTuple):
    """A column of a row group: its bytes [start, stop), its number of values, nulls included.

    `codec` is the number of the compression, 0 for none. `is_plain` is whether the values of all
    pages are plain. A value is null unless its definition level is `max_level`; at 0 there are no
    levels.
    """

    start: int
    stop: int
    n_values: int
    max_level: int
    codec: int = 0
    is_plain: bool = True


def read_footer(source: ByteSource) -> Struct:
    """Read the footer. Raises SourceError."""
    tail = source.read_at(max(source.size - _TAIL.size, 0), _TAIL.size)
    try:
        length, _ = _TAIL.unpack(tail)
        start = max(source.size - _TAIL.size - length, 0)
        return read_struct(source.read_at(start, length), 0)[0]
    except (MalformedStruct, struct.error) as error:
        raise _damaged(source, str(error)) from None


def find_chunk(
    source: ByteSource, footer: Struct, schema: pq.ParquetSchema, group: int, leaf: str
) -> ColumnChunk | None:
    """Return a column of strings or bytes in a row group; None for another column.

    Raises SourceError where it is encrypted, or the footer does not describe it.
    """
    paths = [schema.column(number).path for number in range(len(schema))]
    if leaf not in paths:
        return None
    column = paths.index(leaf)
    kind = schema.column(column)
    if kind.max_repetition_level or kind.physical_type != "BYTE_ARRAY":
        return None
    try:
        found: Struct = footer[_ROW_GROUPS][group][_COLUMNS][column]
        is_encrypted, about = _CRYPTO in found, found[_METADATA]
        numbers = [_number(about[field]) for field in (_CODEC, _N_VALUES, _N_BYTES, _DATA_AT)]
        first = _number(about.get(_DICTIONARY_AT, 0))
        is_plain = set(about[_ENCODINGS]) <= _PLAIN
    except (LookupError, TypeError) as error:
        raise _damaged(source, f"column {column} of row group {group}: {error}") from None
    if is_encrypted:
        remedy = "Write the file without encryption."
        raise SourceError(f"the column {leaf} is encrypted", path=source.path, remedy=remedy)
    codec, n_values, n_bytes, start = numbers
    if 0 < first < start:
        start = first
    return ColumnChunk(start, start + n_bytes, n_values, kind.max_definition_level, codec, is_plain)


def _number(value: Any) -> int:
    """Return a number of the footer. Raises TypeError for another value, or one below zero."""
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a number, found {value!r}")
    return value


def _damaged(source: ByteSource, problem: str) -> SourceError:
    return SourceError(
        f"its footer is damaged: {problem}", path=source.path, remedy="Copy or make the file again."
    )
