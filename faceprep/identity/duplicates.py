"""Finds copies of images and decides which copy is kept. The caller compares the images themselves.

keep_best           keep the best image, and drop each further image that is a copy of a kept one
mark_near_dropped   mark the images whose outcome a stricter comparison could change
find_duplicates     search within identities, then between them, and prefer images of test sets
compare_again       compare for another order, without the pairs that are known to differ
find_near_hashes    find all pairs of 64-bit hashes within a Hamming distance in less than n² steps

An image is dropped only if it is a copy of a kept image, so there are no chains. No two kept images
are copies, so a second run finds nothing. Images are ordered by quality, so the order of the input
does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Bools, Hashes, Ints

Alike = Callable[[int, Ints], Bools]
"""A function (image, others) -> mask of the others that the image is a copy of."""


class Radius(NamedTuple):
    """Hamming distances up to which the hashes of two views, and of two images, are candidates."""

    views: int
    wholes: int


RADIUS = 4
"""Hamming distance up to which two hashes are candidates in sets of any size."""
_RADII = ((50_000, Radius(8, 12)), (300_000, Radius(6, 8)))
"""Larger distances for sets of up to so many images."""
_NARROW = Radius(RADIUS, RADIUS)
_WHOLE, _QUERIES, _VIEWS_FROM = 1, [0, 1, 2], 3
"""Columns of hashes: those of images without borders, those that are looked up, and the first of
those that are views only."""
NO_IDENTITY = -1
"""The identity of a test image, which is always kept."""
_BITS = 64
_BLOCK = 1024


@dataclass(frozen=True)
class Images:
    """Identity, content and hash of each image (n,), and the order, best first.

    `identities` holds identity numbers or NO_IDENTITY. Images with the same number in `contents`
    are the same byte for byte, and have the same hash. Hashes may be (n, k): those of the image, of
    another picture of it, and of its mirror image, then of its views. Two images are candidates if
    one of the first three of one is near any of the other but its mirror image.
    """

    identities: Ints
    contents: Ints
    hashes: Hashes
    order: Ints


class Duplicates(NamedTuple):
    """The kept image that each image (n,) is a copy of, or the image itself.

    `kept` compares an image with its own identity and with test sets. `rivals` compares the images
    that remain with other identities: one of the two labels is wrong.
    """

    kept: Ints
    rivals: Ints


# Choice of the kept images


def find_duplicates(images: Images, is_near: Alike, radius: Radius = _NARROW) -> Duplicates:
    """Find copies within identities and of test images, then between identities.

    The second search compares only images that the first one keeps. `is_near` is called for images
    whose hashes are within `radius` and whose bytes differ.

    >>> hashes, order = np.zeros(3, np.uint64), np.array([1, 0, 2])
    >>> images = Images(np.array([0, 0, 1]), np.array([7, 7, 7]), hashes, order)
    >>> kept, rivals = find_duplicates(images, lambda image, others: np.zeros(len(others), bool))
    >>> kept.tolist(), rivals.tolist()
    ([1, 1, 2], [0, 1, 1])
    """
    identities, is_test = images.identities, images.identities == NO_IDENTITY
    order = images.order[np.argsort(~is_test[images.order], kind="stable")]
    is_copy = _treat_equal_as_copies(images.contents, is_near)

    def is_copy_within(image: int, others: Ints) -> Bools:
        if is_test[image]:
            return np.zeros(len(others), np.bool_)
        comparable = is_test[others] | (identities[others] == identities[image])
        return _compare_some(comparable, is_copy, image, others)

    def is_copy_between(image: int, others: Ints) -> Bools:
        return _compare_some(identities[others] != identities[image], is_copy, image, others)

    firsts = _best_of_equal(images, order)
    distinct = order[firsts[order] == order]
    kept = keep_best(images.hashes, distinct, is_copy_within, radius)[firsts]
    kept[is_test] = np.flatnonzero(is_test)
    is_kept = (kept == np.arange(len(kept))) & ~is_test
    rivals = keep_best(images.hashes, order[is_kept[order]], is_copy_between, radius)
    return Duplicates(kept, rivals)


def compare_again(found: Duplicates, is_near: Alike) -> Alike:
    """Compare for another order of the same images, without the pairs that are known to differ.

    These are two images of which neither is a copy, nor has one.
    """
    n = len(found.kept)
    is_alone = (found.kept == np.arange(n)) & (found.rivals == np.arange(n))
    is_alone[np.concatenate([found.kept[~is_alone], found.rivals[~is_alone]])] = False

    def is_copy(image: int, others: Ints) -> Bools:
        is_open = ~(is_alone[others] & is_alone[image])
        return _compare_some(is_open, is_near, image, others)

    return is_copy


def _best_of_equal(images: Images, order: Ints) -> Ints:
    """Return for each image (n,) the best image of its identity with the same content."""
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    sorted_ = np.lexsort((ranks, images.identities, images.contents))
    keys = np.stack([images.identities, images.contents])[:, sorted_]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    firsts = np.empty_like(order)
    firsts[sorted_] = sorted_[is_first][is_first.cumsum() - 1]
    return firsts


def _treat_equal_as_copies(contents: Ints, is_near: Alike) -> Alike:
    def is_copy(image: int, others: Ints) -> Bools:
        differs = contents[others] != contents[image]
        return _compare_some(differs, is_near, image, others, otherwise=True)

    return is_copy


def _compare_some(
    selected: Bools, alike: Alike, image: int, others: Ints, otherwise: bool = False
) -> Bools:
    """Return the result of `alike` for the selected images and `otherwise` for the rest."""
    answer = np.full(len(others), otherwise)
    if selected.any():
        answer[selected] = alike(image, others[selected])
    return answer


def keep_best(hashes: Hashes, order: Ints, alike: Alike, radius: Radius = _NARROW) -> Ints:
    """Return for each image (n,) the kept image that it is a copy of, or the image itself.

    `hashes` are (n,) or (n, k), as in `Images`. `order` lists images, best first; an image that it
    leaves out is kept. If an image is a copy of several kept images, the best of these is returned.
    Only images with hashes within `radius` are compared, and only with kept images: n copies of one
    image take n comparisons.
    """
    kept = np.arange(len(hashes))
    index = _HashIndex(_as_columns(hashes)[order], radius)
    for rank in np.flatnonzero(~index.is_alone).tolist():
        ranks = index.find_kept(rank)
        found = _find_first(alike, int(order[rank]), order[ranks])
        if found is None:
            index.keep(rank)
        else:
            kept[order[rank]] = found
    return kept


def _as_columns(hashes: Hashes) -> Hashes:
    return hashes if hashes.ndim == 2 else hashes[:, None]


class _HashIndex:
    """The hashes (n, k) of images by rank, and the kept images that have them."""

    def __init__(self, hashes: Hashes, radius: Radius) -> None:
        self._values, number_of = np.unique(hashes, return_inverse=True)
        self._number_of = number_of.reshape(hashes.shape)
        ranks = np.broadcast_to(np.arange(len(hashes))[:, None], hashes.shape)
        n = len(self._values)
        first, last = np.full(n, len(hashes)), np.full(n, -1)
        np.minimum.at(first, self._number_of, ranks)
        np.maximum.at(last, self._number_of, ranks)
        owners = np.where(first == last, first, -1 - np.arange(n))
        is_whole = _mark_wholes(self._number_of, n)
        self._starts, self._partners = _neighbours(self._values, is_whole, radius, owners)
        is_shared = (first != last) | (np.diff(self._starts) > 0)
        self.is_alone: Bools = ~is_shared[self._number_of].any(axis=1)
        n_columns = hashes.shape[1]
        self._queries = [column for column in _QUERIES if column < n_columns]
        self._views = [0, 1, *range(_VIEWS_FROM, n_columns)][: max(n_columns - 1, 1)]
        self._kept_by_query: dict[int, list[int]] = {}
        self._kept_by_view: dict[int, list[int]] = {}

    def keep(self, rank: int) -> None:
        """Note an image that is kept, for those that follow."""
        for columns, table in (
            (self._queries, self._kept_by_query),
            (self._views, self._kept_by_view),
        ):
            for number in set(self._number_of[rank, columns].tolist()):
                table.setdefault(number, []).append(rank)

    def find_kept(self, rank: int) -> list[int]:
        """Return the ranks, ascending, of the kept images that are candidates for a copy."""
        found: set[int] = set()
        for columns, table in (
            (self._queries, self._kept_by_view),
            (self._views, self._kept_by_query),
        ):
            for number in set(self._number_of[rank, columns].tolist()):
                found.update(table.get(number, ()))
                start, stop = self._starts[number], self._starts[number + 1]
                for near in self._partners[start:stop].tolist():
                    found.update(table.get(near, ()))
        return sorted(found)


def choose_radius(n: int) -> Radius:
    """Return the Hamming distance for a set of `n` images: a wider search takes longer."""
    return next((radius for most, radius in _RADII if n <= most), _NARROW)


def _find_first(alike: Alike, image: int, others: Ints) -> int | None:
    """Return the first of the others that the image is a copy of."""
    for start in range(0, len(others), _BLOCK):
        block = others[start : start + _BLOCK]
        answer = alike(image, block)
        first = int(answer.argmax())
        if answer[first]:
            return int(block[first])
    return None


def mark_near_dropped(hashes: Hashes, kept: Ints, radius: Radius = _NARROW) -> Bools:
    """Mark the images (n,) whose hash is within `radius` of that of a dropped image.

    A dropped image is marked itself. A stricter `alike` can change the outcome of no other image.
    """
    hashes = _as_columns(hashes)
    values, value_of = np.unique(hashes, return_inverse=True)
    value_of = value_of.reshape(hashes.shape)
    is_whole = _mark_wholes(value_of, len(values))
    starts, partners = _neighbours(values, is_whole, radius)
    is_dropped = np.zeros(len(values), np.bool_)
    is_dropped[value_of[kept != np.arange(len(kept))]] = True
    near = is_dropped.copy()
    near[partners[np.repeat(is_dropped, np.diff(starts))]] = True
    return np.asarray(near[value_of].any(axis=1))


# Search for similar hashes


def find_near_hashes(values: Hashes, radius: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield blocks of all index pairs i < j within Hamming distance `radius`, each pair once.

    The values must be distinct. Memory is that of a few copies of `values`. If a hash is cut into
    `radius` + 2 pieces, at least two pieces are equal in both hashes of such a pair. For every two
    pieces, sorting therefore brings the hashes that share them together. Method: Manku, Jain and
    Das Sarma, Detecting Near-Duplicates for Web Crawling, WWW 2007.

    >>> hashes = np.array([0, 3, 255], np.uint64)
    >>> [(i.tolist(), j.tolist()) for i, j in find_near_hashes(hashes, 2)]
    [([0], [1])]
    """
    pieces = _pieces(radius + 2)
    for first, second in combinations(range(len(pieces)), 2):
        keys = values & (pieces[first] | pieces[second])
        earlier = [piece for piece in range(second) if piece != first]
        for one, other in _equal_pairs(keys):
            differ = values[one] ^ values[other]
            near = np.bitwise_count(differ) <= radius
            one, other, differ = one[near], other[near], differ[near]
            is_new = np.ones(len(differ), np.bool_)  # an earlier piece may have found it
            for piece in earlier:
                is_new &= (differ & pieces[piece]) != 0
            if is_new.any():
                one, other = one[is_new], other[is_new]
                yield np.minimum(one, other), np.maximum(one, other)


