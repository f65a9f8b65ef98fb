"""CSV tables, quoted as in RFC 4180: a writer and a reader, which also reads what Excel saves."""

from __future__ import annotations

import csv
import os
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import BinaryIO

from faceprep.core.errors import SourceError

_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_DELIMITERS = ";\t"
_NAMED_DELIMITER = re.compile(rb"sep=([,;\t])\r?\n")
_SAVE_AS = "Save it as “CSV UTF-8”."
_LINES = 1 << 14
_LONE_RETURN = re.compile(r"(?<=\r)(?!\n|$)")


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a CSV file with a header line. File names that are not UTF-8 keep their bytes.

    >>> csv_bytes(("class", "name"), [(0, "a,b")])
    b'class,name\\n0,"a,b"\\n'
    """
    lines = map(csv_line, chain([header], rows))
    blocks = iter(lambda: "".join(islice(lines, _LINES)), "")
    return b"".join(block.encode("utf-8", "surrogateescape") for block in blocks)


def csv_line(row: Sequence[object]) -> str:
    """Return one row, including its line end; None is an empty field.

    >>> csv_line(["a", "b,c", 1, None])
    'a,"b,c",1,\\n'
    """
    line = ",".join("" if field is None else quoted(str(field)) for field in row)
    if not line:
        line = '""' * len(row)  # an empty line would have no field at all
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

    With `from_excel`, a byte order mark is skipped, and semicolons or tabs may separate the columns
    where the first line has no comma. Iteration raises SourceError where the file is not CSV or not
    UTF-8.
    """

    def __init__(
        self,
        file: BinaryIO,
        path: str | os.PathLike[str],
        errors: str = "surrogateescape",
        from_excel: bool = False,
    ) -> None:
        self._path, self._before = path, 0
        first, delimiter = file.readline(), ","
        if from_excel:
            first = first.removeprefix(BOM_UTF8)
            delimiter = _delimiter_of(first)
            named = _NAMED_DELIMITER.fullmatch(first)
            if named:
                delimiter = named[1].decode()
                self._before, first = 1, file.readline()
        lines = chain([first], file)
        self._rows = csv.reader(_lines(lines, errors), strict=True, delimiter=delimiter)

    @property
    def line(self) -> int:
        return self._rows.line_num + self._before

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        try:
            return next(self._rows)
        except UnicodeDecodeError as error:
            raise _not_utf8(self._path, self.line + 1, error) from error
        except csv.Error as error:
            raise SourceError(
                f"not a CSV file: {error}", path=self._path, where=f"line {self.line + 1}"
            ) from error


def _delimiter_of(line: bytes) -> str:
    """Return the delimiter of a header line; the one that is most often there but for commas.

    >>> _delimiter_of(b"image_names;image_classes"), _delimiter_of(b"a,b;c"), _delimiter_of(b"a")
    (';', ',', ',')
    """
    if b"," in line:
        return ","
    found = max(_DELIMITERS, key=lambda each: line.count(each.encode()))
    return found if found.encode() in line else ","


def _not_utf8(path: str | os.PathLike[str], line: int, error: UnicodeDecodeError) -> SourceError:
    """Return the error for bytes that are not UTF-8; they are never taken for another encoding."""
    found = f"the byte 0x{error.object[error.start]:02x}, as in Windows-1252 (cp1252)"
    if error.object[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
        found = "UTF-16"
    return SourceError(
        f"not a CSV file: {error.reason}",
        path=path,
        where=f"line {line}",
        expected="utf-8",
        found=found,
        remedy=_SAVE_AS,
    )


def _lines(lines: Iterable[bytes], errors: str) -> Iterator[str]:
    """Yield the lines with their ends; a lone carriage return ends one too."""
    for line in filter(None, lines):
        text = line.decode("utf-8", errors)
        if "\r" in text:
            yield from _LONE_RETURN.split(text)
        else:
            yield text
