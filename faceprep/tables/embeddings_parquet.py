"""Embeddings in Parquet, in one file or in shards: the rows, the facts, the other files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from faceprep.core.arrays import Reals
from faceprep.core.errors import SourceError
from faceprep.core.io import parquet
from faceprep.core.io.npz import CLASSES, EMBEDDINGS, NAMES, OTHER_EMBEDDINGS
from faceprep.core.text import as_name, as_text
from faceprep.tables.embedded_rows import EmbeddedRows

_SHARD = re.compile(
    r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<n>\d{5})(?P<suffix>\.parquet)", re.DOTALL
)
_Path = str | os.PathLike[str]


def is_such(path: _Path) -> bool:
    """Return whether a Parquet file holds embeddings. Raises SourceError."""
    return find_vectors(path) is not None


def find_vectors(path: _Path) -> str | None:
    """Return the name of the column with the vectors; None without one. Raises SourceError."""
    with parquet.open_parquet(path) as table:
        there = table.schema_arrow.names
    return next((name for name in (EMBEDDINGS, OTHER_EMBEDDINGS) if name in there), None)


def load_about(path: _Path) -> dict[str, str]:
    """Load the facts in the metadata of the schema. Raises SourceError."""
    with parquet.open_parquet(path) as table:
        metadata = table.schema_arrow.metadata or {}
    return {_text(key): _text(value) for key, value in metadata.items()}


def _text(metadata: bytes) -> str:
    """Return what another program may have written as text; escape what is not UTF-8."""
    return metadata.decode("utf-8", "backslashreplace")


def count_rows(path: _Path) -> int:
    """Count the rows of all files of the set. Raises SourceError for files of different runs."""
    about, n = load_about(path), 0
    for shard in files_of(path):
        if load_about(shard) != about:
            raise SourceError(
                "from another run than the files beside it",
                path=shard,
                remedy="Make the files again.",
            )
        with parquet.open_parquet(shard) as file:
            n += file.metadata.num_rows
    return n


def read_pieces(path: _Path) -> Iterator[EmbeddedRows]:
    """Yield the rows of all files of the set, some at a time. Raises SourceError."""
    for shard in files_of(path):
        vectors = find_vectors(shard) or EMBEDDINGS
        identity = _find_identities(shard)
        columns = [name for name in (NAMES, vectors, identity) if name]
        n = 0
        for table in parquet.read_columns(shard, columns):
            identities = None
            if identity:
                identities = list(map(as_name, table.column(identity).to_pylist()))
            names = take_names(shard, table.column(NAMES), n)
            n += len(names)
            yield EmbeddedRows(shard, names, identities, take_vectors(shard, table.column(vectors)))


def take_names(path: _Path, column: pa.Array | pa.ChunkedArray, start: int) -> list[str]:
    """Return the names of images in a column, whose first row is row `start` of the file.

    Raises SourceError for a value that is not a name.
    """
    names: list[str] = []
    for row, value in enumerate(column.to_pylist(), start):
        name = as_text(value)
        if name is None:
            raise SourceError(
                "bad row",
                path=path,
                where=f"row {row} (counted from 0)",
                expected="the name of an image",
                found=repr(value)[:80],
            )
        names.append(name)
    return names


def _find_identities(path: _Path) -> str:
    """Return the column of the identities or classes; empty without one."""
    with parquet.open_parquet(path) as table:
        there = table.schema_arrow.names
    return next((name for name in ("identity", CLASSES) if name in there), "")


def take_vectors(path: _Path, column: pa.Array | pa.ChunkedArray) -> Reals:
    """Return the vectors (n, d) of a column of lists. Raises SourceError for any other column."""
    kind, types = column.type, pa.types
    tests = (types.is_fixed_size_list, types.is_list, types.is_large_list)
    are_lists = any(test(kind) for test in tests) and types.is_floating(kind.value_type)
    if not are_lists or column.null_count:
        raise _not_vectors(path, str(kind))
    if types.is_fixed_size_list(kind):
        lengths = [kind.list_size]
    else:
        lengths = pc.unique(pc.list_value_length(column)).to_pylist() or [0]
    if len(lengths) > 1:
        raise _not_vectors(path, f"lists of {lengths[0]} and {lengths[1]} numbers")
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    flat: Reals = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), lengths[0])


def _not_vectors(path: _Path, found: str) -> SourceError:
    return SourceError(
        "its embeddings are not vectors",
        path=path,
        expected="lists of one length of float32 or float16",
        found=found,
    )


def files_of(path: _Path) -> list[Path]:
    """List all files of the set that `path` belongs to.

    >>> [str(file) for file in files_of("a-00001-of-00002.parquet")]
    ['a-00000-of-00002.parquet', 'a-00001-of-00002.parquet']
    """
    match = _SHARD.fullmatch(os.fspath(path))
    if not match:
        return [Path(path)]
    n = int(match["n"])
    return [
        Path(f"{match['name']}-{number:05d}-of-{n:05d}{match['suffix']}") for number in range(n)
    ]