def _pieces(n: int) -> Hashes:
    """Return `n` bit masks that divide the 64 bits among them."""
    edges = [_BITS * i // n for i in range(n + 1)]
    masks = [(1 << stop) - (1 << start) for start, stop in pairwise(edges)]
    return np.array(masks, np.uint64)


def _equal_pairs(keys: Hashes) -> Iterator[tuple[Ints, Ints]]:
    """Yield all index pairs with equal keys, each once, at most as many at a time as keys."""
    order = np.argsort(keys)
    ordered = keys[order]
    places = np.flatnonzero(ordered[1:] == ordered[:-1])
    step = 1
    while places.size:
        yield order[places], order[places + step]
        step += 1
        places = places[places + step < len(keys)]
        places = places[ordered[places + step] == ordered[places]]


def _mark_wholes(number_of: Ints, n: int) -> Bools:
    """Mark the values (n,) that are hashes of images without borders."""
    is_whole = np.zeros(n, np.bool_)
    if number_of.shape[1] > _WHOLE:
        is_whole[number_of[:, _WHOLE]] = True
    return is_whole


def _neighbours(
    values: Hashes, is_whole: Bools, radius: Radius, owners: Ints | None = None
) -> tuple[Ints, Ints]:
    """Return (starts, partners): partners[starts[i] : starts[i + 1]] are near value i.

    Values with the same number in `owners` are not partners.
    """
    lefts = [np.zeros(0, np.int64)]
    rights = [np.zeros(0, np.int64)]
    for i, j in _find_partners(values, is_whole, radius):
        if owners is not None:
            apart = owners[i] != owners[j]
            i, j = i[apart], j[apart]
        lefts += [i, j]
        rights += [j, i]
    ones, others = np.concatenate(lefts), np.concatenate(rights)
    starts = np.zeros(len(values) + 1, np.int64)
    starts[1:] = np.bincount(ones, minlength=len(values)).cumsum()
    return starts, others[np.argsort(ones, kind="stable")]


def _find_partners(values: Hashes, is_whole: Bools, radius: Radius) -> Iterator[tuple[Ints, Ints]]:
    """Yield pairs of values within the radius of views, then pairs of wholes further apart."""
    if radius.views:
        yield from find_near_hashes(values, radius.views)
    if radius.wholes > radius.views:
        wholes = np.flatnonzero(is_whole)
        for i, j in find_near_hashes(values[wholes], radius.wholes):
            i, j = wholes[i], wholes[j]
            is_new = np.bitwise_count(values[i] ^ values[j]) > radius.views
            yield i[is_new], j[is_new]
