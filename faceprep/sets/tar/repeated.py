"""Keys that occur more than once in a set of any size, found by their checksums.

A key has 64 bits: CRC-32 and CRC-32C. Sums wait on the disk and are compared in passes of a few
million. Two keys that have one sum by chance count as repeated, which does no harm: they only get
another name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import google_crc32c
import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Hashes, Ints
from faceprep.core.staged_file import StagedFile

_SUMS, _REPEATED = "key_sums", "repeated"
_PASS = 1 << 21
_crc32c: Callable[[bytes], int] = google_crc32c.value
_extend: Callable[[int, bytes], int] = google_crc32c.extend


class Repeats(NamedTuple):
    """Number of keys that occurred before in the same file, and whether files share keys.

    A repeated key with `separator` and its position at the end is the key of no other image.
    """

    n_repeated: int
    across_files: bool
    separator: str


class KeySums:
    """Collects the keys of all files of a set, then finds the repeated ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _SUMS
        self._file = StagedFile(str(self._path), str(self._path), durable=False)
        self._starts: list[int] = []
        self._n = 0

    def begin_file(self) -> None:
        """Begin the next file of the set."""
        self._starts.append(self._n)

    def add(self, keys: Sequence[str]) -> None:
        """Add keys of the present file."""
        encoded = [key.encode("utf-8", "surrogateescape") for key in keys]
        sums = np.empty((len(keys), 2), "<u4")
        sums[:, 0], sums[:, 1] = list(map(crc32, encoded)), list(map(_crc32c, encoded))
        self._file.write(sums.tobytes())
        self._n += len(keys)

    def close(self) -> Repeats:
        """Write the positions of keys that occurred before in their file."""
        self._file.close()
        across, found = False, [np.zeros(0, np.int64)]
        n_passes = -(-self._n // _PASS)
        for number in range(n_passes):
            positions, in_other_file = self._compare(number, n_passes)
            found.append(positions)
            across = across or in_other_file
        repeated = np.sort(np.concatenate(found))
        separator = "_"
        while self._is_taken(repeated, separator):
            separator += "_"
        storage.remove_file(self._path)
        path = self._folder / _REPEATED
        storage.write_file(path, repeated.astype("<i8").tobytes(), durable=False)
        return Repeats(len(repeated), across, separator)

    def _is_taken(self, repeated: Ints, separator: str) -> bool:
        """Return whether a repeated key with its position at the end is a key, by their sums."""
        renamed = self._sums_with_position(repeated, separator)
        return any(np.isin(renamed, block).any() for _, block in self._blocks() if renamed.size)

    def _sums_with_position(self, repeated: Ints, separator: str) -> Hashes:
        if not repeated.size:
            return np.zeros(0, np.uint64)
        before = np.memmap(self._path, "<u4", "r").reshape(-1, 2)[repeated].tolist()
        sums = np.empty((len(before), 2), "<u4")
        for i, ((first, second), position) in enumerate(
            zip(before, repeated.tolist(), strict=True)
        ):
            end = f"{separator}{position}".encode()
            sums[i] = crc32(end, first), _extend(second, end)
        return sums.view("<u8").reshape(-1)

    def _blocks(self) -> Iterator[tuple[int, Hashes]]:
        """Yield the sums of some keys after the other, with the position of the first."""
        for start in range(0, self._n, _PASS):
            yield start, np.fromfile(self._path, "<u8", _PASS, offset=8 * start)

    def _compare(self, number: int, n_passes: int) -> tuple[Ints, bool]:
        """Compare the sums that leave the remainder `number`."""
        sums, positions = [], []
        for start, block in self._blocks():
            here = np.flatnonzero(block % np.uint64(n_passes) == number)
            sums.append(block[here])
            positions.append(here + start)
        order = np.argsort(np.concatenate(sums), kind="stable")
        ordered, places = np.concatenate(sums)[order], np.concatenate(positions)[order]
        files = np.searchsorted(self._starts, places, "right")
        same = ordered[1:] == ordered[:-1]
        in_file = same & (files[1:] == files[:-1])
        return places[1:][in_file], bool((same & ~in_file).any())


def read_repeated(folder: str | os.PathLike[str]) -> Ints:
    """Map the positions that `KeySums.close` wrote, in order."""
    path = Path(folder) / _REPEATED
    if not storage.size_of(path):
        return np.zeros(0, np.int64)
    return np.memmap(path, "<i8", "r").view(np.ndarray)
