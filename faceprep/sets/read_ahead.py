"""Reads in random order, announced to the system in advance.

The disk then fetches many images at a time while others are worked on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.sets.file_family import unpack_place
from faceprep.sets.open_files import OpenFiles

_BLOCK, _MOST, _GAP = 512, 256 << 10, 4 << 10
"""The number of images that are announced at once, the most bytes to announce of each, and of a gap
between two that are fetched as one piece.
"""


class Announcing(Protocol):
    """An open file that can let the system fetch bytes in advance."""

    def announce(self, offset: int, n_bytes: int) -> None: ...

    def close(self) -> None: ...


FindPlaces = Callable[[Ints], Ints]
"""Returns the places (n, 2) of the images in these rows: a packed place, and a length, which is
negative for what is read in another way.
"""


def announce_reads(
    files: OpenFiles[Announcing], find_places: FindPlaces, positions: Sequence[int]
) -> Iterable[Sequence[int]]:
    """Return blocks of `positions`; announce the bytes of the next block before each one.

    Nothing is announced for a range of images, which lie one after another, for a single image,
    which is read at once, or to an object store.
    """
    if len(positions) == 1:
        return (positions,)
    starts = range(0, len(positions), _BLOCK)
    blocks = (positions[start : start + _BLOCK] for start in starts)
    if not len(positions) or isinstance(positions, range) or files.are_remote:
        return blocks
    return _lead(blocks, lambda block: _announce(files, find_places(np.asarray(block, np.int64))))


def _lead(
    blocks: Iterator[Sequence[int]], announce: Callable[[Sequence[int]], None]
) -> Iterator[Sequence[int]]:
    """Yield each block after calling `announce` with the next one."""
    current = next(blocks)
    announce(current)
    for following in blocks:
        announce(following)
        yield current
        current = following
    yield current


def _announce(files: OpenFiles[Announcing], places: Ints) -> None:
    """Announce the bytes of images; those that touch each other are one piece."""
    places = places[places[:, 1] > 0]
    if not len(places):
        return
    begins, lengths = places[np.argsort(places[:, 0])].T
    ends = begins + np.minimum(lengths, _MOST)
    firsts = np.append(0, np.flatnonzero(begins[1:] - ends[:-1] > _GAP) + 1)
    lasts = np.append(firsts[1:], len(begins)) - 1
    begins, lengths = begins[firsts], ends[lasts] - begins[firsts]
    numbers, offsets = unpack_place(begins)
    for number in np.unique(numbers).tolist():
        here = numbers == number
        with suppress(SourceError):  # the read itself reports it
            file = files.open(number)
            for span in zip(offsets[here].tolist(), lengths[here].tolist(), strict=True):
                file.announce(*span)
