"""Images of a Parquet file that are found by row group and row: compressed or encoded ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from faceprep.core import storage
from faceprep.core.io.parquet import naming_errors
from faceprep.sets.open_files import OpenFiles
from faceprep.sets.parquet_columns import BYTES, PATH

_MOST_ROWS = 64
_MOST_BYTES = 64 << 20
_WHOLE, _BUFFER = 16 << 20, 1 << 20
"""Row groups of at most this many bytes are read whole; others in buffers of this many."""
_CHANGED = "the file has changed since it was indexed"


class Row(NamedTuple):
    """The bytes of an image, or the path of its file, empty for none."""

    data: bytes | None
    path: str


class RowReader:
    """Reads the images of `column` by row group and row, and keeps the rows around the last."""

    def __init__(self, paths: Sequence[str], column: str) -> None:
        self._paths = paths
        self._files = OpenFiles(paths, partial(_File, column))
        self._group = (-1, -1)
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._first, self._rows = 0, pa.array([])
        self._names: pa.Array | None = None

    def read(self, file: int, group: int, row: int) -> Row:
        """Read one image. Raises SourceError."""
        with naming_errors(self._paths[file]):
            return self._read(file, group, row)

    def _read(self, file: int, group: int, row: int) -> Row:
        opened = self._files.open(file)
        if (file, group) != self._group or row < self._first:
            self._forget()
            self._batches = opened.read_bytes(group)
            self._group = file, group
        while row >= self._first + len(self._rows):
            batch = next(self._batches, None)
            if batch is None:
                raise pa.ArrowInvalid(f"row group {group} ends before row {row}")
            self._first += len(self._rows)
            self._rows = _part(batch.column(0))
        data = self._rows[row - self._first].as_py()
        if data is not None:
            return Row(data, "")
        if self._names is None:
            self._names = opened.read_paths(group)
        name: bytes = self._names[row].as_py() or b""
        return Row(None, name.decode("utf-8", "surrogateescape"))

    def _forget(self) -> None:
        self._batches, self._names = iter(()), None
        self._group, self._first, self._rows = (-1, -1), 0, pa.array([])

    def close(self) -> None:
        """Close the files."""
        self._forget()
        self._files.close()


class _File:
    """A Parquet file that is open for reading, and the parts of its column of images."""

    def __init__(self, column: str, path: str) -> None:
        self._path = path
        with naming_errors(path):
            self._whole = self._open(0)
            schema = self._whole.schema_arrow
            if column not in schema.names:
                raise pa.ArrowInvalid(_CHANGED)
            kind = schema.field(column).type
        self._buffered: pq.ParquetFile | None = None
        self._bytes, self._names = column, ""
        if pa.types.is_struct(kind):
            self._bytes = f"{column}.{BYTES}"
            if kind.get_field_index(PATH) >= 0:
                self._names = f"{column}.{PATH}"

    def _open(self, buffer_size: int) -> pq.ParquetFile:
        file = storage.open_for_library(self._path)
        return pq.ParquetFile(file, buffer_size=buffer_size, pre_buffer=False)

    def read_bytes(self, group: int) -> Iterator[pa.RecordBatch]:
        """Yield the bytes of the images of a row group, some rows at a time."""
        if group >= self._whole.num_row_groups:
            raise pa.ArrowInvalid(_CHANGED)
        about = self._whole.metadata.row_group(group)
        file = self._whole
        if about.total_byte_size > _WHOLE:
            file = self._buffered = self._buffered or self._open(_BUFFER)
        row_bytes = max(about.total_byte_size // max(about.num_rows, 1), 1)
        n_rows = min(max(_MOST_BYTES // row_bytes, 1), _MOST_ROWS)
        batches: Iterator[pa.RecordBatch] = file.iter_batches(
            n_rows, row_groups=[group], columns=[self._bytes], use_threads=False
        )
        return batches

    def read_paths(self, group: int) -> pa.Array:
        """Read the paths of the images of a row group, as bytes, since they may not be UTF-8."""
        if not self._names:
            return pa.nulls(self._whole.metadata.row_group(group).num_rows)
        table = self._whole.read_row_group(group, columns=[self._names], use_threads=False)
        return _part(table.column(0).combine_chunks()).cast(pa.large_binary())

    def close(self) -> None:
        self._whole.close()
        if self._buffered:
            self._buffered.close()


def _part(column: pa.Array) -> pa.Array:
    """Return the only part of a column of structs that was read, null where its row is."""
    return column.flatten()[0] if pa.types.is_struct(column.type) else column
