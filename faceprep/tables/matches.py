"""Tables of search results, CSV or Parquet: one row per probe and rank.

probe       string  the name of the image that was searched for
rank        int32   from 1, the closest identity
identity    string  the identity in the gallery
similarity  double  the cosine, or 1 - distance²/2, of the probe and `image`
image       string  the image of the identity that is most similar to the probe
margin      double  how much the similarity exceeds that of the next identity; empty without one
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from faceprep.core import storage
from faceprep.core.arrays import Doubles, Ints
from faceprep.core.errors import SourceError
from faceprep.core.io import parquet
from faceprep.core.io.arrow_rows import column_of
from faceprep.core.io.csv import CsvReader, csv_bytes, csv_line

SUFFIXES = (".csv", ".parquet")
COLUMNS = ("probe", "rank", "identity", "similarity", "image", "margin")
_LARGEST = 1e100
_TYPES = (pa.string(), pa.int32(), pa.string(), pa.float64(), pa.string(), pa.float64())


class Match(NamedTuple):
    """One row of the table; `margin` is None where no other identity follows."""

    probe: str
    rank: int
    identity: str
    similarity: float
    image: str
    margin: float | None


class Matches(NamedTuple):
    """The columns of some rows; a margin is NaN where there is none."""

    probes: Sequence[str]
    ranks: Ints
    identities: Sequence[str]
    similarities: Doubles
    images: Sequence[str]
    margins: Doubles

    def rows(self) -> Iterator[Match]:
        """Yield the rows."""
        margins = (None if margin != margin else margin for margin in self.margins.tolist())
        numbers = self.ranks.tolist(), self.similarities.tolist()
        columns = self.probes, numbers[0], self.identities, numbers[1], self.images, margins
        yield from map(Match, *columns)


def write_matches(file: BinaryIO, suffix: str, matches: Matches) -> None:
    """Write rows as a part of a table with this suffix, which `join_matches` joins."""
    if suffix == ".parquet":
        parquet.write_tables(file, [_table(matches)])
        return
    for row in matches.rows():
        file.write(csv_line(row).encode())


def _table(matches: Matches) -> pa.Table:
    margins = [row.margin for row in matches.rows()]
    pairs = zip((*matches[:-1], margins), _TYPES, strict=True)
    columns = [column_of(values, kind) for values, kind in pairs]
    return pa.Table.from_arrays(columns, names=list(COLUMNS))


def join_matches(parts: Iterable[Path], file: BinaryIO, suffix: str) -> None:
    """Join parts into one table."""
    if suffix == ".parquet":
        parquet.join(parts, file)
        return
    file.write(csv_bytes(COLUMNS, ()))
    for part in parts:
        storage.append_file(part, file)


def is_matches(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is such a table, by its suffix and its columns."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".parquet":
        with parquet.open_parquet(path) as table:
            return tuple(table.schema_arrow.names) == COLUMNS
    if suffix == ".csv":
        with storage.open_source(path) as file:
            return file.read(len(csv_bytes(COLUMNS, ()))) == csv_bytes(COLUMNS, ())
    return False


def read_matches(path: str | os.PathLike[str]) -> Iterator[Match]:
    """Yield the rows. Raises SourceError."""
    if os.path.splitext(path)[1].lower() == ".parquet":
        if not is_matches(path):
            expected = "the columns " + ", ".join(COLUMNS)
            raise SourceError("not a table of matches", path=path, expected=expected)
        for number, row in enumerate(parquet.read_rows(path), 1):
            yield _checked(path, f"row {number}", Match(**row))
        return
    with storage.open_source(path) as file:
        reader = CsvReader(file, path)
        next(reader, None)
        for cells in reader:
            yield _parse(path, reader.line, cells)


def _parse(path: str | os.PathLike[str], line: int, row: Sequence[str]) -> Match:
    where = f"line {line}"
    try:
        probe, rank, identity, similarity, image, margin = row
        gap = float(margin) if margin else None
        match = Match(probe, int(rank), identity, float(similarity), image, gap)
    except ValueError as error:
        raise _not_a_row(path, where, ", ".join(COLUMNS)) from error
    return _checked(path, where, match)


def _checked(path: str | os.PathLike[str], where: str, match: Match) -> Match:
    """Return a row. Raises SourceError where a value has another type, or is not finite."""
    names = match.probe, match.identity, match.image
    if not all(isinstance(name, str) for name in names):
        raise _not_a_row(path, where, "names in probe, identity and image")
    if not (isinstance(match.rank, int) and _is_similarity(match.similarity)):
        raise _not_a_row(path, where, "a whole number as rank, and a finite similarity")
    if match.margin is not None and not _is_similarity(match.margin):
        raise _not_a_row(path, where, "a finite margin, or none")
    return match


def _is_similarity(value: Any) -> bool:
    return isinstance(value, float) and abs(value) <= _LARGEST


def _not_a_row(path: str | os.PathLike[str], where: str, expected: str) -> SourceError:
    problem, remedy = "not a row of a table of matches", "Run search again."
    return SourceError(problem, path=path, where=where, expected=expected, remedy=remedy)
