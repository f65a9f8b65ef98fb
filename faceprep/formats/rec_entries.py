"""Our copy of a .rec's index, on disk, so that 17 million records cost no memory.

    (n, 2) little-endian int64: key, offset in bytes; key -1 marks a damaged spot

Written by `rec_index`, which needs NumPy; read here without, which spares every worker its import.
"""

from __future__ import annotations

import sys
from array import array
from pathlib import Path

from faceprep import storage

DAMAGED_KEY = -1
N_BYTES = 16
"""Of one entry."""


def read_entries(index: Path, start: int, stop: int) -> tuple[list[int], list[int]]:
    """Keys and offsets of the entries [start, stop), in the order of the offsets. Raises SourceError."""
    numbers = array("q")
    with storage.open_source(index) as file:
        file.seek(start * N_BYTES)
        numbers.frombytes(file.read((stop - start) * N_BYTES))
    if sys.byteorder == "big":
        numbers.byteswap()
    keys, offsets = numbers[0::2].tolist(), numbers[1::2].tolist()
    order = sorted(range(len(offsets)), key=offsets.__getitem__)
    return [keys[i] for i in order], [offsets[i] for i in order]
