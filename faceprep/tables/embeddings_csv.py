"""Embeddings as CSV, for programs that read nothing else.

image_names, image_classes, identity, then one column for each number of the vector, e0 and so on.
NAME.csv.model.json beside it has what other files hold themselves: the model, and the folder that
the images were found in. A table of another program needs only image_names and numbered columns.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import BinaryIO, NamedTuple

import numpy as np

from faceprep.core import os_errors, storage
from faceprep.core.arrays import Floats, Reals
from faceprep.core.errors import SourceError
from faceprep.core.io.contents import Contents, count
from faceprep.core.io.csv import CsvReader, csv_line
from faceprep.core.io.json_line import parse_json
from faceprep.core.io.npz import CLASSES, NAMES
from faceprep.tables.embedded_rows import EmbeddedRows

IDENTITY = "identity"
_NUMBERED = re.compile(r"\D*([0-9]{1,9})")
_ROWS = 1 << 10
_About = Mapping[str, str]


class CsvLayout(NamedTuple):
    """The places of the columns; `identity` is that of the identity or class, -1 for none."""

    name: int
    identity: int
    first: int
    n_columns: int

    @property
    def dim(self) -> int:
        """Return the length of a vector."""
        return self.n_columns - self.first


class CsvRow(NamedTuple):
    """One row; `identity` is None where the table has none."""

    name: str
    identity: str | None
    vector: Floats


def about_path(path: str | os.PathLike[str]) -> str:
    """Return the path of the facts beside a table.

    >>> about_path("a/b.csv")
    'a/b.csv.model.json'
    """
    return f"{os.fspath(path)}.model.json"


def write_header(file: BinaryIO, dim: int) -> None:
    """Write the header line of vectors of this length."""
    names = [NAMES, CLASSES, IDENTITY, *(f"e{number}" for number in range(dim))]
    file.write(csv_line(names).encode())


def write_rows(
    file: BinaryIO,
    names: Sequence[str],
    classes: Sequence[int],
    identities: Sequence[str],
    vectors: Reals,
) -> None:
    """Write some rows; numbers are as short as they can be without a change of their value."""
    cells = vectors.astype(str)
    for row in zip(names, classes, identities, cells, strict=True):
        file.write(csv_line([*row[:3], *row[3].tolist()]).encode())


def encode_about(about: _About) -> bytes:
    """Encode the facts beside a table."""
    return json.dumps(dict(about), indent=1, sort_keys=True).encode() + b"\n"


def load_about(path: str | os.PathLike[str]) -> dict[str, str]:
    """Load the facts beside a table; empty where there are none. Raises SourceError."""
    beside = about_path(path)
    if storage.size_of(beside) is None:
        return {}
    try:
        about = parse_json(storage.read_bytes(beside))
    except ValueError as error:
        raise SourceError(f"not JSON ({error})", path=beside, remedy="Remove it.") from error
    if not isinstance(about, dict) or not all(isinstance(each, str) for each in about.values()):
        raise SourceError("not facts about embeddings", path=beside, remedy="Remove it.")
    return about


def is_such(path: str | os.PathLike[str]) -> bool:
    """Return whether a CSV holds embeddings. Raises SourceError."""
    return find_layout(path) is not None


def find_layout(path: str | os.PathLike[str]) -> CsvLayout | None:
    """Return the columns of a table of embeddings; None for another CSV. Raises SourceError."""
    header = _header(path)
    if NAMES not in header:
        return None
    _refuse_repeated(path, header)
    first = find_vectors(header)
    if first == len(header):
        return None
    known = [header.index(name) for name in (IDENTITY, CLASSES) if name in header]
    return CsvLayout(header.index(NAMES), (known or [-1])[0], first, len(header))


def _refuse_repeated(path: str | os.PathLike[str], header: Sequence[str]) -> None:
    """Raise SourceError if two columns that would be read have one name."""
    columns = Counter(header)
    for name, n in columns.items():
        if n > 1 and (name in (NAMES, CLASSES, IDENTITY) or _NUMBERED.fullmatch(name)):
            raise SourceError(
                "columns with one name",
                path=path,
                where="line 1",
                expected=f"one column {name}",
                found=str(n),
                remedy="Remove or rename the others.",
            )


def find_vectors(header: Sequence[str]) -> int:
    """Return the place of the first numbered column at the end; the length for none.

    >>> find_vectors(["path", "e0", "e1"]), find_vectors(["path", "label"])
    (1, 2)
    """
    first = len(header)
    while first and (match := _NUMBERED.fullmatch(header[first - 1])):
        if int(match[1]) != int(_number(header[-1])) - (len(header) - first):
            break
        first -= 1
    has_vectors = first < len(header) and _number(header[first]) in ("0", "1")
    return first if has_vectors else len(header)


def _header(path: str | os.PathLike[str]) -> list[str]:
    with os_errors.guard("read", path, SourceError), storage.open_source(path) as file:
        return [name.strip() for name in next(_reader(file, path), [])]


def _number(name: str) -> str:
    match = _NUMBERED.fullmatch(name)
    return match[1] if match else "-1"


def _reader(file: BinaryIO, path: str | os.PathLike[str]) -> CsvReader:
    return CsvReader(file, path, errors="strict", from_excel=True)


def count_rows(path: str | os.PathLike[str]) -> int:
    """Count the rows. Raises SourceError."""
    with os_errors.guard("read", path, SourceError), storage.open_source(path) as file:
        rows = _reader(file, path)
        next(rows, None)
        return sum(map(any, rows))


def describe(path: str | os.PathLike[str]) -> Contents:
    """Count the rows and identities, and name the columns before the vectors, up to the first
    damage.
    """
    layout = find_layout(path)
    fields = tuple(_header(path)[: layout.first]) if layout else ()
    return count((row.identity, fields) for row in read_rows(path))


def read_rows(path: str | os.PathLike[str]) -> Iterator[CsvRow]:
    """Yield the rows. Raises SourceError with the line."""
    layout = find_layout(path)
    if layout is None:
        expected = f"{NAMES} and numbered columns"
        raise SourceError("not a table of embeddings", path=path, expected=expected)
    with os_errors.guard("read", path, SourceError), storage.open_source(path) as file:
        reader = _reader(file, path)
        next(reader, None)
        for row in reader:
            if any(row):
                yield _parse(path, reader.line, row, layout)


def _parse(
    path: str | os.PathLike[str], line: int, row: Sequence[str], layout: CsvLayout
) -> CsvRow:
    where = f"line {line}"
    if len(row) != layout.n_columns:
        expected, found = f"{layout.n_columns} columns", str(len(row))
        raise SourceError("a bad row", path=path, where=where, expected=expected, found=found)
    try:
        with np.errstate(over="ignore"):  # the value is infinite then, and its row is named
            vector = np.array(row[layout.first :]).astype(np.float32)
    except ValueError as error:
        raise SourceError(f"not a number: {error}", path=path, where=where) from error
    identity = None
    if layout.identity >= 0:
        identity = row[layout.identity]
    return CsvRow(row[layout.name], identity, vector)


def read_pieces(path: str | os.PathLike[str]) -> Iterator[EmbeddedRows]:
    """Yield the rows, some at a time. Raises SourceError."""
    rows = read_rows(path)
    while block := list(islice(rows, _ROWS)):
        names, vectors = [row.name for row in block], np.stack([row.vector for row in block])
        identities = None
        if block[0].identity is not None:
            identities = [row.identity or "" for row in block]
        yield EmbeddedRows(path, names, identities, vectors)
