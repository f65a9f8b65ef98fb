"""Which images are copies of which, and which one of them stays. Numbers only: what is alike the
caller says.

keep_best         the best image stays, and each further one goes that is a copy of one that stays
near_dropped      the images that a stricter look could change anything for
find_duplicates   this within identities, then between them, with the images of test sets in front
near_hashes       all pairs of 64-bit hashes within a Hamming distance, without looking at all pairs

An image goes only for one that stays and that it is itself a copy of: there are no chains. No two
that stay are copies, so that a second time finds nothing. As the order is one of quality, it does
not matter in which order images come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]
Alike = Callable[[int, Ints], Bools]
"""(image, others) -> which of the others it is a copy of."""

RADIUS = 4
"""Hamming distance up to which two hashes are candidates."""
NO_IDENTITY = -1
"""That of a test image: it always stays."""
_BITS = 64
_BLOCK = 1024


@dataclass(frozen=True)
class Images:
    """(n,) each: number of the identity (or NO_IDENTITY), number of the content, hash; and the
    order, the best first.

    Images with the same number of content are the same, byte for byte, and have the same hash.
    """

    identities: Ints
    contents: Ints
    hashes: Hashes
    order: Ints


class Duplicates(NamedTuple):
    """(n,) each: the image that stays for image i, which is i where it stays itself.

    `kept` is of its own identity or of a test set. `rivals` is of another identity, for images that
    `kept` lets stay: one of the two labels is wrong.
    """

    kept: Ints
    rivals: Ints


# Who stays


def find_duplicates(images: Images, is_near: Alike, radius: int = RADIUS) -> Duplicates:
    """Copies within identities and of test images, then copies among those that stay, across
    identities.

    `is_near` is asked of images whose hashes are within `radius` and whose bytes differ.

    >>> hashes, order = np.zeros(3, np.uint64), np.array([1, 0, 2])
    >>> images = Images(np.array([0, 0, 1]), np.array([7, 7, 7]), hashes, order)
    >>> kept, rivals = find_duplicates(images, lambda image, others: np.zeros(len(others), bool))
    >>> kept.tolist(), rivals.tolist()
    ([1, 1, 2], [0, 1, 1])
    """
    identities, is_test = images.identities, images.identities == NO_IDENTITY
    order = images.order[np.argsort(~is_test[images.order], kind="stable")]
    is_copy = _copies(images.contents, is_near)

    def in_one(image: int, others: Ints) -> Bools:
        may = (is_test[others] | (identities[others] == identities[image])) & ~is_test[image]
        return _where(may, is_copy, image, others)

    def in_two(image: int, others: Ints) -> Bools:
        return _where(identities[others] != identities[image], is_copy, image, others)

    firsts = _firsts(images, order)
    kept = keep_best(images.hashes, order[firsts[order] == order], in_one, radius)[firsts]
    kept[is_test] = np.flatnonzero(is_test)
    stays = (kept == np.arange(len(kept))) & ~is_test
    return Duplicates(kept, keep_best(images.hashes, order[stays[order]], in_two, radius))


def _firsts(images: Images, order: Ints) -> Ints:
    """(n,) for each image the best of those of its identity that have its content."""
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    sorted_ = np.lexsort((ranks, images.identities, images.contents))
    keys = np.stack([images.identities, images.contents])[:, sorted_]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    firsts = np.empty_like(order)
    firsts[sorted_] = sorted_[is_first][is_first.cumsum() - 1]
    return firsts


def _copies(contents: Ints, is_near: Alike) -> Alike:
    def is_copy(image: int, others: Ints) -> Bools:
        return _where(contents[others] != contents[image], is_near, image, others, otherwise=True)

    return is_copy


def _where(asked: Bools, alike: Alike, image: int, others: Ints, otherwise: bool = False) -> Bools:
    """What `alike` says where it is asked."""
    answer = np.full(len(others), otherwise)
    if asked.any():
        answer[asked] = alike(image, others[asked])
    return answer


def keep_best(hashes: Hashes, order: Ints, alike: Alike, radius: int = RADIUS) -> Ints:
    """(n,) the image that stays for each image; images that `order`, the best first, leaves out
    stay.

    Of several that stay and that it is a copy of, an image goes for the best. Only images with
    hashes within `radius` are compared, and only with those that stay: n copies of one image are n
    comparisons.
    """
    kept = np.arange(len(hashes))
    values, value_of = np.unique(hashes[order], return_inverse=True)
    starts, partners = _neighbours(values, radius)
    is_alone = (np.bincount(value_of, minlength=len(values)) == 1) & (np.diff(starts) == 0)
    staying: dict[int, list[int]] = {}
    for rank in np.flatnonzero(~is_alone[value_of]).tolist():
        value = int(value_of[rank])
        ranks = staying.get(value, [])
        if starts[value] < starts[value + 1]:
            near = partners[starts[value] : starts[value + 1]].tolist()
            ranks = sorted([*ranks, *(rank for other in near for rank in staying.get(other, ()))])
        found = _first(alike, int(order[rank]), order[ranks]) if ranks else None
        if found is None:
            staying.setdefault(value, []).append(rank)
        else:
            kept[order[rank]] = found
    return kept


def _first(alike: Alike, image: int, others: Ints) -> int | None:
    for start in range(0, len(others), _BLOCK):
        block = others[start : start + _BLOCK]
        answer = alike(image, block)
        first = int(answer.argmax())
        if answer[first]:
            return int(block[first])
    return None


def near_dropped(hashes: Hashes, kept: Ints, radius: int = RADIUS) -> Bools:
    """(n,) the images whose hash is within `radius` of that of one that goes, itself among them.

    Whatever else `alike` may yet ask for, these are the only images that it can make a difference
    for.
    """
    values, value_of = np.unique(hashes, return_inverse=True)
    starts, partners = _neighbours(values, radius)
    goes = np.zeros(len(values), np.bool_)
    goes[value_of[kept != np.arange(len(kept))]] = True
    near = goes.copy()
    near[partners[np.repeat(goes, np.diff(starts))]] = True
    return near[value_of]


# Hashes that are near


def near_hashes(values: Hashes, radius: int) -> Iterator[tuple[Ints, Ints]]:
    """Every pair of places i < j in `values`, all different, within Hamming distance `radius`,
    once; in blocks.

    Of `radius` + 2 pieces of a hash, two are the same in both hashes of such a pair (after Manku,
    Jain and Das Sarma, Detecting Near-Duplicates for Web Crawling, WWW 2007): for every two pieces,
    hashes that share them come to stand side by side in sorted order. Memory is that of a few
    copies of `values`.

    >>> [(i.tolist(), j.tolist()) for i, j in near_hashes(np.array([0, 3, 255], np.uint64), 2)]
    [([0], [1])]
    """
    pieces = _pieces(radius + 2)
    for first, second in combinations(range(len(pieces)), 2):
        keys = values & (pieces[first] | pieces[second])
        earlier = [piece for piece in range(second) if piece != first]
        for one, other in _equal_pairs(keys):
            differ = values[one] ^ values[other]
            near = _count_bits(differ) <= radius
            one, other, differ = one[near], other[near], differ[near]
            is_new = np.ones(len(differ), np.bool_)  # else the pair was found by earlier pieces
            for piece in earlier:
                is_new &= (differ & pieces[piece]) != 0
            if is_new.any():
                one, other = one[is_new], other[is_new]
                yield np.minimum(one, other), np.maximum(one, other)


def _pieces(n: int) -> Hashes:
    """(n,) masks that share the 64 bits out."""
    edges = [_BITS * i // n for i in range(n + 1)]
    return np.array(
        [(1 << stop) - (1 << start) for start, stop in zip(edges, edges[1:], strict=False)],
        np.uint64,
    )


def _equal_pairs(keys: Hashes) -> Iterator[tuple[Ints, Ints]]:
    """Every pair of places with the same key, once; never more at a time than there are keys."""
    order = np.argsort(keys)
    ordered = keys[order]
    places = np.flatnonzero(ordered[1:] == ordered[:-1])
    step = 1
    while places.size:
        yield order[places], order[places + step]
        step += 1
        places = places[places + step < len(keys)]
        places = places[ordered[places + step] == ordered[places]]


def _neighbours(values: Hashes, radius: int) -> tuple[Ints, Ints]:
    """(starts, partners): those near to value i are partners[starts[i] : starts[i + 1]]."""
    pairs = list(near_hashes(values, radius)) if radius else []
    ones = np.concatenate([np.zeros(0, np.int64), *(place for pair in pairs for place in pair)])
    others = np.concatenate(
        [np.zeros(0, np.int64), *(place for pair in pairs for place in pair[::-1])]
    )
    starts = np.zeros(len(values) + 1, np.int64)
    starts[1:] = np.bincount(ones, minlength=len(values)).cumsum()
    return starts, others[np.argsort(ones, kind="stable")]


def _count_bits(values: Hashes) -> npt.NDArray[np.uint8]:
    """(n,) how many bits of each are set.

    >>> _count_bits(np.array([0, 7, 2**64 - 1], np.uint64)).tolist()
    [0, 3, 64]
    """
    pairs = values - ((values >> np.uint64(1)) & np.uint64(0x5555555555555555))
    fours = (pairs & np.uint64(0x3333333333333333)) + (
        (pairs >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    eights = (fours + (fours >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.asarray((eights * np.uint64(0x0101010101010101)) >> np.uint64(56), np.uint8)
