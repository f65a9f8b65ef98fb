"""A binary copy of the index of a .rec on disk, so that 17 million records need no memory.

(n, 2) little-endian int64: key, offset in bytes; key -1 marks a damaged spot
"""

from __future__ import annotations

import sys
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from faceprep.core import storage

if TYPE_CHECKING:
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
    entries = array("q")
    with storage.open_source(index) as file:
        file.seek(start * _BYTES)
        entries.frombytes(file.read() if stop is None else file.read((stop - start) * _BYTES))
    if sys.byteorder == "big":
        entries.byteswap()
    return entries


def read_in_file_order(index: Path, start: int, stop: int) -> tuple[list[int], list[int]]:
    """Read keys and offsets of the entries [start, stop), sorted by offset. Raises SourceError."""
    entries = read_entries(index, start, stop)
    keys, offsets = entries[0::2], entries[1::2]
    order = sorted(range(len(offsets)), key=offsets.__getitem__)
    return [keys[i] for i in order], [offsets[i] for i in order]
