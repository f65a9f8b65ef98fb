"""Headers of the usual kinds in a window of a tar file, followed from one to the next.

All blocks of the window that look like a header are read as if each was one, which costs less than
to read the true headers one after the other. The usual kinds are regular files with an octal size,
alone or after pax records that change neither their name nor their size, such as a time with a
fraction.
"""

from __future__ import annotations

import numpy as np

from faceprep.core.arrays import Ints, Octets
from faceprep.sets.tar.headers import BLOCK, MAGIC, PAX, SIZE, TYPE, is_silent, read_plain_sizes

_REGULAR = ord("0")
_MAGIC = ord("u")
LEAST = 16
"""The fewest blocks for which it pays to process all of a window at once."""


class PlainHeaders:
    """The blocks of one window, and where the next header is if a block is a header.

    `sizes` (n,) are the sizes that the blocks state, -1 where a block is not of the usual kinds. A
    window of less than `n_least` blocks is left to its reader: none is of the usual kinds.
    """

    def __init__(self, block: bytes, n_least: int = LEAST) -> None:
        rows = rows_of(block)
        n = len(rows)
        self._block = block
        self.sizes: Ints = np.full(n, -1, np.int64)
        self._types, self._following = bytes(n), list[int]()
        if n >= n_least:
            here = np.flatnonzero(rows[:, MAGIC.start] == _MAGIC)
            sizes = self.sizes[here] = read_plain_sizes(rows[:, SIZE][here])
            types, following = np.zeros(n, np.uint8), np.zeros(n, np.int64)
            types[here] = np.where(sizes >= 0, rows[here, TYPE], 0)
            following[here] = here + 1 + (sizes + BLOCK - 1) // BLOCK
            self._types, self._following = types.tobytes(), following.tolist()

    def follow(self, at: int, headers: list[int], silent: list[int]) -> int:
        """Append the headers from block `at` on to `headers`, up to one of another kind.

        The positions of pax headers go to `silent`; the member of each follows it. Return where
        the next header is, by its block.
        """
        types, following, n = self._types, self._following, len(self._types)
        add = headers.append
        while at < n:
            if types[at] == PAX:
                member = following[at]
                if member >= n or types[member] != _REGULAR:
                    break
                if not is_silent(self._block, (at + 1) * BLOCK, member * BLOCK):
                    break
                silent.append(len(headers))
            elif types[at] != _REGULAR:
                break
            add(at)
            at = following[at]
        return at


def rows_of(block: bytes) -> Octets:
    """Return the whole blocks of 512 bytes (n, 512) of a window."""
    return np.frombuffer(block, np.uint8, len(block) // BLOCK * BLOCK).reshape(-1, BLOCK)
