"""Arrow arrays from Python values, and a Parquet file from rows that come one by one.

The arrays are made from buffers, because `pa.array` imports pandas where it is installed. That
import takes longer than a hundred frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Row = TypeVar("Row")
ROWS_A_BATCH = 8 * 1024
_DTYPES = {pa.int32(): "<i4", pa.int64(): "<i8", pa.float32(): "<f4", pa.float64(): "<f8"}


def numbers_array(
    values: Sequence[float | None] | npt.NDArray[Any], type_: pa.DataType
) -> pa.Array:
    """Return an array of int32, int64, float32 or float64; None becomes null."""
    if isinstance(values, np.ndarray):
        return pa.Array.from_buffers(
            type_, len(values), [None, pa.py_buffer(values.astype(_DTYPES[type_]))]
        )
    data = np.array([0 if value is None else value for value in values], _DTYPES[type_])
    return pa.Array.from_buffers(type_, len(values), [_validity(values), pa.py_buffer(data)])


def strings_array(values: Sequence[str | None]) -> pa.Array:
    """Return an array of strings; None becomes null."""
    texts = [(value or "").encode() for value in values]
    edges = np.zeros(len(texts) + 1, "<i4")
    np.cumsum([len(text) for text in texts], out=edges[1:])
    buffers = [_validity(values), pa.py_buffer(edges), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def flags_array(values: Sequence[bool | None]) -> pa.Array:
    """Return an array of booleans; None becomes null."""
    bits = np.packbits(np.array(values, np.bool_), bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [_validity(values), pa.py_buffer(bits)])


def _validity(values: Sequence[object]) -> pa.Buffer | None:
    """Return Arrow's bitmap of the values that are not None; None where all are valid."""
    is_known = np.array([value is not None for value in values], np.bool_)
    if is_known.all():
        return None
    return pa.py_buffer(np.packbits(is_known, bitorder="little"))


class RowsWriter(Generic[Row]):
    """A writer of rows to one Parquet file, in bounded memory.

    It is a context manager; the file is complete at its end. The bytes depend on the rows and their
    order only, not on the pieces in which they arrive. `table_of` makes a table of `schema`.
    """

    rows_a_group: ClassVar[int] = 64 * 1024
    rows_a_batch: ClassVar[int] = ROWS_A_BATCH

    def __init__(
        self, file: BinaryIO, schema: pa.Schema, table_of: Callable[[Sequence[Row]], pa.Table]
    ) -> None:
        self._schema, self._table_of = schema, table_of
        self._writer = pq.ParquetWriter(file, schema)
        self._rows: list[Row] = []
        self._tables: list[pa.Table] = []

    def add(self, row: Row) -> None:
        """Add one row."""
        self._rows.append(row)
        if len(self._rows) == self.rows_a_batch:
            self._pack()

    def add_table(self, table: pa.Table) -> None:
        """Add a table of the schema after the rows added before."""
        self._pack()
        self._tables.append(table)
        while sum(map(len, self._tables)) >= self.rows_a_group:
            held = pa.concat_tables(self._tables)
            self._write(held.slice(0, self.rows_a_group))
            self._tables = [held.slice(self.rows_a_group)]

    def _pack(self) -> None:
        if self._rows:
            rows, self._rows = self._rows, []
            self.add_table(self._table_of(rows))

    def _write(self, table: pa.Table) -> None:
        self._writer.write_table(table.combine_chunks(), row_group_size=self.rows_a_group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._writer:
            if kind is None:
                self._pack()
                empty = pa.Table.from_batches([], self._schema)
                self._write(pa.concat_tables([*self._tables, empty]))
