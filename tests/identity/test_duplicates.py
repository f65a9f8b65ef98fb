"""Tests of copies: exactly the near pairs, a kept image for every dropped one, any input order."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.arrays import Bools, Hashes, Ints
from faceprep.identity.duplicates import (
    NO_IDENTITY,
    Duplicates,
    Images,
    Radius,
    compare_again,
    find_duplicates,
    find_near_hashes,
    keep_best,
    mark_near_dropped,
)


def flipped(value: int, bits: set[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


SEEDS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6)
FLIPS = st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 63), max_size=7)), max_size=20)
CLOSE = st.builds(
    lambda seeds, flips: seeds + [flipped(seeds[seed % len(seeds)], bits) for seed, bits in flips],
    SEEDS,
    FLIPS,
)
"""Hashes, many of them near each other, some at the radius and some just outside it."""


def distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@given(CLOSE, st.integers(1, 6))
def test_every_near_pair_once_and_no_other(hashes: list[int], radius: int) -> None:
    values = sorted(set(hashes))
    found = [
        pair
        for ones, others in find_near_hashes(np.array(values, np.uint64), radius)
        for pair in zip(ones.tolist(), others.tolist(), strict=True)
    ]
    pairs = combinations(range(len(values)), 2)
    assert sorted(found) == [(i, j) for i, j in pairs if distance(values[i], values[j]) <= radius]


def world(hashes: list[int], seed: int) -> tuple[Hashes, Ints, np.ndarray]:
    """Return hashes, an order, and a symmetric matrix of the images that are alike."""
    chance = np.random.default_rng(seed)
    alike = np.triu(chance.random((len(hashes), len(hashes))) < 0.6, 1)
    return np.array(hashes, np.uint64), chance.permutation(len(hashes)), alike | alike.T


@given(CLOSE, st.integers(0, 99))
def test_an_image_is_dropped_only_for_a_better_kept_copy(hashes: list[int], seed: int) -> None:
    values, order, alike = world(hashes, seed)
    kept = keep_best(values, order, lambda image, others: alike[image, others])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))

    def is_copy(i: int, j: int) -> bool:
        return bool(alike[i, j]) and distance(hashes[i], hashes[j]) <= 4

    staying = [i for i, k in enumerate(kept.tolist()) if i == k]
    left_over = [pair for pair in combinations(staying, 2) if is_copy(*pair)]
    assert not left_over, "a second run would find more"
    for image, best in enumerate(kept.tolist()):
        if image != best:
            copies = [other for other in staying if is_copy(image, other)]
            better = [other for other in copies if rank[other] < rank[image]]
            assert best == min(better, key=lambda other: rank[other])


@given(CLOSE, st.integers(0, 99))
def test_the_order_of_the_images_changes_nothing(hashes: list[int], seed: int) -> None:
    values, order, alike = world(hashes, seed)
    kept = keep_best(values, order, lambda image, others: alike[image, others])
    moved = np.random.default_rng(seed + 1).permutation(len(hashes))  # new place -> old place
    back = np.argsort(moved)
    again = keep_best(
        values[moved], back[order], lambda image, others: alike[moved[image], moved[others]]
    )
    assert moved[again].tolist() == kept[moved].tolist()


@given(CLOSE, st.integers(0, 99))
def test_a_stricter_comparison_needs_no_other_images(hashes: list[int], seed: int) -> None:
    values, order, alike = world(hashes, seed)
    kept = keep_best(values, order, lambda image, others: alike[image, others])
    known = mark_near_dropped(values, kept)
    stricter = alike & (np.random.default_rng(seed + 2).random(alike.shape) < 0.5)

    def look(image: int, others: Ints) -> Bools:
        answer: Bools = alike[image, others]
        assert known[image] or not answer.any()
        assert known[others[answer]].all()
        return answer & stricter[image, others]

    keep_best(values, order, look)


def never(image: int, others: Ints) -> Bools:
    return np.zeros(len(others), np.bool_)


def always(image: int, others: Ints) -> Bools:
    return np.ones(len(others), np.bool_)


def images(
    identities: list[int], contents: list[int] | None = None, order: list[int] | None = None
) -> Images:
    n = len(identities)
    numbers = np.arange(n) if contents is None else np.array(contents)
    ranks = np.arange(n) if order is None else np.array(order)
    return Images(np.array(identities), numbers, np.zeros(n, np.uint64), ranks)


def lists(found: Duplicates) -> tuple[list[int], list[int]]:
    return found.kept.tolist(), found.rivals.tolist()


def test_the_best_of_each_identity_stays_and_conflicts_with_the_other_identity() -> None:
    assert lists(find_duplicates(images([0, 0, 1, 1], order=[3, 1, 0, 2]), always)) == (
        [1, 1, 3, 3],
        [0, 3, 2, 3],
    )


def test_exact_copies_need_no_comparison() -> None:
    assert lists(find_duplicates(images([0, 0, 0, 1], [5, 6, 5, 5]), never)) == (
        [0, 1, 0, 3],
        [0, 1, 2, 0],
    )


def test_an_image_of_a_test_set_stays_however_bad_it_is() -> None:
    found = find_duplicates(
        images([0, 0, 1, NO_IDENTITY, NO_IDENTITY], order=[0, 1, 2, 4, 3]), always
    )
    assert lists(found) == ([4, 4, 4, 3, 4], [0, 1, 2, 3, 4])
    same = find_duplicates(images([0, NO_IDENTITY, NO_IDENTITY], [5, 5, 5]), never)
    assert lists(same) == ([1, 1, 2], [0, 1, 2])


def test_a_copy_of_a_test_image_takes_no_other_with_it() -> None:
    alike = np.zeros((3, 3), np.bool_)
    alike[0, 1:] = alike[1:, 0] = True  # 0 is like 1 and the test image; these two differ
    found = find_duplicates(images([0, 0, NO_IDENTITY]), lambda image, others: alike[image, others])
    assert found.kept.tolist() == [2, 1, 2]


def test_another_order_asks_no_more_about_images_without_copies() -> None:
    alike = np.zeros((5, 5), np.bool_)
    alike[0, 1] = alike[1, 0] = alike[1, 2] = alike[2, 1] = True
    asked: set[frozenset[int]] = set()

    def look(image: int, others: Ints) -> Bools:
        asked.update(frozenset([image, other]) for other in others.tolist())
        return np.asarray(alike[image, others])

    found = find_duplicates(images([0] * 5), look)
    assert found.kept.tolist() == [0, 0, 2, 3, 4]
    asked.clear()
    other = images([0] * 5, order=[1, 0, 2, 4, 3])
    assert find_duplicates(other, compare_again(found, look)).kept.tolist() == [1, 1, 1, 3, 4]
    assert not asked & {frozenset(pair) for pair in combinations([2, 3, 4], 2)}


def test_whole_images_are_candidates_further_apart_than_their_views() -> None:
    chance = np.random.default_rng(0)
    for column, n_flipped, is_candidate in ((1, 6, True), (1, 7, False), (3, 6, False)):
        hashes = chance.integers(0, 2**64, (2, 4), np.uint64)
        hashes[1, column] = flipped(int(hashes[0, column]), set(range(n_flipped)))
        kept = keep_best(hashes, np.arange(2), always, Radius(4, 6))
        assert kept.tolist() == [0, 0 if is_candidate else 1]


def test_no_images() -> None:
    assert lists(find_duplicates(images([]), always)) == ([], [])


def test_many_equal_hashes_are_as_many_comparisons() -> None:
    asked = []

    def look(image: int, others: Ints) -> Bools:
        asked.append(len(others))
        return np.ones(len(others), np.bool_)

    kept = keep_best(np.zeros(5000, np.uint64), np.arange(5000), look)
    assert not kept.any() and sum(asked) == 4999


@pytest.mark.parametrize("n_different", [1, 3000])
def test_exact_copies_are_not_looked_at_one_by_one(n_different: int) -> None:
    n = 30_000
    contents = np.arange(n) % n_different
    hashes = contents.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    many = Images(np.zeros(n, np.int64), contents, hashes, np.arange(n))
    asked = []

    def look(image: int, others: Ints) -> Bools:
        asked.append(image)
        return np.zeros(len(others), np.bool_)

    kept, _ = find_duplicates(many, look)
    assert kept.tolist() == (np.arange(n) % n_different).tolist()
    assert len(asked) <= 2 * n_different


def test_a_hundred_thousand_hashes_take_no_quadratic_time() -> None:
    values = np.unique(np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64))
    started = time.process_time()
    assert sum(len(ones) for ones, _ in find_near_hashes(values, 4)) == 0
    assert time.process_time() - started < 5  # measured: 0.3 s; all pairs are 5·10⁹
