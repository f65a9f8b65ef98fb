"""Arrow arrays from Python values, and a Parquet file from rows that come one by one.

The arrays are made from buffers, because `pa.array` imports pandas where it is installed. That
import takes longer than a hundred frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO, ClassVar, Generic, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Row = TypeVar("Row")
ROWS_A_BATCH = 8 * 1024
_DTYPES = {pa.int32(): "<i4", pa.int64(): "<i8", pa.float32(): "<f4", pa.float64(): "<f8"}


def table_of(rows: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """Return a table with a row for each tuple of `rows`, whose values are in the schema's order.

    >>> schema = pa.schema([("path", pa.string()), ("label", pa.int32())])
    >>> table_of([("a.png", 1), ("b.png", None)], schema)["label"].to_pylist()
    [1, None]
    """
    columns = [
        column_of([row[place] for row in rows], field.type) for place, field in enumerate(schema)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def column_of(values: Any, kind: pa.DataType) -> pa.Array:
    """Return an array of strings, booleans, int32, int64, float32 or float64; None becomes null."""
    if kind == pa.string():
        return _strings(values)
    if kind == pa.bool_():
        return _flags(values)
    if isinstance(values, np.ndarray):
        data = pa.py_buffer(values.astype(_DTYPES[kind]))
        return pa.Array.from_buffers(kind, len(values), [None, data])
    numbers = np.array([0 if value is None else value for value in values], _DTYPES[kind])
    return pa.Array.from_buffers(kind, len(values), [_validity(values), pa.py_buffer(numbers)])


def _strings(values: Sequence[str | None]) -> pa.Array:
    texts = [(value or "").encode() for value in values]
    edges = np.zeros(len(texts) + 1, "<i4")
    np.cumsum([len(text) for text in texts], out=edges[1:])
    buffers = [_validity(values), pa.py_buffer(edges), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def _flags(values: Sequence[bool | None]) -> pa.Array:
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
    order only, not on the pieces in which they arrive. `make_table` makes a table of `schema` from
    rows that are not tuples of its values.
    """

    rows_a_group: ClassVar[int] = 64 * 1024
    rows_a_batch: ClassVar[int] = ROWS_A_BATCH

    def __init__(
        self,
        file: BinaryIO,
        schema: pa.Schema,
        make_table: Callable[[Sequence[Row]], pa.Table] | None = None,
    ) -> None:
        self._schema = schema
        self._make_table = make_table or partial(table_of, schema=schema)
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
            self.add_table(self._make_table(rows))

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
