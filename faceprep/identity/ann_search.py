"""Approximate search for the closest identities, with the recall measured and reached.

A FAISS index (inverted lists, 8-bit vectors) gives candidate images, which are measured exactly. A
sample of the probes is also searched exactly. More of the lists are looked through until the recall
on this sample is high enough.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceprep.core.arrays import Octets
from faceprep.core.random_order import shuffled
from faceprep.identity.ann import fill_index
from faceprep.identity.search import Closest, Hits, find_closest
from faceprep.identity.similarity import BLOCK, factors_of_images
from faceprep.identity.vectors import DECIMALS, Vectors

MIN_RECALL = 0.99
N_SAMPLED = 500
_FIRST_SHARE = 64
_FEWEST, _MOST = 64, 2048
"""Candidate images of each probe, at least and at most."""
_TIED = 10.0**-DECIMALS


@dataclass(frozen=True)
class Tuning:
    """The number of lists that are looked through, and what this was found to reach.

    `recall` is the share of the `n_sampled` probes whose closest identity is found.
    """

    n_lists: int
    recall: float
    n_sampled: int


class NearIndex:
    """A FAISS index of a gallery."""

    def __init__(self, index: Any, gallery: Vectors) -> None:
        self._index, self._gallery = index, gallery

    @classmethod
    def build(cls, gallery: Vectors, seed: int) -> NearIndex:
        """Build the index. Raises MissingExtra if FAISS is not installed."""
        return cls(fill_index(factors_of_images(gallery), seed, 1.0), gallery)

    @classmethod
    def load(cls, data: Octets, gallery: Vectors, n_lists: int) -> NearIndex:
        """Load what `dump` returned, for searches of so many lists."""
        index = importlib.import_module("faiss").deserialize_index(data)
        index.nprobe = n_lists
        return cls(index, gallery)

    def dump(self) -> Octets:
        """Return the index as bytes."""
        data: Octets = importlib.import_module("faiss").serialize_index(self._index)
        return data

    def search(self, probes: Vectors, n: int) -> Hits:
        """Find for each probe about the `n` closest identities; the likeness is exact."""
        n_images = self._count_candidates(n)
        closest = Closest(probes, self._gallery, n)
        factors = factors_of_images(probes)
        for start in range(0, len(probes), BLOCK):
            stop = min(start + BLOCK, len(probes))
            _, rows = self._index.search(factors.sides(start, stop)[0], n_images)
            found = np.repeat(np.arange(start, stop), n_images)
            is_found = rows.ravel() >= 0
            closest.add(found[is_found], rows.ravel()[is_found].astype(np.int64))
        return closest.hits

    def _count_candidates(self, n: int) -> int:
        usual = -(-len(self._gallery) // max(len(self._gallery.names), 1))
        return min(max(2 * n * usual, _FEWEST), _MOST, len(self._gallery))

    def tune(self, probes: Vectors, n: int, seed: int) -> Tuning:
        """Look through as many lists as searches for `n` identities need for `MIN_RECALL`."""
        sample = probes.subset(np.sort(shuffled(len(probes), seed)[:N_SAMPLED]))
        exact = find_closest(sample, self._gallery, 1)
        n_all = int(self._index.nlist)
        self._index.nprobe = max(n_all // _FIRST_SHARE, 1)
        while True:
            recall = _recall(exact, self.search(sample, n))
            if recall >= MIN_RECALL or self._index.nprobe >= n_all:
                return Tuning(int(self._index.nprobe), recall, len(sample))
            self._index.nprobe = min(2 * self._index.nprobe, n_all)


def _recall(exact: Hits, found: Hits) -> float:
    """Return the share of the probes for which the closest identity, or one as close, is found."""
    likeness = np.full(len(exact.probes), -np.inf)
    first = found.choose(found.ranks == 1)
    likeness[first.probes] = first.likeness
    return float((likeness >= exact.likeness - _TIED).mean())
