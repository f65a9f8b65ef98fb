"""Lists of images as text.

    .csv   image_names,image_classes,identity     a header line; quoted as RFC 4180 has it
    .lst   idx<TAB>label[<TAB>label ...]<TAB>path  im2rec's columns; nothing can be quoted
    .lst   aligned<TAB>path<TAB>label[<TAB>...]    InsightFace's columns, read only

All are UTF-8 and end their lines with a newline.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.contents import Contents, count
from faceprep.core.io.csv import CsvReader, quoted

CSV_COLUMNS = ("image_names", "image_classes", "identity")
NOT_IN_LST = re.compile(r"[\t\n\r]|^\s|\s$")
"""What would break a line or a column of an .lst file, or what im2rec strips from a path."""


class ListedImage(NamedTuple):
    """A line of a list; `identity` is empty where the list has none."""

    name: str
    label: int | float
    identity: str = ""


def csv_header() -> bytes:
    """Return the header line of a .csv list."""
    return (",".join(CSV_COLUMNS) + "\n").encode()


def csv_lines(names: Iterable[str], classes: Iterable[int], identities: Iterable[str]) -> bytes:
    """Encode the rows of a .csv list.

    >>> csv_lines(["a, b/1.jpg"], [0], ["a, b"])
    b'"a, b/1.jpg",0,"a, b"\\n'
    """
    rows = zip(names, classes, identities, strict=True)
    return "".join(
        f"{quoted(name)},{label},{quoted(identity)}\n" for name, label, identity in rows
    ).encode()


def lst_lines(names: Iterable[str], classes: Iterable[int], start: int = 0) -> bytes:
    """Encode the lines of an im2rec list, numbered from `start`.

    >>> lst_lines(["a b/1.jpg"], [7], start=3)
    b'3\\t7\\ta b/1.jpg\\n'
    """
    rows = enumerate(zip(names, classes, strict=True), start)
    return "".join(f"{number}\t{label}\t{name}\n" for number, (name, label) in rows).encode()


# Reading


def read_csv(path: str | os.PathLike[str]) -> Iterator[ListedImage]:
    """Yield the rows of a .csv manifest. Raises SourceError with the line."""
    with storage.guard("read", path, SourceError), storage.open_source(path) as file:
        rows = CsvReader(file, path, errors="strict")
        header = next(rows, [])
        missing = [name for name in CSV_COLUMNS[:2] if name not in header]
        if missing:
            raise _bad_line(
                path, 1, "columns " + ", ".join(CSV_COLUMNS), ", ".join(header) or "nothing"
            )
        places = [header.index(name) if name in header else -1 for name in CSV_COLUMNS]
        for row in rows:
            yield _listed(path, rows.line, row, len(header), places)


def _listed(
    path: str | os.PathLike[str],
    line: int,
    row: Sequence[str],
    n_columns: int,
    places: Sequence[int],
) -> ListedImage:
    name, label, identity = places
    if len(row) != n_columns:
        raise _bad_line(path, line, f"{n_columns} columns", str(len(row)))
    if not _is_int(row[label]):
        raise _bad_line(path, line, "a class number", repr(row[label]))
    return ListedImage(row[name], int(row[label]), row[identity] if identity >= 0 else "")


def read_lst(path: str | os.PathLike[str]) -> Iterator[ListedImage]:
    """Yield the lines of an .lst file of either kind, with their first label.

    Raises SourceError with the line.
    """
    with storage.guard("read", path, SourceError), storage.open_source(path) as file:
        for number, line in enumerate(file, 1):
            try:
                columns = line.decode("utf-8").rstrip("\r\n").split("\t")
            except UnicodeDecodeError as error:
                raise _bad_line(path, number, "UTF-8", str(error)) from error
            if len(columns) >= 3 and _is_number(columns[1]):
                label, name = columns[1], columns[-1]
            elif len(columns) >= 3 and _is_number(columns[2]):
                label, name = columns[2], columns[1]
            else:
                raise _bad_line(
                    path, number, "idx, label, path between tabs", repr("\t".join(columns)[:80])
                )
            yield ListedImage(name, int(label) if _is_int(label) else float(label))


def _is_int(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _bad_line(path: str | os.PathLike[str], line: int, expected: str, found: str) -> SourceError:
    return SourceError("bad line", path=path, where=f"line {line}", expected=expected, found=found)


def describe_csv(path: str | os.PathLike[str]) -> Contents:
    """Count the rows and classes and name the columns, up to the first damage."""
    return count(
        "csv",
        ((row.label, CSV_COLUMNS if row.identity else CSV_COLUMNS[:2]) for row in read_csv(path)),
    )


def describe_lst(path: str | os.PathLike[str]) -> Contents:
    """Count the lines and labels, up to the first damage."""
    return count("lst", ((row.label, ("label", "path")) for row in read_lst(path)))
