"""A binary copy of the index of a .rec on disk, so that 17 million records need no memory.

(n, 2) little-endian int64: key, offset in bytes; key -1 marks a damaged spot
"""

from __future__ import annotations

import sys
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from faceprep.core import storage
from faceprep.core.paths import exists

if TYPE_CHECKING:
    import numpy.typing as npt

    Entries = array[int]
    """Key, offset, key, offset, …: 64-bit numbers."""

DAMAGED_KEY = -1
_BYTES = 16


def as_bytes(entries: Entries) -> bytes:
    """Encode entries as they lie on disk.

    >>> as_bytes(array("q", [1, 256])).hex(" ", 8)
    '0100000000000000 0001000000000000'
    """
    if sys.byteorder == "big":
        entries = entries[:]
        entries.byteswap()
    return entries.tobytes()


def read_entries(index: Path, start: int = 0, stop: int | None = None) -> Entries:
    """Read the entries [start, stop) in index order. Raises SourceError."""
    n_bytes = -1 if stop is None else (stop - start) * _BYTES
    return _read_numbers(index, start * _BYTES, n_bytes)


def _read_numbers(path: Path, offset: int, n_bytes: int) -> array[int]:
    """Read the numbers in `n_bytes` bytes of a file from `offset`; -1 reads to its end."""
    numbers = array("q")
    with storage.open_source(path) as file:
        file.seek(offset)
        numbers.frombytes(file.read(n_bytes))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


class FileOrder(NamedTuple):
    """Keys and offsets of entries, sorted by offset.

    `following` are the next larger offsets of the whole index, for the last entry its own.
    """

    keys: list[int]
    offsets: list[int]
    following: list[int]


def read_in_file_order(index: Path, start: int, stop: int) -> FileOrder:
    """Read the entries [start, stop), sorted by offset. Raises SourceError."""
    entries = read_entries(index, start, stop + 1)
    n = min(len(entries) // 2, stop - start)
    keys, offsets = entries[0 : 2 * n : 2], entries[1 : 2 * n : 2]
    if exists(_following_of(index)):
        following = _read_numbers(_following_of(index), 8 * start, 8 * n)
    else:
        following = entries[3::2] + offsets[len(entries) // 2 - 1 :]
    order = sorted(range(n), key=offsets.__getitem__)
    return FileOrder(*([column[i] for i in order] for column in (keys, offsets, following)))


def write_following(index: Path, offsets: npt.NDArray[Any] | None) -> None:
    """Note the next larger offset of each entry beside the index; None if offsets ascend."""
    if offsets is None:
        storage.remove_file(_following_of(index))
        return
    order = offsets.argsort(kind="stable")
    following = offsets.copy()
    following[order[:-1]] = offsets[order[1:]]
    storage.write_file(_following_of(index), following.astype("<i8").tobytes(), durable=False)


def _following_of(index: Path) -> Path:
    return index.with_name(f"{index.name}.following")
