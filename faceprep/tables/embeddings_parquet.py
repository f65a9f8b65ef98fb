"""Embeddings in Parquet, in one file or in shards: the rows, the facts, the other files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceprep.core.errors import SourceError
from faceprep.core.io import parquet
from faceprep.core.io.npz import CLASSES, EMBEDDINGS, NAMES, OTHER_EMBEDDINGS
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
        for table in parquet.read_columns(shard, columns):
            identities = None
            if identity:
                identities = [str(value) for value in table.column(identity).to_pylist()]
            rows = _vectors(shard, table.column(vectors))
            yield EmbeddedRows(shard, table.column(NAMES).to_pylist(), identities, rows)


def _find_identities(path: _Path) -> str:
    """Return the column of the identities or classes; empty without one."""
    with parquet.open_parquet(path) as table:
        there = table.schema_arrow.names
    return next((name for name in ("identity", CLASSES) if name in there), "")


def _vectors(path: _Path, chunked: pa.ChunkedArray) -> npt.NDArray[Any]:
    column, n_rows = chunked.combine_chunks(), len(chunked)
    lists = pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type)
    flat = column.flatten().to_numpy(zero_copy_only=False) if lists else np.empty(0)
    if not lists or (n_rows and (flat.size % n_rows or column.null_count)):
        raise SourceError(
            "its embeddings are not vectors", path=path, expected="lists of one length"
        )
    if pa.types.is_fixed_size_list(column.type):
        n = column.type.list_size
    else:
        n = flat.size // max(n_rows, 1)
    return flat.reshape(n_rows, n)


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
