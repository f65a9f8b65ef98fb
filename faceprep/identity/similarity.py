"""All that is alike, exactly: matrix products find candidates, which are then measured one by one.

A product in float32 differs in its last bits with the size of a block and the number of threads. So
it only sieves, with a margin for its rounding; what passes is measured again in float64, in one
way. What is found is therefore the same for any block size, thread count and order of the input,
and memory is bounded by a block and what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faceprep.core.faces import Floats
from faceprep.identity.identity_sums import Groups
from faceprep.identity.matmul import multiply, open_products
from faceprep.identity.vectors import Doubles, Ints, Vectors

BLOCK = 4096
"""Rows of a block, where nothing else is said."""
Progress = Callable[[int, int], None]
"""Receives the work done and the work there is."""
_KEPT = 1 << 29
_FLOAT32 = 2.0**-23


class Pairs(NamedTuple):
    """Two rows (or identities) each, `left` < `right`, and their likeness; ordered by left,
    then right.
    """

    left: Ints
    right: Ints
    likeness: Doubles


@dataclass(frozen=True, slots=True)
class Factors:
    """`n` rows of which `read(start, stop)` gives (m, d) float32; the likeness of i and j is

    read(i)·read(j) + halves[i] + halves[j], where halves is (1 - squared length) / 2 or, for length
    1, None.
    """

    n: int
    dim: int
    read: Callable[[int, int], Floats]
    halves: Floats | None
    longest: float
    """Squared length of the longest."""
    kept: bool
    """Whether reading costs nothing."""

    def sides(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """Left and right factors of these rows: products of the one with the other are
        likenesses.
        """
        rows = self.read(start, stop)
        if self.halves is None:
            return rows, rows
        halves, one = self.halves[start:stop, None], np.ones((stop - start, 1), np.float32)
        return np.hstack([rows, halves, one]), np.hstack([rows, one, halves])


def factors_of_images(vectors: Vectors) -> Factors:
    """Their products are likenesses of images."""
    return _factors(vectors.read, vectors.dim, vectors.squares, bool((vectors.squares == 1).all()))


def factors_of_groups(groups: Groups, totals: Doubles | None = None) -> Factors:
    """Their products are mean likenesses of identities."""
    rows = groups.totals if totals is None else totals

    def read(start: int, stop: int) -> Floats:
        return groups.means(rows[start:stop]).astype(np.float32)

    return _factors(read, rows.shape[1] - 2, groups.squares(rows), groups.is_unit)


def factors_of_centroids(groups: Groups) -> Factors:
    """Their products are likenesses of centroids."""

    def read(start: int, stop: int) -> Floats:
        return groups.centroids(groups.totals[start:stop]).astype(np.float32)

    squares = np.empty(len(groups))
    for start in range(0, len(groups), BLOCK):
        squares[start : start + BLOCK] = (
            groups.centroids(groups.totals[start : start + BLOCK]) ** 2
        ).sum(axis=1)
    return _factors(read, groups.totals.shape[1] - 2, squares, groups.is_unit)


def _factors(
    read: Callable[[int, int], Floats], dim: int, squares: Doubles, is_unit: bool
) -> Factors:
    """Rows are made once and kept, where they are not too many."""
    n = len(squares)
    halves = None if is_unit else ((1 - squares) / 2).astype(np.float32)
    if n * dim * 4 > _KEPT:
        return Factors(n, dim, read, halves, float(squares.max(initial=1.0)), False)
    kept = np.empty((n, dim), np.float32)
    for start in range(0, n, BLOCK):
        kept[start : start + BLOCK] = read(start, min(start + BLOCK, n))
    return Factors(
        n, dim, lambda start, stop: kept[start:stop], halves, float(squares.max(initial=1.0)), True
    )


def margin_of(factors: Factors) -> float:
    """How far a product in float32 may be from the likeness: n·u·|a||b| for a sum of n terms
    (Higham, Accuracy and Stability of Numerical Algorithms, 3.1), and as much for scaling."""
    return (factors.dim + 10) * _FLOAT32 * max(factors.longest, 1.0)


Search = Callable[[Factors, float], Iterator[tuple[Ints, Ints]]]
"""(factors, least) -> (i, j), i < j, a block at a time, of which the likeness may be `least` or
more: `all_pairs`, or what takes its place."""


def sieve(
    left: Factors,
    right: Factors | None,
    least: float,
    block: int = 0,
    progress: Progress | None = None,
) -> Iterator[tuple[Ints, Ints]]:
    """(i, j), a block at a time, of which the likeness may be `least` or more; some just below it
    pass as well.

    Without `right` the pairs i < j of the one set, each once.
    """
    other, block = left if right is None else right, block or BLOCK
    height = (
        -(-block // 4) if left.kept and other.kept else block
    )  # so much stays in the cache until it is looked at
    starts, n_blocks = range(0, left.n, height), 0
    products = open_products(float(left.n) * other.n * left.dim, height * block)
    total = sum(len(range(at if right is None else 0, other.n, block)) for at in starts)
    for at in starts:
        rows = left.sides(at, min(at + height, left.n))[0]
        floor = np.float32(least - margin_of(left if left.longest > other.longest else other))
        for across in range(at if right is None else 0, other.n, block):
            columns = other.sides(across, min(across + block, other.n))[1]
            i, j = products.above(rows, columns, floor)
            i, j = i + at, j + across
            if right is None and across == at:
                i, j = i[i < j], j[i < j]
            if len(i):
                yield i, j
            n_blocks += 1
            if progress:
                progress(n_blocks, total)


def all_pairs(
    factors: Factors, least: float, block: int = 0, progress: Progress | None = None
) -> Iterator[tuple[Ints, Ints]]:
    """`sieve` of one set."""
    return sieve(factors, None, least, block, progress)


def find_pairs(
    vectors: Vectors, least: float, between_identities: bool = False, search: Search = all_pairs
) -> Pairs:
    """All pairs of images with a likeness of `least` or more; only those of different identities,
    where asked for.

    >>> from faceprep.core.embeddings import Embeddings, Model
    >>> from faceprep.identity.vectors import prepare
    >>> rows = np.array([[1, 0], [0, 1], [3, 4]], "f4")
    >>> vectors = prepare(Embeddings(["1", "2", "3"], ["a", "b", "c"], rows, Model()))
    >>> find_pairs(vectors, 0.5).likeness
    array([0.6, 0.8])
    """
    found = []
    for i, j in search(factors_of_images(vectors), least):
        if between_identities:
            apart = vectors.group_of(i) != vectors.group_of(j)
            i, j = i[apart], j[apart]
        likeness = vectors.likeness(i, j)
        enough = likeness >= least
        found.append((i[enough], j[enough], likeness[enough]))
    return ordered(found)


def ordered(found: list[tuple[Ints, Ints, Doubles]]) -> Pairs:
    """All that was found, by left, then right."""
    if not found:
        none = np.empty(0, np.int64)
        return Pairs(none, none, np.empty(0))
    left, right, likeness = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((right, left))
    return Pairs(left[order], right[order], likeness[order])


def find_mean_pairs(groups: Groups, least: float, search: Search = all_pairs) -> Pairs:
    """All pairs of identities whose images are alike by `least` or more in the mean over all
    pairs of images.
    """
    return _measured(groups, groups.mean_likeness, least, search(factors_of_groups(groups), least))


def find_centroid_pairs(groups: Groups, least: float, search: Search = all_pairs) -> Pairs:
    """All pairs of identities whose centroids are alike by `least` or more."""
    return _measured(
        groups, groups.centroid_likeness, least, search(factors_of_centroids(groups), least)
    )


def _measured(
    groups: Groups,
    likeness: Callable[[Doubles, Doubles], Doubles],
    least: float,
    candidates: Iterator[tuple[Ints, Ints]],
) -> Pairs:
    found = []
    for i, j in candidates:
        for at in range(0, len(i), BLOCK):
            left, right = i[at : at + BLOCK], j[at : at + BLOCK]
            measured = likeness(groups.totals[left], groups.totals[right])
            enough = measured >= least
            found.append((left[enough], right[enough], measured[enough]))
    return ordered(found)


def find_maxima(vectors: Vectors, least: float, search: Search = all_pairs) -> Pairs:
    """All pairs of identities that have a pair of images alike by `least` or more, with their
    best such likeness.
    """
    best: list[tuple[Ints, Ints, Doubles]] = []
    n = len(vectors.names)
    for i, j in search(factors_of_images(vectors), least):
        a, b = vectors.group_of(i), vectors.group_of(j)
        likeness = np.where(a == b, -np.inf, 0.0)
        apart = a != b
        likeness[apart] = vectors.likeness(i[apart], j[apart])
        enough = likeness >= least
        best = [_maxima(n, [*best, (a[enough], b[enough], likeness[enough])])]
    return ordered(best)


def _maxima(n: int, found: list[tuple[Ints, Ints, Doubles]]) -> tuple[Ints, Ints, Doubles]:
    """One entry a pair of groups: its greatest likeness."""
    left, right, likeness = (np.concatenate(part) for part in zip(*found, strict=True))
    names, inverse = np.unique(left * n + right, return_inverse=True)
    greatest = np.full(len(names), -np.inf)
    np.maximum.at(greatest, inverse, likeness)
    return names // n, names % n, greatest


def extremes(
    vectors: Vectors, left: Ints, right: Ints
) -> tuple[tuple[int, int, float], tuple[int, int, float]]:
    """(row, row, likeness) of the two most alike, one of `left` and one of `right`, and of the two
    least alike.

    Of several alike the first in order.
    """
    most: tuple[int, int, float] | None = None
    least: tuple[int, int, float] | None = None
    for at in range(0, len(left), BLOCK):
        for across in range(0, len(right), BLOCK):
            here, there = left[at : at + BLOCK], right[across : across + BLOCK]
            a, b = _extremes_of_block(vectors, here, there)
            most = a if most is None or (-a[2], a) < (-most[2], most) else most
            least = b if least is None or (b[2], b) < (least[2], least) else least
    if most is None or least is None:
        raise ValueError("nothing to compare")
    return most, least


def _extremes_of_block(
    vectors: Vectors, left: Ints, right: Ints
) -> tuple[tuple[int, int, float], tuple[int, int, float]]:
    squares = vectors.squares
    a, b = vectors.take(left).astype(np.float32), vectors.take(right).astype(np.float32)
    about = (
        multiply(a, b)
        + ((1 - squares[left])[:, None] + (1 - squares[right])[None]).astype(np.float32) / 2
    )
    margin = (
        2
        * (vectors.dim + 8)
        * _FLOAT32
        * max(1.0, float(squares[left].max()), float(squares[right].max()))
    )
    ends = []
    for sign in (1, -1):
        i, j = np.nonzero(sign * about >= (sign * about).max() - margin)
        likeness = vectors.likeness(left[i], right[j])
        at = int(np.argmax(sign * likeness))
        ends.append((int(left[i[at]]), int(right[j[at]]), float(likeness[at])))
    return ends[0], ends[1]


def nearest_groups(groups: Groups, totals: Doubles, k: int, block: int = 0) -> Pairs:
    """The `k` identities (right) that each row of `totals` (left) is most alike to in the mean:
    ordered by left, then most alike first, of several alike the lowest number. The identity itself
    is not left out.
    """
    rows, columns, block = (
        factors_of_groups(groups, totals),
        factors_of_groups(groups),
        block or BLOCK,
    )
    best = ordered([])
    for at in range(0, rows.n, block):
        stop = min(at + block, rows.n)
        left = rows.sides(at, stop)[0]
        margin = 2 * margin_of(rows if rows.longest > columns.longest else columns)
        found = [best]
        for across in range(0, columns.n, block):
            products = multiply(left, columns.sides(across, min(across + block, columns.n))[1])
            few = min(k, products.shape[1])
            floor = np.partition(products, -few, axis=1)[:, -few] - np.float32(margin)
            i, j = np.nonzero(products >= floor[:, None])
            i, j = i + at, j + across
            found = [
                _first_of_each(
                    k, [*found, (i, j, groups.mean_likeness(totals[i], groups.totals[j]))]
                )
            ]
        best = found[0]
    return best


def _first_of_each(k: int, found: Sequence[tuple[Ints, Ints, Doubles]]) -> Pairs:
    """The `k` greatest of each left."""
    left, right, likeness = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((right, -likeness, left))
    left, right, likeness = left[order], right[order], likeness[order]
    kept = np.arange(len(left)) - np.searchsorted(left, left) < k
    return Pairs(left[kept], right[kept], likeness[kept])
