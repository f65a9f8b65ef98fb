"""Lists of images as text.

    .csv   image_names,image_classes,identity     a header line; quoted as RFC 4180 has it
    .lst   idx<TAB>label[<TAB>label ...]<TAB>path  im2rec's columns; nothing can be quoted
    .lst   aligned<TAB>path<TAB>label[<TAB>...]    InsightFace's columns, read only
    .txt   path label                              FaceX-Zoo's columns; the label is the last word
    .txt   path                                    paths alone

All are UTF-8 and end their lines with a newline. A byte order mark and empty lines are skipped. A
.csv may have what Excel makes of it: semicolons, or empty rows at the end. Its columns may have
other usual names, such as Path and Label.
"""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from faceprep.core import os_errors, storage
from faceprep.core.errors import SourceError
from faceprep.core.io.contents import Contents, count
from faceprep.core.io.csv import CsvReader, quoted
from faceprep.core.io.image_header import is_image_name

CSV_COLUMNS = ("image_names", "image_classes", "identity")
_CSV_NAMES = (
    (CSV_COLUMNS[0], "image_name", "image_path", "path", "file_name", "filename", "image"),
    (CSV_COLUMNS[1], "image_class", "class_id", "label", "class"),
    CSV_COLUMNS[2:],
)
"""Names that each column may have, in lower case; the first one that is there counts."""
CALL_IT_IDENTITY = f"If the column holds names, call it {CSV_COLUMNS[2]}."
NOT_IN_LST = re.compile(r"[\t\n\r]|^\s|\s$")
"""What would break a line or a column of an .lst file, or what im2rec strips from a path."""
NOT_IN_TXT = re.compile(r"[\n\r]|^\s|\s$")
"""What would break a line of a .txt list, or what readers strip from it."""
_LONGEST_LINE = 1 << 16
_LONGEST_NUMBER = 64
_NUMBER = re.compile(
    r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|[-+]?(?:nan|inf)", re.IGNORECASE | re.ASCII
)
EXACT = 1 << 53
"""From here on, floats no longer tell neighbouring whole numbers apart."""
MOST_DIGITS = 62
"""Digits of a whole number that is exact as a label."""
_TOO_LARGE = 10**MOST_DIGITS
_INTEGER = re.compile(rf"[-+]?[0-9]{{1,{MOST_DIGITS}}}", re.ASCII)


class ListedImage(NamedTuple):
    """A line of a list.

    `label` is None and `identity` is empty where the list has none. `more` are the labels after the
    first.
    """

    name: str
    label: int | float | None
    identity: str = ""
    more: tuple[int | float, ...] = ()


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
    return b"".join(lst_line(number, name, label) for number, (name, label) in rows)


def lst_line(number: int, name: str, label: int | str, more: Iterable[float] = ()) -> bytes:
    """Encode a line of an im2rec list; `more` are the labels after the first.

    >>> lst_line(3, "a b/1.jpg", 7, [0.5, 2.0])
    b'3\\t7\\t0.5\\t2.0\\ta b/1.jpg\\n'
    """
    labels = "\t".join(map(str, (label, *more)))
    return f"{number}\t{labels}\t{name}\n".encode()


def txt_lines(names: Iterable[str], classes: Iterable[int] | None = None) -> bytes:
    """Encode the lines of a list of paths, each with its class unless there are none.

    >>> txt_lines(["a b/1.jpg"], [7]), txt_lines(["a b/1.jpg"])
    (b'a b/1.jpg 7\\n', b'a b/1.jpg\\n')
    """
    if classes is None:
        return "".join(f"{name}\n" for name in names).encode()
    rows = zip(names, classes, strict=True)
    return "".join(f"{name} {label}\n" for name, label in rows).encode()


# Reading


def read_csv(path: str | os.PathLike[str]) -> Iterator[ListedImage]:
    """Yield the rows of a .csv manifest. Raises SourceError with the line."""
    with os_errors.guard("read", path, SourceError), storage.open_source(path) as file:
        rows = CsvReader(file, path, errors="strict", from_excel=True)
        header = next(rows, [])
        places = find_columns(header)
        if not places:
            raise _bad_line(
                path, 1, "columns " + ", ".join(CSV_COLUMNS), ", ".join(header) or "nothing"
            )
        for row in rows:
            if any(row):
                yield _listed(path, rows.line, row, len(header), places)


def find_columns(header: Sequence[str]) -> list[int]:
    """Return the places of the name, the class and the identity in a .csv, -1 for none.

    Empty without a name, or without both a class and an identity. A list of ours, whose names are
    `image_names`, has a class.

    >>> find_columns(["Label", " Path"]), find_columns(["path", "identity"]), find_columns(["path"])
    ([1, 0, -1], [0, -1, 1], [])
    """
    there = [name.strip().lower() for name in header]
    found = [[there.index(name) for name in names if name in there] for names in _CSV_NAMES]
    places = [(each or [-1])[0] for each in found]
    needed = places[1:2] if CSV_COLUMNS[0] in there else places[1:]
    is_list = places[0] >= 0 and max(needed) >= 0
    return places if is_list else []


