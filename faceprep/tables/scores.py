"""Tables of scores in Parquet, one row per crop.

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
    """Write rows with the columns `names`; missing values are null, and there may be no rows."""
    schema = pa.schema([(name, _TYPES.get(name, pa.float64())) for name in names])
    parquet.write_tables(file, [pa.Table.from_pylist(list(rows), schema=schema)])


def join_scores(parts: Iterable[Path], file: BinaryIO) -> str:
    """Join parts into one file; return the SHA-256 of its bytes."""
    hashed = _Hashed(file)
    parquet.join(parts, cast(BinaryIO, hashed))
    return hashed.digest.hexdigest()


class _Hashed:
    """A write-only file that is hashed as it is written."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
