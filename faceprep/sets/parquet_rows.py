"""Images of a Parquet file that are found by row group and row: compressed or encoded ones.

Most are read a page at a time. Where the encoding is a rare one, pyarrow reads the row group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from faceprep.core.io.parquet import naming_errors, open_file
from faceprep.core.storage import ByteSource
from faceprep.sets.open_files import OpenFiles
from faceprep.sets.parquet_columns import BYTES, PATH
from faceprep.sets.parquet_footer import ColumnChunk, read_chunks
from faceprep.sets.parquet_pages import NotPlain
from faceprep.sets.parquet_values import ValueReader

_MOST_ROWS = 64
_MOST_BYTES = 64 << 20
_BUFFER = 1 << 20
_CHANGED = "the file has changed since it was indexed"


_Stored = Callable[[str], Sequence[ColumnChunk | None]]


class Row(NamedTuple):
    """The bytes of an image, or the path of its file, empty for none."""

    data: bytes | None
    path: str


class RowReader:
    """Reads the images of `column` by row group and row, and keeps the rows around the last.

    `stored` returns the chunks of a file, or none where these must be read from its footer, which
    takes 0.2 ms each.
    """

    def __init__(
        self, paths: Sequence[str], column: str, stored: _Stored = lambda path: ()
    ) -> None:
        self._paths = paths
        self._files = OpenFiles(paths, partial(_File, column, stored))

    def read(self, file: int, group: int, row: int) -> Row:
        """Read one image. Raises SourceError."""
        with naming_errors(self._paths[file]):
            return self._files.open(file).read(group, row)

    def close(self) -> None:
        """Close the files."""
        self._files.close()


class _File:
    """A Parquet file that is open for reading, and the parts of its column of images."""

    def __init__(self, column: str, stored: _Stored, path: str) -> None:
        with naming_errors(path):
            self._file = open_file(path, buffer_size=_BUFFER, pre_buffer=False)
            schema = self._file.schema_arrow
            if column not in schema.names:
                raise pa.ArrowInvalid(_CHANGED)
            kind = schema.field(column).type
            self._bytes, self._names = column, ""
            if pa.types.is_struct(kind):
                self._bytes = f"{column}.{BYTES}"
                if kind.get_field_index(PATH) >= 0:
                    self._names = f"{column}.{PATH}"
            chunks = stored(path)
            if len(chunks) != self._file.num_row_groups:
                with ByteSource(path) as source:
                    chunks = read_chunks(source, self._file, self._bytes)
            self._values = ValueReader(path, chunks)
        self._batches = _Batches(-1, iter(()))
        self._paths: tuple[int, pa.Array] = -1, None

    def read(self, group: int, row: int) -> Row:
        """Read one image. Raises SourceError and pa.ArrowException."""
        if group >= self._file.num_row_groups:
            raise pa.ArrowInvalid(_CHANGED)
        try:
            data = self._values.read(group, row)
        except NotPlain:
            if group != self._batches.group or row < self._batches.first:
                self._batches = _Batches(group, self._read_batches(group))
            data = self._batches.read(row)
        if data is not None:
            return Row(data, "")
        if group != self._paths[0]:
            self._paths = group, self._read_paths(group)
        if row >= len(self._paths[1]):
            raise pa.ArrowInvalid(_CHANGED)
        name: bytes = self._paths[1][row].as_py() or b""
        return Row(None, name.decode("utf-8", "surrogateescape"))

    def _read_batches(self, group: int) -> Iterator[pa.RecordBatch]:
        """Yield the bytes of the images of a row group, some rows at a time."""
        about = self._file.metadata.row_group(group)
        row_bytes = max(about.total_byte_size // max(about.num_rows, 1), 1)
        n_rows = min(max(_MOST_BYTES // row_bytes, 1), _MOST_ROWS)
        batches: Iterator[pa.RecordBatch] = self._file.iter_batches(
            n_rows, row_groups=[group], columns=[self._bytes], use_threads=False
        )
        return batches

    def _read_paths(self, group: int) -> pa.Array:
        """Read the paths of the images of a row group, as bytes, since they may not be UTF-8."""
        if not self._names:
            return pa.nulls(self._file.metadata.row_group(group).num_rows)
        table = self._file.read_row_group(group, columns=[self._names], use_threads=False)
        return _part(table.column(0).combine_chunks()).cast(pa.large_binary())

    def close(self) -> None:
        self._file.close(force=True)
        self._values.close()


class _Batches:
    """Reads the rows of a row group in order, a batch at a time; `first` is the first at hand."""

    def __init__(self, group: int, batches: Iterator[pa.RecordBatch]) -> None:
        self.group, self.first = group, 0
        self._batches, self._rows = batches, pa.array([])
        self._problem: pa.ArrowException | OSError | None = None

    def read(self, row: int) -> bytes | None:
        """Read a row at or after `first`; None for null. Raises pa.ArrowException and OSError."""
        while row >= self.first + len(self._rows):
            if self._problem:
                raise self._problem.with_traceback(None)
            try:
                batch = next(self._batches, None)
            except (pa.ArrowException, OSError) as problem:
                self._problem = problem
                raise
            if batch is None:
                raise pa.ArrowInvalid(f"row group {self.group} ends before row {row}")
            self.first += len(self._rows)
            self._rows = _part(batch.column(0))
        data: bytes | None = self._rows[row - self.first].as_py()
        return data


def _part(column: pa.Array) -> pa.Array:
    """Return the only part of a column of structs that was read, null where its row is."""
    return column.flatten()[0] if pa.types.is_struct(column.type) else column
