"""Sums over whole identities: the number of images, their vectors and their squared lengths.

Vectors are summed as integers (fixed point), which float64 adds without rounding. The sums are the
same to the bit for any order of images, any block size and any order of joining identities. They
are enough for the mean likeness of all pairs of images of two identities: with mean vectors m and n
and mean squared lengths q and r, it is 1 - (q + r)/2 + m·n.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np

from faceprep.core.arrays import Doubles, Ints
from faceprep.core.large_arrays import allocate
from faceprep.core.shards import even_bounds
from faceprep.identity.vectors import DECIMALS, Vectors

_EXACT_BITS = 52
_AT_ONCE = 1 << 12


@dataclass(frozen=True, slots=True)
class Groups:
    """Sums over the images of each identity, one row of `totals` (g, d + 2) per identity.

    A row holds the sum of the vectors, the sum of their squared lengths, and their number. The sums
    are multiples of `unit`. Adding rows joins identities, and every method accepts such rows.
    """

    totals: Doubles
    unit: float
    is_unit: bool

    def __len__(self) -> int:
        return len(self.totals)

    def means(self, totals: Doubles) -> Doubles:
        """Return mean vectors (n, d); the more the images differ, the shorter the vector."""
        return np.asarray(totals[:, :-2] * (self.unit / totals[:, -1:]))

    def squares(self, totals: Doubles) -> Doubles:
        """Return the mean squared lengths (n,) of the vectors; 1 for the metric cosine."""
        return np.asarray(totals[:, -2] * self.unit / totals[:, -1])

    def mean_likeness(self, left: Doubles, right: Doubles) -> Doubles:
        """Return the mean likeness over all pairs of images of two identities, row by row.

        A single row on one side is compared with every row on the other.
        """
        return compare_groups(replace(self, totals=left), replace(self, totals=right))

    def likeness_within(self, totals: Doubles) -> Doubles:
        """Return the mean likeness (n,) of all pairs of images of each identity.

        A single image has no pair: its value is minus infinity.
        """
        products = np.empty(len(totals))
        for start, stop in even_bounds(len(totals), _AT_ONCE):  # as a whole, they take much memory
            means = self.means(totals[start:stop])
            products[start:stop] = (means * means).sum(axis=1)
        n, squares = totals[:, -1], self.squares(totals)
        products = (products * n - squares) / np.maximum(n - 1, 1)
        return np.where(n > 1, (1 - squares + products).round(DECIMALS), -np.inf)

    def centroid_likeness(self, left: Doubles, right: Doubles) -> Doubles:
        """Return the likeness of the centroids of two identities, row by row.

        A single row on one side is compared with every row on the other.
        """
        one, other = self.centroids(left), self.centroids(right)
        if self.is_unit:
            return np.asarray((one * other).sum(axis=1).round(DECIMALS))
        return np.asarray((1 - ((one - other) ** 2).sum(axis=1) / 2).round(DECIMALS))

    def centroids(self, totals: Doubles) -> Doubles:
        """Return the means (n, d), scaled to length 1 for the metric cosine.

        The mean of opposite vectors is zero and stays zero.
        """
        means = self.means(totals)
        if not self.is_unit:
            return means
        lengths = np.sqrt((means * means).sum(axis=1, keepdims=True))
        return np.asarray(means / np.where(lengths == 0, 1, lengths))

    def digest(self, totals: Doubles) -> bytes:
        """Return a digest of a row (d + 2,), which identifies an identity without its name."""
        return hashlib.blake2b(totals.tobytes(), digest_size=8).digest()


def compare_groups(left: Groups, right: Groups) -> Doubles:
    """Return the mean likeness (n,) over all pairs of images of two identities, row by row.

    The identities may be of different sets. A single row on one side is compared with every row on
    the other.
    """
    products = (left.means(left.totals) * right.means(right.totals)).sum(axis=1)
    squares = left.squares(left.totals) + right.squares(right.totals)
    return np.asarray((1 - squares / 2 + products).round(DECIMALS))


def gather_groups(vectors: Vectors) -> Groups:
    """Sum the vectors of each identity in one pass over the set.

    >>> from faceprep.core.embeddings import Embeddings, Model
    >>> from faceprep.identity.vectors import prepare
    >>> rows = np.eye(3, dtype="f4")
    >>> vectors = prepare(Embeddings(["1", "2", "3"], ["a", "a", "b"], rows, Model()))
    >>> groups = gather_groups(vectors)
    >>> groups.means(groups.totals).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    """
    dim = vectors.dim
    is_unit = bool((vectors.squares == 1).all())
    largest = float(vectors.squares.max(initial=1.0)) * max(len(vectors), 1)
    scale = 2.0 ** (_EXACT_BITS - math.ceil(math.log2(largest)))
    totals: Doubles = allocate((len(vectors.names), dim + 2), np.float64)
    for start, stop, piece in vectors.pieces():
        piece *= scale
        np.rint(piece, out=piece)
        for group, begin, end in _runs(vectors.starts, start, stop):
            totals[group, :-2] += piece[begin - start : end - start].sum(axis=0)
    rounded = np.rint(vectors.squares * scale)
    if len(vectors):
        totals[:, -2] = np.add.reduceat(rounded, vectors.starts[:-1])
    totals[:, -1] = vectors.counts
    return Groups(totals, 1 / scale, is_unit)


def gather_images(vectors: Vectors, groups: Groups, rows: Ints) -> Doubles:
    """Return totals (n, d + 2) of single images in the unit of `groups`."""
    totals = np.empty((len(rows), vectors.dim + 2))
    totals[:, :-2] = np.rint(vectors.take(rows) / groups.unit)
    totals[:, -2] = np.rint(vectors.squares[rows] / groups.unit)
    totals[:, -1] = 1
    return totals


def _runs(starts: Ints, start: int, stop: int) -> list[tuple[int, int, int]]:
    """List (group, first row, last row + 1) for the groups within rows [start, stop)."""
    first = int(np.searchsorted(starts, start, side="right")) - 1
    last = int(np.searchsorted(starts, stop, side="left"))
    edges = np.clip(starts[first : last + 1], start, stop).tolist()
    return list(zip(range(first, last), edges, edges[1:], strict=False))
