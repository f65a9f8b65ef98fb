"""Columns of strings that need little memory: UTF-8 one after the other, and where each one ends.

A named column is two files, NAME.text and NAME.ends, (n,) int64 little-endian. A packed one lies in
files that have lost their name.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import eq
from typing import BinaryIO, overload

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Ints, Numbers, Octets
from faceprep.core.scratch import scratch_folder
from faceprep.core.staged_file import StagedFile

_BLOCK = 1 << 14
_PACKED = "texts"


class Column(Sequence[str]):
    """A sequence of strings, each made when it is read; it equals a list of the same strings."""

    @abstractmethod
    def read(self, start: int, stop: int) -> list[str]:
        """Return the strings [start, stop)."""

    @abstractmethod
    def read_one(self, at: int) -> str:
        """Return the text at `at`, which is not negative."""

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            taken = range(len(self))[at]
            if not taken:
                return []
            first = min(taken[0], taken[-1])
            block = self.read(first, max(taken[0], taken[-1]) + 1)
            return block[:: taken.step]
        n = len(self)
        if not -n <= at < n:
            raise IndexError(at)
        return self.read_one(at % n)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BLOCK):
            yield from self.read(start, min(start + _BLOCK, len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]


class StringColumn(Column):
    """Strings that are given as bytes (m,) and the end of each string (n,)."""

    def __init__(self, text: Octets, ends: Ints) -> None:
        self._text, self._ends, self._bytes = text, ends, text.data

    def __len__(self) -> int:
        return len(self._ends)

    def read(self, start: int, stop: int) -> list[str]:
        first = self._ends.item(start - 1) if start else 0
        ends = self._ends[start:stop].tolist()
        last = ends[-1] if ends else first
        block = self._text[first:last].tobytes()
        edges = [0, *(end - first for end in ends)]
        return [
            block[begin:end].decode("utf-8", "surrogateescape")
            for begin, end in zip(edges, edges[1:], strict=False)
        ]

    def read_one(self, at: int) -> str:
        first = self._ends.item(at - 1) if at else 0
        return str(self._bytes[first : self._ends.item(at)], "utf-8", "surrogateescape")


class DictionaryColumn(Column):
    """A dictionary-encoded column: numbers (n,) of `names`.

    >>> list(DictionaryColumn(["a", "b"], np.array([1, 1, 0])))
    ['b', 'b', 'a']
    """

    def __init__(self, names: Sequence[str], numbers: Numbers) -> None:
        self.names, self.numbers = names, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, start: int, stop: int) -> list[str]:
        return [self.names[number] for number in self.numbers[start:stop].tolist()]

    def read_one(self, at: int) -> str:
        number: int = self.numbers.item(at)
        return self.names[number]


class DictionaryEncoder:
    """A dictionary encoder: it numbers strings in the order of their first appearance."""

    def __init__(self) -> None:
        self._number_of: dict[str, int] = {}
        self._numbers = array("i")

    def add(self, texts: Iterable[str]) -> None:
        """Append some strings."""
        number_of = self._number_of
        self._numbers.extend(number_of.setdefault(text, len(number_of)) for text in texts)

    def column(self) -> DictionaryColumn:
        """Return all strings."""
        return DictionaryColumn(list(self._number_of), np.array(self._numbers, np.int32))


class StringWriter:
    """Writes a column to two open files, some strings at a time."""

    def __init__(self, text: BinaryIO, ends: BinaryIO) -> None:
        self._text, self._ends = text, ends
        self._end = 0

    def add(self, texts: Iterable[str]) -> None:
        """Append strings."""
        waiting = (text.encode("utf-8", "surrogateescape") for text in texts)
        while encoded := list(islice(waiting, _BLOCK)):
            self._add_encoded(encoded)

    def _add_encoded(self, encoded: Sequence[bytes]) -> None:
        ends = np.cumsum([self._end, *map(len, encoded)], dtype="<i8")[1:]
        self._text.write(b"".join(encoded))
        self._ends.write(ends.tobytes())
        self._end = int(ends[-1])

    def close(self) -> None:
        """Close the files."""
        self._text.close()
        self._ends.close()


def open_strings(path: str | os.PathLike[str]) -> StringColumn:
    """Map the column NAME at `path`."""
    return StringColumn(
        map_numbers(f"{os.fspath(path)}.text", "u1"), map_numbers(f"{os.fspath(path)}.ends", "<i8")
    )


def create_strings(path: str | os.PathLike[str]) -> StringWriter:
    """Create the column NAME at `path`; it appears when the writer is closed."""
    text, ends = (
        StagedFile(name, name, durable=False)
        for name in (f"{os.fspath(path)}.text", f"{os.fspath(path)}.ends")
    )
    return StringWriter(text, ends)


def save_strings(path: str | os.PathLike[str], texts: Sequence[str]) -> None:
    """Write strings as the column NAME at `path`."""
    writer = create_strings(path)
    writer.add(texts)
    writer.close()


def pack_strings(texts: Iterable[str]) -> StringColumn:
    """Write strings to temporary files, and return them as one column.

    >>> list(pack_strings(["a", "ü"]))
    ['a', 'ü']
    """
    waiting = iter(texts)
    with scratch_folder() as folder:
        writer = create_strings(folder / _PACKED)
        while block := list(islice(waiting, _BLOCK)):
            writer.add(block)
        writer.close()
        return open_strings(folder / _PACKED)


def encode_strings(texts: Iterable[str]) -> DictionaryColumn:
    """Return strings as a dictionary-encoded column.

    >>> encode_strings(["b", "a", "b"]).names
    ['b', 'a']
    """
    encoder = DictionaryEncoder()
    encoder.add(texts)
    return encoder.column()


def find_missing(texts: Iterable[str], others: Sequence[str]) -> Iterator[str]:
    """Yield the strings that are not among `others`.

    Strings are compared by hashes of 64 bits, in 8 bytes each: of 40 million, two different ones
    are equal with a probability of 1 in 20,000.

    >>> list(find_missing(["a", "b"], ["b", "c"]))
    ['a']
    """
    known = np.sort(np.fromiter(map(hash, others), np.int64, len(others)))
    waiting = iter(texts)
    while block := list(islice(waiting, _BLOCK)):
        hashes = np.fromiter(map(hash, block), np.int64, len(block))
        at = np.searchsorted(known, hashes)
        is_known = np.zeros(len(block), bool)
        within = at < len(known)
        is_known[within] = known[at[within]] == hashes[within]
        yield from (block[row] for row in np.flatnonzero(~is_known).tolist())


def map_numbers(path: str | os.PathLike[str], dtype: npt.DTypeLike) -> Numbers:
    """Map the numbers in a file."""
    if not storage.size_of(path):
        return np.zeros(0, dtype)
    return np.asarray(np.memmap(path, dtype, "r"))  # slicing a memmap takes three times as long
