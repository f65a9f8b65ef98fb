"""What is known of whole identities: how many images, and the sum of their vectors.

Sums are of whole numbers (vectors in fixed point), which float64 adds without rounding: the same to
the bit in any order of images, in any blocks, and of identities joined one after the other or at
once. The mean likeness of all pairs of images of two identities needs no more than that: it is 1 -
(q + r)/2 + m·n, of their mean vectors m and n and their mean squared lengths q and r.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from faceprep.identity.vectors import DECIMALS, Doubles, Ints, Vectors

_EXACT_BITS = 52


@dataclass(frozen=True, slots=True)
class Groups:
    """Row g of `totals` (g, d + 2): the sum of identity g's vectors, of their squared lengths, and
    how many they are.

    The sums are whole numbers of `unit`. Adding rows joins identities; every method takes rows so
    made as well.
    """

    totals: Doubles
    unit: float
    of_length_one: bool

    def __len__(self) -> int:
        return len(self.totals)

    def means(self, totals: Doubles) -> Doubles:
        """(n, d) mean vectors; the shorter, the more an identity's images differ."""
        return np.asarray(totals[:, :-2] * (self.unit / totals[:, -1:]))

    def squares(self, totals: Doubles) -> Doubles:
        """(n,) mean squared lengths of the vectors; 1 for the metric cosine."""
        return np.asarray(totals[:, -2] * self.unit / totals[:, -1])

    def mean_likeness(self, left: Doubles, right: Doubles) -> Doubles:
        """Mean over all pairs of images of two identities, row by row; a single row is compared
        with each.
        """
        products = (self.means(left) * self.means(right)).sum(axis=1)
        return np.asarray(
            (1 - (self.squares(left) + self.squares(right)) / 2 + products).round(DECIMALS)
        )

    def centroid_likeness(self, left: Doubles, right: Doubles) -> Doubles:
        """Of the two identities' centroids, row by row; a single row is compared with each."""
        one, other = self.centroids(left), self.centroids(right)
        if self.of_length_one:
            return np.asarray((one * other).sum(axis=1).round(DECIMALS))
        return np.asarray((1 - ((one - other) ** 2).sum(axis=1) / 2).round(DECIMALS))

    def centroids(self, totals: Doubles) -> Doubles:
        """(n, d) means, brought to length 1 for the metric cosine, but for those of opposites,
        which are zero.
        """
        means = self.means(totals)
        if not self.of_length_one:
            return means
        lengths = np.sqrt((means * means).sum(axis=1, keepdims=True))
        return np.asarray(means / np.where(lengths == 0, 1, lengths))

    def digest(self, totals: Doubles) -> bytes:
        """Of the row (d + 2,): tells what an identity is whatever it is called."""
        return hashlib.blake2b(totals.tobytes(), digest_size=8).digest()


def gather_groups(vectors: Vectors) -> Groups:
    """One pass over the set.

    >>> from faceprep.core.embeddings import Embeddings, Model
    >>> from faceprep.identity.vectors import prepare
    >>> rows = np.eye(3, dtype="f4")
    >>> vectors = prepare(Embeddings(["1", "2", "3"], ["a", "a", "b"], rows, Model()))
    >>> groups = gather_groups(vectors)
    >>> groups.means(groups.totals).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    """
    dim = vectors.dim
    of_length_one = bool((vectors.squares == 1).all())
    largest = float(vectors.squares.max(initial=1.0)) * max(len(vectors), 1)
    scale = 2.0 ** (_EXACT_BITS - math.ceil(math.log2(largest)))
    totals = np.zeros((len(vectors.names), dim + 2))
    for start, stop, piece in vectors.pieces():
        piece *= scale
        np.rint(piece, out=piece)
        for group, begin, end in _runs(vectors.starts, start, stop):
            totals[group, :-2] += piece[begin - start : end - start].sum(axis=0)
    rounded = np.rint(vectors.squares * scale)
    totals[:, -2] = np.add.reduceat(rounded, vectors.starts[:-1]) if len(vectors) else 0
    totals[:, -1] = vectors.counts
    return Groups(totals, 1 / scale, of_length_one)


def gather_images(vectors: Vectors, groups: Groups, rows: Ints) -> Doubles:
    """(n, d + 2) totals of single images, that those of `groups` may be compared with and added
    to.
    """
    totals = np.empty((len(rows), vectors.dim + 2))
    totals[:, :-2] = np.rint(vectors.take(rows) / groups.unit)
    totals[:, -2] = np.rint(vectors.squares[rows] / groups.unit)
    totals[:, -1] = 1
    return totals


def _runs(starts: Ints, start: int, stop: int) -> list[tuple[int, int, int]]:
    """(group, first row, last row + 1) of the groups that lie in rows [start, stop)."""
    first = int(np.searchsorted(starts, start, side="right")) - 1
    last = int(np.searchsorted(starts, stop, side="left"))
    return [
        (g, max(start, int(starts[g])), min(stop, int(starts[g + 1]))) for g in range(first, last)
    ]
