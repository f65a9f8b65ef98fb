"""Lists of pairs to verify, as text.

    LFW    10<TAB>300                       folds, pairs of a kind in each; or only the latter
           Abel_Pacheco<TAB>1<TAB>4         1 and 4 of one person: Abel_Pacheco/Abel_Pacheco_0001.*
           Abdel_Madi<TAB>1<TAB>Dean_Barker<TAB>1
    paths  a/1.jpg b/2.jpg 0                two images below the folder; 1: they show one person
    .csv   pair,first,second,same           the same with a header line, as `bin2folder` writes it

Tabs separate columns where a line has any, else spaces. Empty lines are skipped. Layout of LFW: http://vis-www.cs.umass.edu/lfw/README.txt
"""

from __future__ import annotations

import csv
import math
import re
from os import PathLike
from pathlib import PurePosixPath
from typing import NamedTuple

from faceprep.core import storage
from faceprep.core.errors import SourceError

_EXPECTED = "name n1 n2, name1 n1 name2 n2, or path1 path2 and 1 or 0"
_NUMBER = re.compile(r"[0-9]{1,9}")
_LABELS = {"1": True, "0": False, "True": True, "False": False}


class ListedPair(NamedTuple):
    """A pair of images as the list names them, below the image folder, with or without suffix.

    `line` from 1.
    """

    line: int
    first: str
    second: str
    same: bool


def read_pairs_list(path: str | PathLike[str]) -> list[ListedPair]:
    """Read every pair of the list, in order. Raises SourceError with the line."""
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad(path, None, "text in UTF-8", f"byte {error.start}: {error.reason}") from error
    lines = [
        (number, line.rstrip("\r"))
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    ]
    if not lines:
        raise _bad(path, None, _EXPECTED, "no lines")
    if lines[0][1].replace(" ", "") == "pair,first,second,same":
        return [_csv_pair(line, number, path) for number, line in lines[1:]]
    expected = _announced(lines[0][1])
    pairs = [_pair(line, number, path) for number, line in lines[expected is not None :]]
    if expected is not None and expected != len(pairs):
        announced = f"{expected:,} pairs, which the first line announces"
        raise _bad(path, lines[0][0], announced, f"{len(pairs):,}")
    return pairs


def _announced(line: str) -> int | None:
    """Return the number of pairs that LFW's first line announces, or None for another line."""
    fields = line.split()
    if len(fields) > 2 or not all(_NUMBER.fullmatch(field) for field in fields):
        return None
    return 2 * math.prod(map(int, fields))


def _pair(line: str, number: int, path: str | PathLike[str]) -> ListedPair:
    fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
    match fields:
        case [name, first, second] if _NUMBER.fullmatch(first) and _NUMBER.fullmatch(second):
            pair = ListedPair(number, _lfw_name(name, first), _lfw_name(name, second), True)
        case [name, first, other, second] if _NUMBER.fullmatch(first) and _NUMBER.fullmatch(second):
            pair = ListedPair(number, _lfw_name(name, first), _lfw_name(other, second), False)
        case [first_path, second_path, label] if label in _LABELS:
            pair = ListedPair(number, first_path, second_path, _LABELS[label])
        case _:
            raise _bad(path, number, _EXPECTED, repr(line[:80]))
    return _checked(pair, path)


def _csv_pair(line: str, number: int, path: str | PathLike[str]) -> ListedPair:
    try:
        fields = next(csv.reader([line]), [])
    except csv.Error:
        fields = []
    if len(fields) != 4 or fields[3] not in _LABELS:
        raise _bad(path, number, "pair,first,second,same with same 1 or 0", repr(line[:80]))
    return _checked(ListedPair(number, fields[1], fields[2], _LABELS[fields[3]]), path)


def _lfw_name(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}"


def _checked(pair: ListedPair, path: str | PathLike[str]) -> ListedPair:
    for name in (pair.first, pair.second):
        if name.startswith("/") or "\0" in name or ".." in PurePosixPath(name).parts:
            raise _bad(path, pair.line, "images below the source folder", repr(name))
    return pair


def _bad(path: str | PathLike[str], line: int | None, expected: str, found: str) -> SourceError:
    where = None if line is None else f"line {line}"
    return SourceError(
        "not a list of pairs", path=path, where=where, expected=expected, found=found
    )
