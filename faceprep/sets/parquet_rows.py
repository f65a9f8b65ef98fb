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
_BUFFER = 1 << 20
_CHANGED = "the file is another than when it was indexed"


class Row(NamedTuple):
    """The bytes of an image, or the path of its file, empty for none."""

    data: bytes | None
    path: str


class RowReader:
    """Reads the images of `column` by row group and row, and keeps the rows around the last."""

    def __init__(self, paths: Sequence[str], column: str) -> None:
        self._paths, self._column = paths, column
        self._files = OpenFiles(paths, partial(_open, column))
        self._group = (-1, -1)
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._first, self._rows, self._values = 0, pa.array([]), list[pa.Array]()

    def read(self, file: int, group: int, row: int) -> Row:
        """Read one image. Raises SourceError."""
        with naming_errors(self._paths[file]):
            return self._read(file, group, row)

    def _read(self, file: int, group: int, row: int) -> Row:
        if (file, group) != self._group or row < self._first:
            self._start(file, group)
        while row >= self._first + len(self._rows):
            batch = next(self._batches, None)
            if batch is None:
                raise pa.ArrowInvalid(f"row group {group} ends before row {row}")
            self._first += len(self._rows)
            self._rows, self._values = batch.column(0), []
        self._values = self._values or _parts(self._rows)
        data, path = (part[row - self._first].as_py() for part in self._values)
        return Row(data, (path or b"").decode("utf-8", "surrogateescape"))

    def _start(self, file: int, group: int) -> None:
        self._group = -1, -1
        self._first, self._rows, self._values = 0, pa.array([]), []
        opened = self._files.open(file)
        if group >= opened.num_row_groups:
            raise pa.ArrowInvalid(_CHANGED)
        about = opened.metadata.row_group(group)
        row_bytes = max(about.total_byte_size // max(about.num_rows, 1), 1)
        n_rows = min(max(_MOST_BYTES // row_bytes, 1), _MOST_ROWS)
        self._batches = opened.iter_batches(
            n_rows, row_groups=[group], columns=[self._column], use_threads=False
        )
        self._group = file, group

    def close(self) -> None:
        """Close the files."""
        self._batches, self._rows, self._values = iter(()), pa.array([]), []
        self._group = -1, -1
        self._files.close()


def _open(column: str, path: str) -> pq.ParquetFile:
    file = storage.open_for_library(path)
    with naming_errors(path):
        opened = pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
        if column not in opened.schema_arrow.names:
            raise pa.ArrowInvalid(_CHANGED)
        return opened


def _parts(column: pa.Array) -> list[pa.Array]:
    """Return the arrays of bytes and of paths, as bytes."""
    if not pa.types.is_struct(column.type):
        return [column, pa.nulls(len(column))]
    names = [field.name for field in column.type]
    parts = dict(zip(names, column.flatten(), strict=True))
    paths = parts.get(PATH, pa.nulls(len(column)))
    return [parts[BYTES], paths.cast(pa.large_binary())]  # since they may not be UTF-8