def read_csv_columns(path: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
    """Return the names of the columns of a .csv list: those that are read, and the others.

    Raises SourceError.
    """
    with os_errors.guard("read", path, SourceError), storage.open_source(path) as file:
        header = next(CsvReader(file, path, errors="strict", from_excel=True), [])
    read = [place for place in find_columns(header) if place >= 0]
    others = [name for place, name in enumerate(header) if name and place not in read]
    return [header[place] for place in read], others


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
    number = parse_label(row[label].strip()) if label >= 0 else None
    if number is None and label >= 0:
        problem = _bad_line(path, line, "a class number", repr(row[label][:80]))
        problem.add_remedy(CALL_IT_IDENTITY)
        raise problem
    if identity < 0:
        return ListedImage(row[name], number)
    return ListedImage(row[name], number, row[identity])


def read_lst(path: str | os.PathLike[str]) -> Iterator[ListedImage]:
    """Yield the lines of an .lst file of either kind. Raises SourceError with the line."""
    for number, line in _read_lines(path):
        row = _parse_lst(line.split("\t"))
        if row is None:
            raise _bad_line(path, number, "idx, label, path between tabs", repr(line[:80]))
        yield row


def _parse_lst(columns: Sequence[str]) -> ListedImage | None:
    """Return the image of a line of an .lst file of either kind, None where it is of neither."""
    if len(columns) < 3:
        return None
    label, name, others = parse_label(columns[1]), columns[-1], columns[2:-1]
    if label is None:
        label, name, others = parse_label(columns[2]), columns[1], columns[3:]
    if label is None:
        return None
    if not others:
        return ListedImage(name, label)
    more = [number for number in map(parse_label, others) if number is not None]
    if len(more) < len(others):
        return None
    return ListedImage(name, label, more=tuple(map(as_value, more)))


def as_value(number: int | float) -> int | float:
    """Convert a further label to a float, or keep a whole number that is not exact as one.

    >>> as_value(7), as_value((1 << 53) + 1)
    (7.0, 9007199254740993)
    """
    value = float(number)
    return value if value == number or abs(number) >= _TOO_LARGE else number


def read_txt(path: str | os.PathLike[str]) -> Iterator[ListedImage]:
    """Yield the lines of a .txt list; the first one shows whether there are labels.

    Raises SourceError with the line.
    """
    has_labels: bool | None = None
    for number, line in _read_lines(path):
        name, label = split_label(line)
        if has_labels is None:
            has_labels = label is not None
        if has_labels and label is None:
            raise _bad_line(path, number, "path and label, as in the first line", repr(line[:80]))
        if has_labels:
            yield ListedImage(name, label)
        elif label is not None and is_image_name(name):
            raise _bad_line(path, number, "a path alone, as in the first line", repr(line[:80]))
        else:
            yield ListedImage(line, None)


def split_label(line: str) -> tuple[str, int | float | None]:
    """Split a line of a .txt list into path and label; None where it ends in no label.

    >>> split_label("a b/1.jpg 7"), split_label("a b/1.jpg"), split_label("7")
    (('a b/1.jpg', 7), ('a b/1.jpg', None), ('7', None))
    """
    words = line.rsplit(maxsplit=1)
    label = parse_label(words[1]) if len(words) == 2 else None
    if label is None:
        return line, None
    return words[0], label


def _read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text without its end) of each line that is not empty."""
    with os_errors.guard("read", path, SourceError), storage.open_source(path) as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            if number == 1:
                line = line.removeprefix(BOM_UTF8)
            if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                found = "a longer line"
                raise _bad_line(path, number, f"at most {_LONGEST_LINE:,} bytes", found)
            try:
                text = line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise _bad_line(path, number, "UTF-8", str(error)) from error
            if text.strip(" \t"):
                yield number, text


def parse_label(text: str) -> int | float | None:
    """Parse a label; return None for a string that is not a number, and for one that is too long.

    A large whole number is exact, with or without a point: IDs of people may have 19 digits.

    >>> parse_label("12345678901234567890"), parse_label("0.5"), parse_label("x")
    (12345678901234567890, 0.5, None)
    """
    if _INTEGER.fullmatch(text):
        return int(text)
    if len(text) >= _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    whole, _, rest = text.partition(".")
    if abs(number) >= EXACT and _INTEGER.fullmatch(whole) and not rest.strip("0"):
        return int(whole)
    return number


def _bad_line(path: str | os.PathLike[str], line: int, expected: str, found: str) -> SourceError:
    return SourceError("bad line", path=path, where=f"line {line}", expected=expected, found=found)


def describe_csv(path: str | os.PathLike[str]) -> Contents:
    """Count the rows and classes and name the columns, up to the first damage."""
    fields = tuple(read_csv_columns(path)[0])
    rows = (row.identity if row.label is None else row.label for row in read_csv(path))
    return count((label, fields) for label in rows)


def describe_lst(path: str | os.PathLike[str]) -> Contents:
    """Count the lines and labels, up to the first damage."""
    return count((row.label, ("label", "path")) for row in read_lst(path))
