"""CSV tables, written and read back. Quoted as RFC 4180 has it."""

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
    """Return a CSV file with a header line. Bytes of file names that are not UTF-8 stay.

    >>> csv_bytes(("class", "name"), [(0, "a,b")])
    b'class,name\\n0,"a,b"\\n'
    """
    return "".join(map(csv_line, (header, *rows))).encode("utf-8", "surrogateescape")


def csv_line(row: Sequence[object]) -> str:
    """Return one row with the end of its line.

    >>> csv_line(["a", "b,c", 1])
    'a,"b,c",1\\n'
    """
    return (",".join(quoted(str(field)) for field in row) or '""' * len(row)) + "\n"


def quoted(field: str) -> str:
    """Return the field as it stands in a CSV file.

    The csv module leaves a lone carriage return bare, which it then cannot read.

    >>> quoted("a"), quoted("a,b")
    ('a', '"a,b"')
    """
    return '"' + field.replace('"', '""') + '"' if _NEEDS_QUOTES.search(field) else field


class CsvReader:
    """The rows of an open CSV file. `line` is the number of the last line that was read.

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
    """The lines with their ends; a lone carriage return ends one too. Leaves the file open."""
    for line in file:
        text = line.decode("utf-8", errors)
        if "\r" in text:
            yield from _LONE_RETURN.split(text)
        else:
            yield text
