"""Exact search for similar rows: matrix products select candidates, which are measured one by one.

The last bits of a float32 product depend on the block size and the number of threads. Products
therefore only select candidates, with a margin for rounding. Each candidate is measured again in
float64, always in the same way. The result is the same for any block size, thread count and order
of the input. Memory is bounded by one block and the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Floats, Ints
from faceprep.core.slow_step import Progress
from faceprep.identity.identity_sums import Groups
from faceprep.identity.matmul import multiply, open_products
from faceprep.identity.vectors import Vectors, compare_rows

BLOCK = 4096
"""The default number of rows in a block."""
_KEPT = 1 << 29
_FLOAT32 = 2.0**-23


class Pairs(NamedTuple):
    """Pairs of rows or of identities, `left` < `right`, with their likeness, in ascending order."""

    left: Ints
    right: Ints
    likeness: Doubles


Match = tuple[int, int, float]
"""Two rows and their likeness."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Rows prepared for products: `read(start, stop)` returns vectors (m, d) in float32.

    The likeness of rows i and j is read(i)·read(j) + halves[i] + halves[j]. `halves` is (1 -
    squared length) / 2, or None if all vectors have length 1.
    """

    n: int
    dim: int
    read: Callable[[int, int], Floats]
    halves: Floats | None
    longest: float
    """The squared length of the longest vector."""
    kept: bool
    """True if the rows are in memory, so that reading them is free."""

    def sides(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """Return left and right factors of these rows; left @ right.T is their likeness."""
        rows = self.read(start, stop)
        if self.halves is None:
            return rows, rows
        halves = self.halves[start:stop, None]
        one = np.ones((stop - start, 1), np.float32)
        return np.hstack([rows, halves, one]), np.hstack([rows, one, halves])


def factors_of_images(vectors: Vectors) -> Factors:
    """Return factors whose products are likenesses of images."""
    return _factors(vectors.read, vectors.dim, vectors.squares, bool((vectors.squares == 1).all()))


def factors_of_groups(groups: Groups, totals: Doubles | None = None) -> Factors:
    """Return factors whose products are mean likenesses of identities, or of rows of `totals`."""
    if totals is None:
        totals = groups.totals

    def read(start: int, stop: int) -> Floats:
        return groups.means(totals[start:stop]).astype(np.float32)

    return _factors(read, totals.shape[1] - 2, groups.squares(totals), groups.is_unit)


def factors_of_centroids(groups: Groups) -> Factors:
    """Return factors whose products are likenesses of centroids."""

    def read(start: int, stop: int) -> Floats:
        return groups.centroids(groups.totals[start:stop]).astype(np.float32)

    squares = np.empty(len(groups))
    for start in range(0, len(groups), BLOCK):
        block = slice(start, start + BLOCK)
        squares[block] = (groups.centroids(groups.totals[block]) ** 2).sum(axis=1)
    return _factors(read, groups.totals.shape[1] - 2, squares, groups.is_unit)


def _factors(
    read: Callable[[int, int], Floats], dim: int, squares: Doubles, is_unit: bool
) -> Factors:
    """Build factors; compute their rows once and keep them unless they are too many."""
    n = len(squares)
    longest = float(squares.max(initial=1.0))
    halves = None
    if not is_unit:
        halves = ((1 - squares) / 2).astype(np.float32)
    if n * dim * 4 > _KEPT:
        return Factors(n, dim, read, halves, longest, False)
    kept = np.empty((n, dim), np.float32)
    for start in range(0, n, BLOCK):
        kept[start : start + BLOCK] = read(start, min(start + BLOCK, n))
    return Factors(n, dim, lambda start, stop: kept[start:stop], halves, longest, True)


def with_equal_sides(left: Factors, right: Factors) -> tuple[Factors, Factors]:
    """Return factors whose sides are equally wide, where only one has vectors of length 1 alone."""
    if (left.halves is None) == (right.halves is None):
        return left, right
    filled = (
        replace(each, halves=np.zeros(each.n, np.float32)) if each.halves is None else each
        for each in (left, right)
    )
    one, other = filled
    return one, other


def margin_of(factors: Factors) -> float:
    """Return the largest difference between a float32 product and the likeness.

    It is n·u·|a||b| for a sum of n terms (Higham, Accuracy and Stability of Numerical Algorithms,
    3.1), and as much again for scaling.
    """
    return (factors.dim + 10) * _FLOAT32 * max(factors.longest, 1.0)


Search = Callable[[Factors, float], Iterator[tuple[Ints, Ints]]]
"""A function (factors, least) that yields pairs (i, j), i < j, in blocks, like `all_pairs`.

