"""Search for the closest identities of a gallery, exactly or among the candidates of an index.

An identity is as similar to a probe as its most similar image. Products of float32 select
candidates, with a margin for rounding, and each candidate is measured in float64. The result is
therefore the same for any block size, number of threads and order of the images.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.arrays import Bools, Doubles, Floats, Ints
from faceprep.core.prefetch import map_ahead
from faceprep.core.slow_step import Progress
from faceprep.identity.matmul import count_own_threads, multiply
from faceprep.identity.similarity import (
    BLOCK,
    Factors,
    factors_of_images,
    margin_of,
    with_equal_sides,
)
from faceprep.identity.vectors import DECIMALS, Vectors, compare_rows

_HEIGHT = 1024
_FEW = 4
"""Candidates of a row up to which finding the best of each identity costs more than it saves."""
_NONE: Ints = np.empty(0, np.int64)


class Hits(NamedTuple):
    """The closest identities of each probe, ordered by probe, closest first.

    `probes`, `rows` (m,) are rows of the probes and of the gallery, `groups` (m,) identities of the
    gallery. `likeness` (m,) is that of the image in `rows`, the identity's most similar one.
    """

    probes: Ints
    groups: Ints
    rows: Ints
    likeness: Doubles

    @property
    def ranks(self) -> Ints:
        """The rank of each hit among those of its probe, from 1 (m,)."""
        return np.arange(1, len(self.probes) + 1) - np.searchsorted(self.probes, self.probes)

    def choose(self, chosen: Ints | Bools) -> Hits:
        """Return some of the hits, by a mask or by places."""
        probes, groups, rows, likeness = self
        return Hits(probes[chosen], groups[chosen], rows[chosen], likeness[chosen])

    def join(self, others: Hits) -> Hits:
        """Return these hits and then the others."""
        columns: list[Any] = [np.concatenate(pair) for pair in zip(self, others, strict=True)]
        return Hits(*columns)


NO_HITS = Hits(_NONE, _NONE, _NONE, np.empty(0))


class Closest:
    """The closest identities found so far; only the `n` closest of each probe are kept.

    Of images with one likeness, the one with the name of the probe comes first, so that an image
    that is in the gallery finds itself. The order of the gallery decides between the others.
    """

    def __init__(self, probes: Vectors, gallery: Vectors, n: int) -> None:
        self._probes, self._gallery, self.n = probes, gallery, n
        self._namesakes: Bools = np.empty(0, np.bool_)
        self._hits = NO_HITS
        self.floor = np.full(len(probes), -np.inf)
        """The likeness (probes,) that another identity needs to be kept."""

    @property
    def hits(self) -> Hits:
        """Return what was found so far."""
        return self._hits.choose(np.argsort(self._hits.probes, kind="stable"))

    def add(self, probes: Ints, rows: Ints) -> None:
        """Measure pairs of a row of the probes and a row of the gallery, and keep the closest."""
        likeness = compare_rows(self._probes, self._gallery, probes, rows)
        added = Hits(probes, self._gallery.group_of(rows), rows, likeness)
        is_changed = np.zeros(len(self.floor), np.bool_)
        is_changed[probes] = True
        others = ~is_changed[self._hits.probes]
        hits = self._hits.choose(~others).join(added)
        namesakes = np.concatenate([self._namesakes[~others], self._find_namesakes(added)])
        hits, namesakes = self._keep_closest(hits, namesakes)
        is_last = hits.ranks == self.n
        self.floor[hits.probes[is_last]] = hits.likeness[is_last]
        self._hits = self._hits.choose(others).join(hits)
        self._namesakes = np.concatenate([self._namesakes[others], namesakes])

    def _keep_closest(self, hits: Hits, namesakes: Bools) -> tuple[Hits, Bools]:
        """Return the hits to keep, ordered by probe, closest first, and which are namesakes."""
        order = np.lexsort((hits.rows, ~namesakes, -hits.likeness, hits.groups, hits.probes))
        hits, namesakes = hits.choose(order), namesakes[order]
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = (np.diff(hits.probes) != 0) | (np.diff(hits.groups) != 0)
        hits, namesakes = hits.choose(is_first), namesakes[is_first]
        order = np.lexsort((hits.groups, ~namesakes, -hits.likeness, hits.probes))
        order = order[hits.choose(order).ranks <= self.n]
        return hits.choose(order), namesakes[order]

    def _find_namesakes(self, hits: Hits) -> Bools:
        """Return a mask of the hits whose image has the name and the vector of its probe."""
        found = np.zeros(len(hits.probes), np.bool_)
        for place in np.flatnonzero(hits.likeness >= 1 - 10.0**-DECIMALS).tolist():
            probe, row = hits.probes.item(place), hits.rows.item(place)
            found[place] = self._probes.key(probe) == self._gallery.key(row)
        return found


def find_closest(
    probes: Vectors, gallery: Vectors, n: int, block: int = 0, progress: Progress | None = None
) -> Hits:
    """Find for each probe the `n` closest identities of the gallery, exactly.

    >>> from faceprep.core.embeddings import Embeddings, Model
    >>> from faceprep.identity.vectors import prepare
    >>> rows = np.array([[1, 0], [0, 1], [3, 4]], "f4")
    >>> gallery = prepare(Embeddings(["1", "2", "3"], ["a", "a", "b"], rows, Model()))
    >>> found = find_closest(gallery, gallery, 2)
    >>> found.likeness.tolist(), found.groups.tolist()
    ([1.0, 0.6, 1.0, 0.8, 1.0, 0.8], [0, 1, 0, 1, 1, 0])
    """
    block = block or BLOCK
    left, right = with_equal_sides(factors_of_images(probes), factors_of_images(gallery))
    closest = Closest(probes, gallery, n)
    scan = _Scan(left, right, gallery, closest, block)
    n_done, total = 0, -(-left.n // _HEIGHT) * -(-right.n // block)
    for at in range(0, left.n, _HEIGHT):
        rows = range(at, min(at + _HEIGHT, left.n))
        blocks = range(0, right.n, block)
        n_threads = count_own_threads()
        for i, j in map_ahead(partial(scan.find, rows), blocks, n_threads, n_threads):
            if len(i):
                closest.add(i + at, j)
            n_done += 1
            if progress:
                progress(n_done, total)
    return closest.hits


class _Scan:
    """A search of the gallery for candidates, block by block, in several threads.

    A thread may see the floor as it was some blocks ago, and then finds more candidates.
    """

    def __init__(
        self, left: Factors, right: Factors, gallery: Vectors, closest: Closest, block: int
    ) -> None:
        self._left, self._right, self._gallery = left, right, gallery
        self._closest, self._block = closest, block
        self._margin = 2 * max(margin_of(left), margin_of(right))
        self._own = threading.local()

    def find(self, rows: range, start: int) -> tuple[Ints, Ints]:
        """Find candidates (row in `rows`, row of the gallery) in the block from `start` on."""
        stop = min(start + self._block, self._right.n)
        columns = self._right.sides(start, stop)[1]
        products = multiply(self._left.sides(rows.start, rows.stop)[0], columns, self._buffer())
        floor = self._closest.floor[rows.start : rows.stop] - self._margin
        starts = _starts_within(self._gallery, start, stop)
        i, j = _select(products, floor, starts, self._closest.n, self._margin)
        return i, j + start

    def _buffer(self) -> Floats:
        """Return the memory of this thread for the products of a block."""
        if not hasattr(self._own, "buffer"):
            height = min(_HEIGHT, max(self._left.n, 1))
            self._own.buffer = np.empty(height * self._block, np.float32)
        buffer: Floats = self._own.buffer
        return buffer


def _starts_within(vectors: Vectors, start: int, stop: int) -> Ints:
    """Return the first column of each identity in a block of the rows [start, stop)."""
    first, last = np.searchsorted(vectors.starts, [start, stop], side="left").tolist()
    inside = vectors.starts[first:last] - start
    if len(inside) and inside[0] == 0:
        return inside
    return np.concatenate([[0], inside])


def _select(
    products: Floats, floor: Doubles, starts: Ints, n: int, margin: float
) -> tuple[Ints, Ints]:
    """Find the entries that may be an identity's most similar image, for the `n` best identities.

    Rows whose highest entry is below their `floor` (rows,) are not looked through.
    """
    rows = np.flatnonzero(products.max(axis=1) >= floor)
    if not len(rows):
        return _NONE, _NONE
    chosen = products[rows]
    least = floor[rows]
    if np.isfinite(least).all():
        i, j = np.nonzero(chosen >= least.astype(np.float32)[:, None])
        if len(i) <= _FEW * len(rows):
            return rows[i], j
    peaks = np.maximum.reduceat(chosen, starts, axis=1)
    if len(starts) > n:
        least = np.maximum(least, np.partition(peaks, -n, axis=1)[:, -n] - margin)
    limits = np.maximum(peaks - np.float32(margin), least.astype(np.float32)[:, None])
    sizes = np.diff(starts, append=products.shape[1])
    i, j = np.nonzero(chosen >= np.repeat(limits, sizes, axis=1))
    return rows[i], j


def measure_margins(hits: Hits, n: int) -> tuple[Hits, Doubles]:
    """Return the `n` closest hits of each probe, and how much each exceeds the next identity.

    `hits` has one more of each probe than `n` where there is one. A margin (m,) is NaN where no
    other identity follows.
    """
    margins = np.full(len(hits.probes), np.nan)
    is_followed = np.diff(hits.probes) == 0
    margins[:-1][is_followed] = (hits.likeness[:-1] - hits.likeness[1:])[is_followed]
    kept = hits.ranks <= n
    return hits.choose(kept), margins[kept].round(DECIMALS)
