"""Tables of scores: one row a crop, Parquet.

path, identity   string  the path below the source; its folder, empty for the source itself
height, width    int32   pixels
roll, lean, yaw  double  where landmarks are known; null for crops that have none
one a measure    double
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from faceprep.core.io import parquet

_TYPES = {"path": pa.string(), "identity": pa.string(), "height": pa.int32(), "width": pa.int32()}


def write_scores(file: BinaryIO, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows with the columns `names`, of which what a row has not is null; there may be none."""
    schema = pa.schema([(name, _TYPES.get(name, pa.float64())) for name in names])
    parquet.write_tables(file, [pa.Table.from_pylist(list(rows), schema=schema)])


def join_scores(parts: Iterable[Path], file: BinaryIO) -> str:
    """Parts as one file; the SHA-256 of its bytes."""
    hashed = _Hashed(file)
    parquet.join(parts, cast(BinaryIO, hashed))
    return hashed.digest.hexdigest()


class _Hashed:
    """A file that is only written, and hashed on the way."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
