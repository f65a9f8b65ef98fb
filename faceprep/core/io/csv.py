"""CSV tables, quoted as in RFC 4180: a writer and a reader."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from faceprep.core.errors import SourceError

_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_LONE_RETURN = re.compile(r"(?<=\r)(?!\n|$)")


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a CSV file with a header line. File names that are not UTF-8 keep their bytes.

    >>> csv_bytes(("class", "name"), [(0, "a,b")])
    b'class,name\\n0,"a,b"\\n'
    """
    return "".join(map(csv_line, (header, *rows))).encode("utf-8", "surrogateescape")


def csv_line(row: Sequence[object]) -> str:
    """Return one row, including its line end.

    >>> csv_line(["a", "b,c", 1])
    'a,"b,c",1\\n'
    """
    line = ",".join(quoted(str(field)) for field in row)
    if not line:
        line = '""' * len(row)  # an empty line would hold no field
    return line + "\n"


def quoted(field: str) -> str:
    """Quote a field of a CSV file where needed.

    Unlike the csv module, it quotes a lone carriage return, which that module could not read back.

    >>> quoted("a"), quoted("a,b")
    ('a', '"a,b"')
    """
    if not _NEEDS_QUOTES.search(field):
        return field
    return '"' + field.replace('"', '""') + '"'


class CsvReader:
    """An iterator over the rows of an open CSV file; `line` is the number of the last line read.

    Iteration raises SourceError where the file is not CSV or not UTF-8.
    """

    def __init__(
        self, file: BinaryIO, path: str | os.PathLike[str], errors: str = "surrogateescape"
    ) -> None:
        self._path = path
        self._rows = csv.reader(_lines(file, errors), strict=True)

    @property
    def line(self) -> int:
        return self._rows.line_num

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        try:
            return next(self._rows)
        except (csv.Error, UnicodeDecodeError) as error:
            raise SourceError(
                f"not a CSV file: {error}", path=self._path, where=f"line {self.line + 1}"
            ) from error


def _lines(file: BinaryIO, errors: str) -> Iterator[str]:
    """Yield the lines with their ends; a lone carriage return ends one too. Leave the file open."""
    for line in file:
        text = line.decode("utf-8", errors)
        if "\r" in text:
            yield from _LONE_RETURN.split(text)
        else:
            yield text
