"""Headers of the usual kinds in a window of a tar file, followed from one to the next.

All blocks of the window that look like a header are read as if each were one, which costs less than
reading the true headers one after the other. The usual kinds are regular files with an octal size,
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
    """The blocks of one window that look like headers, and where the next header is if one is.

    `sizes` (n,) are the sizes that the blocks state, -1 where a block is not of the usual kinds. A
    window of less than `n_least` blocks is left to its reader: none is of the usual kinds.
    """

    def __init__(self, block: bytes, n_least: int = LEAST) -> None:
        rows = rows_of(block)
        n = len(rows)
        self._n = n if n >= n_least else 0
        here = np.flatnonzero(rows[: self._n, MAGIC.start] == _MAGIC)
        sizes = read_plain_sizes(rows[:, SIZE][here])
        self.sizes: Ints = np.full(n, -1, np.int64)
        self.sizes[here] = sizes
        kinds = np.where(sizes >= 0, rows[here, TYPE], 0)
        self._here, self._next = here, here + 1 + (sizes + BLOCK - 1) // BLOCK
        is_linked = np.append(self._next[:-1] == here[1:], False)[: len(here)]
        self._is_usual, self._is_pax = kinds == _REGULAR, kinds == PAX
        has_member = is_linked & np.append(self._is_usual[1:], False)[: len(here)]
        pax = np.flatnonzero(self._is_pax & has_member)
        records = ((here[pax] + 1) * BLOCK).tolist(), (here[pax + 1] * BLOCK).tolist()
        self._is_usual[pax] = [is_silent(block, *bounds) for bounds in zip(*records, strict=True)]
        self._stops = np.flatnonzero(~(self._is_usual & is_linked))
        """Where each run of usual headers ends. In a run, each header leads to the next."""

    def follow(self, at: int, headers: list[int], silent: list[int]) -> int:
        """Append the headers from block `at` on to `headers`, up to one of another kind.

        The positions of pax headers go to `silent`; the member of each follows it. Return where
        the next header is, by its block.
        """
        here = self._here
        while at < self._n:
            first = int(here.searchsorted(at))
            if first == len(here) or here[first] != at:
                break
            last = int(self._stops[self._stops.searchsorted(first)])
            is_usual = bool(self._is_usual[last])
            taken = slice(first, last + is_usual)
            silent += (np.flatnonzero(self._is_pax[taken]) + len(headers)).tolist()
            headers += here[taken].tolist()
            at = int(self._next[last] if is_usual else here[last])
            if not is_usual:
                break
        return at


def rows_of(block: bytes) -> Octets:
    """Return the whole blocks of 512 bytes (n, 512) of a window."""
    return np.frombuffer(block, np.uint8, len(block) // BLOCK * BLOCK).reshape(-1, BLOCK)
