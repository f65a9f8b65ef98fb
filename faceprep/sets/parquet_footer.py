"""The footer of a Parquet file, read without pyarrow.

pyarrow ends the process when the metadata of a damaged column chunk is requested.

    footer, u32 length of the footer, PAR1

The footer is a FileMetaData in Thrift's compact protocol. Source: apache/parquet-format,
parquet.thrift.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.sets.thrift import MalformedStruct, Shrink, Struct, read_struct

_TAIL = struct.Struct("<I4s")
_ROW_GROUPS, _COLUMNS, _METADATA, _CRYPTO = 4, 1, 3, 8
_ENCODINGS, _CODEC, _N_VALUES, _N_BYTES, _DATA_AT, _DICTIONARY_AT = 2, 4, 5, 7, 9, 11
_TOO_LARGE = 1 << 62
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


N_FIELDS = len(ColumnChunk._fields)
_NONE = (-1,) * N_FIELDS


def pack_chunks(chunks: Sequence[ColumnChunk | None]) -> Ints:
    """Pack chunks into numbers (n, fields) for the index: to read one anew takes 0.2 ms."""
    return np.array([chunk or _NONE for chunk in chunks], "<i8").reshape(-1, N_FIELDS)


def unpack_chunks(rows: Ints) -> list[ColumnChunk | None]:
    """Return the chunks that were packed into numbers (n, fields).

    >>> chunks = [None, ColumnChunk(4, 9, 2, 1, 6, False)]
    >>> unpack_chunks(pack_chunks(chunks)) == chunks
    True
    """
    found = [ColumnChunk._make([*row[:-1], bool(row[-1])]) for row in rows.tolist()]
    return [chunk if chunk.start >= 0 else None for chunk in found]


def read_chunks(source: ByteSource, file: pq.ParquetFile, leaf: str) -> list[ColumnChunk | None]:
    """Return a column of strings or bytes in each row group; None for another column.

    Raises SourceError where it is encrypted, or the footer does not describe it.
    """
    schema = file.schema
    paths = [schema.column(number).path for number in range(len(schema))]
    column = paths.index(leaf) if leaf in paths else -1
    about = schema.column(column) if column >= 0 else None
    if about is None or about.max_repetition_level or about.physical_type != "BYTE_ARRAY":
        return [None] * file.num_row_groups
    make = partial(_make_chunk, source.path, column, about)
    footer = _read_footer(source, {_ROW_GROUPS: make})
    chunks: list[ColumnChunk | None] = footer.get(_ROW_GROUPS, [])
    if len(chunks) != file.num_row_groups:
        raise _damaged(source.path, f"{len(chunks)} row groups of {file.num_row_groups}")
    return chunks


def _read_footer(source: ByteSource, shrink: Shrink) -> Struct:
    tail = source.read_at(max(source.size - _TAIL.size, 0), _TAIL.size)
    try:
        length, _ = _TAIL.unpack(tail)
        start = max(source.size - _TAIL.size - length, 0)
        return read_struct(source.read_at(start, length), 0, shrink)[0]
    except (MalformedStruct, struct.error) as error:
        raise _damaged(source.path, str(error)) from None


def _make_chunk(path: str, column: int, schema: pq.ColumnSchema, group: Struct) -> ColumnChunk:
    try:
        found: Struct = group[_COLUMNS][column]
        is_encrypted, about = _CRYPTO in found, found[_METADATA]
        numbers = [_number(about[field]) for field in (_CODEC, _N_VALUES, _N_BYTES, _DATA_AT)]
        first = _number(about.get(_DICTIONARY_AT, 0))
        is_plain = set(about[_ENCODINGS]) <= _PLAIN
    except (LookupError, TypeError) as error:
        raise _damaged(path, f"column {column} of a row group: {error}") from None
    if is_encrypted:
        problem = f"the column {schema.path} is encrypted"
        raise SourceError(problem, path=path, remedy="Write the file without encryption.")
    codec, n_values, n_bytes, start = numbers
    if 0 < first < start:
        start = first
    level = schema.max_definition_level
    return ColumnChunk(start, start + n_bytes, n_values, level, codec, is_plain)


def _number(value: Any) -> int:
    """Return a number of the footer.

    Raises TypeError for another value, or one that no place or size can be.
    """
    if type(value) is not int or not 0 <= value < _TOO_LARGE:
        raise TypeError(f"expected a number, found {value!r}")
    return value


def _damaged(path: str, problem: str) -> SourceError:
    return SourceError(
        f"its footer is damaged: {problem}", path=path, remedy="Copy or make the file again."
    )