The likeness of each pair may be `least` or more.
"""


def sieve(
    left: Factors,
    right: Factors | None,
    least: float,
    block: int = 0,
    progress: Progress | None = None,
) -> Iterator[tuple[Ints, Ints]]:
    """Yield blocks of pairs (i, j) whose likeness may be `least` or more.

    Some pairs just below `least` pass as well. Without `right`, the pairs are i < j of one set,
    each once.
    """
    block = block or BLOCK
    is_one_set = right is None
    other = right or left
    height = block
    if left.kept and other.kept:
        height = -(-block // 4)  # such a block stays in the cache until it is searched
    floor = np.float32(least - max(margin_of(left), margin_of(other)))
    products = open_products(float(left.n) * other.n * left.dim, height * block)
    starts = range(0, left.n, height)
    bands = {at: range(0, other.n, block) for at in starts}
    if is_one_set:
        bands = {at: range(at, other.n, block) for at in starts}
    total, n_blocks = sum(map(len, bands.values())), 0
    for at, band in bands.items():
        rows = left.sides(at, min(at + height, left.n))[0]
        for across in band:
            columns = other.sides(across, min(across + block, other.n))[1]
            i, j = products.above(rows, columns, floor)
            i, j = i + at, j + across
            if is_one_set and across == at:
                i, j = i[i < j], j[i < j]
            if len(i):
                yield i, j
            n_blocks += 1
            if progress:
                progress(n_blocks, total)


def all_pairs(
    factors: Factors, least: float, block: int = 0, progress: Progress | None = None
) -> Iterator[tuple[Ints, Ints]]:
    """Yield blocks of pairs i < j of one set whose likeness may be `least` or more."""
    return sieve(factors, None, least, block, progress)


def ordered(found: list[tuple[Ints, Ints, Doubles]]) -> Pairs:
    """Join blocks of pairs and sort them by left, then right."""
    if not found:
        none = np.empty(0, np.int64)
        return Pairs(none, none, np.empty(0))
    left, right, likeness = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((right, left))
    return Pairs(left[order], right[order], likeness[order])


def find_mean_pairs(groups: Groups, least: float, search: Search = all_pairs) -> Pairs:
    """Find all pairs of identities with a mean likeness of `least` or more.

    The mean is taken over all pairs of images of the two identities.
    """
    candidates = search(factors_of_groups(groups), least)
    return _measure(groups, groups.mean_likeness, least, candidates)


def find_centroid_pairs(groups: Groups, least: float, search: Search = all_pairs) -> Pairs:
    """Find all pairs of identities whose centroids have a likeness of `least` or more."""
    candidates = search(factors_of_centroids(groups), least)
    return _measure(groups, groups.centroid_likeness, least, candidates)


def _measure(
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
    """Find all pairs of identities whose most similar images have a likeness of `least` or more."""
    best: list[tuple[Ints, Ints, Doubles]] = []
    n = len(vectors.names)
    for i, j in search(factors_of_images(vectors), least):
        a, b = vectors.group_of(i), vectors.group_of(j)
        likeness = np.where(a == b, -np.inf, 0.0)
        apart = a != b
        likeness[apart] = vectors.likeness(i[apart], j[apart])
        enough = likeness >= least
        best = [_keep_maxima(n, [*best, (a[enough], b[enough], likeness[enough])])]
    return ordered(best)


def _keep_maxima(n: int, found: list[tuple[Ints, Ints, Doubles]]) -> tuple[Ints, Ints, Doubles]:
    """Keep one entry per pair of groups, with the greatest likeness."""
    left, right, likeness = (np.concatenate(part) for part in zip(*found, strict=True))
    names, inverse = np.unique(left * n + right, return_inverse=True)
    greatest = np.full(len(names), -np.inf)
    np.maximum.at(greatest, inverse, likeness)
    return names // n, names % n, greatest


def find_extremes(
    vectors: Vectors, left: Ints, right: Ints, others: Vectors | None = None
) -> tuple[Match, Match]:
    """Find the most and the least similar pair of a row in `left` and a row in `right`.

    With `others`, the rows in `right` are theirs. Of several pairs with the same likeness, the
    first in order is returned. Raises ValueError if a side is empty.
    """
    others = others or vectors
    most: list[Match] = []
    least: list[Match] = []
    for at in range(0, len(left), BLOCK):
        for across in range(0, len(right), BLOCK):
            rows, columns = left[at : at + BLOCK], right[across : across + BLOCK]
            highest, lowest = _extremes_of_block(vectors, others, rows, columns)
            most.append(highest)
            least.append(lowest)
    highest = min(most, key=lambda match: (-match[2], match))
    lowest = min(least, key=lambda match: (match[2], match))
    return highest, lowest


def _extremes_of_block(
    vectors: Vectors, others: Vectors, left: Ints, right: Ints
) -> tuple[Match, Match]:
    approximate, margin = _multiply_rows(vectors, others, left, right)
    found = []
    for sign in (1, -1):
        i, j = np.nonzero(sign * approximate >= (sign * approximate).max() - margin)
        likeness = compare_rows(vectors, others, left[i], right[j])
        at = int(np.argmax(sign * likeness))
        found.append((int(left[i[at]]), int(right[j[at]]), float(likeness[at])))
    return found[0], found[1]


def _multiply_rows(
    vectors: Vectors, others: Vectors, left: Ints, right: Ints
) -> tuple[Floats, float]:
    """Return the likeness of all pairs of rows (m, n) in float32, and twice its largest error."""
    squares_left, squares_right = vectors.squares[left], others.squares[right]
    halves = ((1 - squares_left)[:, None] + (1 - squares_right)[None]) / 2
    a, b = vectors.take(left).astype(np.float32), others.take(right).astype(np.float32)
    longest = max(1.0, float(squares_left.max()), float(squares_right.max()))
    margin = 2 * (vectors.dim + 8) * _FLOAT32 * longest
    return multiply(a, b) + halves.astype(np.float32), margin


def find_nearest_rows(
    vectors: Vectors, left: Ints, right: Ints, parts: tuple[Ints, Ints] | None = None
) -> Pairs:
    """Find for each row in `left` the most similar row in `right`, or the first of several.

    Rows of one part are not compared. `parts` are those of `left` and of `right`. Without it, each
    row is a part of its own. A row that is compared with none is left out.
    """
    left_parts, right_parts = parts or (left, right)
    best = ordered([])
    for at in range(0, len(left), BLOCK):
        for across in range(0, len(right), BLOCK):
            here, there = slice(at, at + BLOCK), slice(across, across + BLOCK)
            products, margin = _multiply_rows(vectors, vectors, left[here], right[there])
            products[left_parts[here, None] == right_parts[None, there]] = -np.inf
            highest = products.max(axis=1)
            floor = np.where(np.isfinite(highest), highest - np.float32(margin), np.inf)
            i, j = np.nonzero(products >= floor[:, None])
            rows, others = left[here][i], right[there][j]
            likeness = vectors.likeness(rows, others)
            best = keep_greatest(1, [best, (rows, others, likeness)])
    return best


def find_nearest_groups(groups: Groups, totals: Doubles, k: int, block: int = 0) -> Pairs:
    """Find for each row of `totals` (left) the `k` identities (right) of the highest mean likeness.

    Pairs are ordered by left, then likeness, highest first, then right. A row that is an identity
    itself is also compared with itself.
    """
    block = block or BLOCK
    rows, columns = factors_of_groups(groups, totals), factors_of_groups(groups)
    margin = np.float32(2 * max(margin_of(rows), margin_of(columns)))
    best = ordered([])
    for at in range(0, rows.n, block):
        left = rows.sides(at, min(at + block, rows.n))[0]
        for across in range(0, columns.n, block):
            right = columns.sides(across, min(across + block, columns.n))[1]
            products = multiply(left, right)
            n_kept = min(k, len(right))
            floor = np.partition(products, -n_kept, axis=1)[:, -n_kept] - margin
            i, j = np.nonzero(products >= floor[:, None])
            i, j = i + at, j + across
            likeness = groups.mean_likeness(totals[i], groups.totals[j])
            best = keep_greatest(k, [best, (i, j, likeness)])
    return best


def keep_greatest(k: int, found: Sequence[tuple[Ints, Ints, Doubles]]) -> Pairs:
    """Keep the `k` pairs of the greatest likeness for each left."""
    left, right, likeness = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((right, -likeness, left))
    left, right, likeness = left[order], right[order], likeness[order]
    kept = np.arange(len(left)) - np.searchsorted(left, left) < k
    return Pairs(left[kept], right[kept], likeness[kept])
