"""Orders that depend on a seed and nothing else."""

from __future__ import annotations

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.random_order import draw_distinct, random_keys, shuffled

_SEEDS = st.integers(-(1 << 70), 1 << 70)


def test_numbers_are_those_of_splitmix64() -> None:
    """Seed 0 begins at state 0, for which the reference's first outputs are published."""
    assert random_keys(0, 0, 3).tolist() == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


@given(_SEEDS, st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_pieces_are_the_whole(seed: int, a: int, b: int, c: int) -> None:
    start, middle, stop = sorted((a, b, c))
    whole = random_keys(seed, start, stop)
    assert whole.dtype == np.uint64
    pieces = [random_keys(seed, start, middle), random_keys(seed, middle, stop)]
    assert np.array_equal(np.concatenate(pieces), whole)


@given(_SEEDS, st.integers(0, 500))
def test_shuffled_has_every_number_once(seed: int, n: int) -> None:
    assert sorted(shuffled(n, seed).tolist()) == list(range(n))


def test_seeds_differ_and_orders_stay() -> None:
    orders = {tuple(shuffled(20, seed).tolist()) for seed in range(200)}
    assert len(orders) == 200
    assert shuffled(8, 1).tolist() == [7, 4, 1, 2, 6, 5, 0, 3]


def test_order_is_no_order() -> None:
    """Each number is about as often in front as behind: mean position within five standard
    errors.
    """
    n, n_seeds = 16, 2000
    places = np.array([np.argsort(shuffled(n, seed)) for seed in range(n_seeds)])
    error = np.sqrt((n**2 - 1) / 12 / n_seeds)
    assert np.abs(places.mean(axis=0) - (n - 1) / 2).max() < 5 * error


@given(_SEEDS, st.integers(1, 300))
def test_drawing_all_of_a_few(seed: int, n: int) -> None:
    assert list(draw_distinct(n, seed)) == shuffled(n, seed).tolist()


def test_drawing_few_of_very_many() -> None:
    drawn = list(islice(draw_distinct(10**12, 3), 50_000))
    assert len(set(drawn)) == 50_000
    assert drawn == list(islice(draw_distinct(10**12, 3), 50_000))
    assert 0 <= min(drawn) < 10**9 and 10**12 - 10**9 < max(drawn) < 10**12
