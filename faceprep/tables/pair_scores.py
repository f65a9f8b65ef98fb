"""Tables of the scores of verification, CSV or Parquet: one row per pair.

set         string  the name of the set
embedder    string
first       string  an image, its number in the pair (17_0), a template, or a probe
second      string  the other one, or the identity that the probe is compared with
same        bool    if both show one person; in CSV 1 or 0
similarity  double
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from faceprep.core import storage
from faceprep.core.io.arrow_rows import RowsWriter
from faceprep.core.io.csv import csv_bytes, csv_line

SUFFIXES = (".csv", ".parquet")
COLUMNS = ("set", "embedder", "first", "second", "same", "similarity")
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in COLUMNS[:4]),
        ("same", pa.bool_()),
        ("similarity", pa.float64()),
    ]
)


class ScoreRow(NamedTuple):
    """One pair."""

    set: str
    embedder: str
    first: str
    second: str
    same: bool
    similarity: float


def write_scores(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Write the table as a whole; the suffix chooses the format. Raises OutputError."""
    with storage.AtomicFile(path) as file:
        if path.suffix.lower() == ".parquet":
            with RowsWriter[ScoreRow](file, _SCHEMA) as writer:
                for row in rows:
                    writer.add(row)
            return
        file.write(csv_bytes(COLUMNS, ()))
        for row in rows:
            line = csv_line([*row[:4], int(row.same), row.similarity])
            file.write(line.encode("utf-8", "surrogateescape"))
