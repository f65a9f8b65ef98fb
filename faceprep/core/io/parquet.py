"""Parquet manifests: image_names, image_classes, identity and optional embeddings.

Embeddings are lists of fixed length.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from faceprep.core import os_errors, storage
from faceprep.core.errors import SourceError
from faceprep.core.io.contents import Contents

_CLASSES = ("image_classes", "label", "class")
_IDENTITY = "identity"


def table_of(
    names: Sequence[str],
    classes: Sequence[int],
    identities: Sequence[str],
    embeddings: npt.NDArray[np.floating[Any]] | None = None,
) -> pa.Table:
    """Build a table with one row per image; `embeddings` are (n, d) float16 or float32.

    >>> table_of(["a/1.jpg"], [0], ["a"]).column_names
    ['image_names', 'image_classes', 'identity']
    """
    columns: dict[str, Any] = {
        "image_names": pa.array(names, pa.string()),
        "image_classes": pa.array(classes, pa.int64()),
        "identity": pa.array(identities, pa.string()),
    }
    if embeddings is not None:
        columns["embeddings"] = vector_column(embeddings)
    return pa.table(columns)


def vector_column(vectors: npt.NDArray[np.floating[Any]]) -> pa.Array:
    """Return vectors (n, d) of float16 or float32 as a column of lists of fixed length."""
    data = np.ascontiguousarray(vectors).reshape(-1)  # `pa.array` would visit each float16
    numbers = pa.from_numpy_dtype(data.dtype)
    flat = pa.Array.from_buffers(numbers, data.size, [None, pa.py_buffer(data)])
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def write_tables(file: BinaryIO, tables: Iterable[pa.Table], plain_column: str = "") -> None:
    """Write one or more tables of the same columns as one file.

    `plain_column` is neither compressed nor dictionary-encoded: for floats, both only cost time.
    """
    tables = iter(tables)
    first = next(tables)
    settings: dict[str, Any] = {}
    if plain_column:
        others = [name for name in first.column_names if name != plain_column]
        compression = dict.fromkeys(others, "snappy") | {f"{plain_column}.list.element": "none"}
        settings = {
            "use_dictionary": others,
            "compression": compression,
            "write_statistics": others,
        }
    with pq.ParquetWriter(file, first.schema, **settings) as writer:
        for table in chain([first], tables):
            writer.write_table(table)


def join(parts: Iterable[Path], file: BinaryIO) -> None:
    """Join files of the same columns into one file. Raises SourceError."""
    write_tables(file, (table for part in parts for table in _groups(part)))


def _groups(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    with open_parquet(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=columns)
            table.validate(full=True)  # strings may hold bytes that are not UTF-8
            yield table


@contextmanager
def open_parquet(path: str | os.PathLike[str]) -> Iterator[pq.ParquetFile]:
    """Open the file; errors of pyarrow inside the block are raised as SourceError."""
    with naming_errors(path):
        file = open_file(path)
        try:
            yield file
        finally:
            file.close(force=True)


def open_file(path: str | os.PathLike[str], **options: Any) -> pq.ParquetFile:
    """Open the file with these options of pyarrow; the caller closes it, by `force`.

    Raises SourceError and errors of pyarrow.
    """
    opened = storage.open_for_library(path)
    if isinstance(opened, str):  # pyarrow takes only a name in UTF-8 as text
        opened = pa.OSFile(os.fsencode(opened))
    return pq.ParquetFile(opened, page_checksum_verification=True, **options)


@contextmanager
def naming_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise errors of pyarrow inside the block as SourceError about `path`."""
    try:
        with os_errors.guard("read", path, SourceError), _naming_damage():
            yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(
            f"cannot be read as Parquet: {str(error).splitlines()[0].rstrip('.')}",
            path=path,
            remedy="Make the file again.",
        ) from error


@contextmanager
def _naming_damage() -> Iterator[None]:
    """Raise pyarrow's errors about damage as such; some look like errors of the disk."""
    try:
        yield
    except OSError as error:
        if error.errno:
            raise
        raise pa.ArrowInvalid(str(error)) from error


def read_rows(path: str | os.PathLike[str]) -> Iterator[Mapping[str, Any]]:
    """Yield one mapping per row, column -> value. Raises SourceError."""
    for table in _groups(path):
        yield from table.to_pylist()


def read_columns(path: str | os.PathLike[str], names: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the named columns in pieces of rows. Raises SourceError when a column is missing."""
    for table in _groups(path, names):
        refuse_missing(path, table.column_names, names)
        yield table


def refuse_missing(
    path: str | os.PathLike[str], found: Sequence[str], names: Sequence[str]
) -> None:
    """Raise SourceError unless each of the columns `names` was found, and found once."""
    missing = [name for name in names if name not in found]
    if missing:
        expected = "the columns " + ", ".join(names)
        problem, remedy = "lacks " + ", ".join(missing), "Name another table."
        raise SourceError(problem, path=path, expected=expected, remedy=remedy)
    for name in names:
        if found.count(name) > 1:
            raise SourceError(
                "columns with one name",
                path=path,
                expected=f"one column {name}",
                found=str(found.count(name)),
                remedy="Make the file again.",
            )


def take_columns(path: str | os.PathLike[str], table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the columns of a table that a schema names, converted to its types.

    Raises SourceError for a value that is missing, and pa.ArrowException for other types.
    """
    columns = []
    for field in schema:
        column = table.column(field.name)
        if column.type != field.type:  # the module that casts takes long to import
            column = column.cast(field.type)
        if not field.nullable and _has_null(column):
            raise SourceError(
                f"a row without {field.name}", path=path, remedy="Make the file again."
            )
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def _has_null(column: pa.ChunkedArray) -> bool:
    """Return whether a value is missing, or one of a list of fixed size."""
    parts = [column]
    if pa.types.is_fixed_size_list(column.type):
        n = column.type.list_size  # `values` are also those before and after a slice
        parts += [chunk.values.slice(chunk.offset * n, len(chunk) * n) for chunk in column.chunks]
    return any(part.null_count for part in parts)


def describe(path: str | os.PathLike[str]) -> Contents:
    """Count rows and distinct classes, and list the columns.

    Without a column of classes, identities are counted.
    """
    with open_parquet(path) as file:
        n, columns = file.metadata.num_rows, tuple(file.schema_arrow.names)
    label = next((name for name in (*_CLASSES, _IDENTITY) if name in columns), None)
    if label is None:
        return Contents(n, None, columns)
    classes: set[Any] = set()
    with naming_errors(path):
        for table in _groups(path, [label]):
            classes.update(table.column(0).unique().to_pylist())
    if label == _IDENTITY:
        classes -= {"", None}
    return Contents(n, len(classes), columns)
