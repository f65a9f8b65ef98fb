"""Cores leave out outliers, and nothing where it is not clear who is an outlier."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.large_arrays import allocate
from faceprep.core.types import ACCEPTED
from faceprep.identity.cores import gather_cores
from faceprep.identity.identity_sums import Groups, gather_groups
from faceprep.identity.linkage import Bounds
from faceprep.identity.merge import plan_merges
from faceprep.identity.vectors import prepare
from tests.people import folders, person, photos

BOUNDS = Bounds(0.5, 0.3)


def core_sizes(rows: dict[str, np.ndarray]) -> list[int]:
    vectors = prepare(folders(rows))
    cores = gather_cores(vectors, gather_groups(vectors), BOUNDS, 75)
    return [int(n) for n in cores.totals[:, -1]]


def strangers(n: int, first: int) -> np.ndarray:
    return np.concatenate([photos(person(first + at), 1, at, 0.95) for at in range(n)])


def test_outliers_are_left_out() -> None:
    rows = np.concatenate([photos(person(1), 6, 1, 0.65), strangers(4, 50)])
    assert core_sizes({"a": rows}) == [6]


def test_a_second_person_is_not_an_outlier() -> None:
    rows = np.concatenate([photos(person(1), 6, 1), photos(person(2), 4, 2)])
    assert core_sizes({"a": rows}) == [10]


@pytest.mark.parametrize("n", [1, 2])
def test_strangers_among_themselves_have_no_core(n: int) -> None:
    assert core_sizes({"a": strangers(n, 50)}) == [n]


def test_alike_images_all_belong_to_the_core() -> None:
    assert core_sizes({"a": photos(person(1), 9, 1, 0.8)}) == [9]


def test_the_own_likeness_is_the_mean_of_all_pairs() -> None:
    vectors = prepare(folders({"a": photos(person(1), 5, 1), "b": photos(person(2), 1, 2)}))
    groups = gather_groups(vectors)
    rows = vectors.take(range(5))
    table = (rows @ rows.T)[np.triu_indices(5, 1)]
    found = groups.likeness_within(groups.totals)
    assert found[0] == pytest.approx(table.mean(), abs=1e-6) and found[1] == -np.inf


def test_identities_with_outliers_are_merged_with_their_person() -> None:
    noisy = np.concatenate([photos(person(1), 6, 1, 0.65), strangers(4, 50)])
    rows = {"a": noisy, "b": photos(person(1), 5, 3, 0.65), "c": photos(person(3), 5, 4)}
    decisions = plan_merges(folders(rows)).decisions
    assert [(each[:3], each.verdict) for each in decisions] == [(("merge", "b", "a"), ACCEPTED)]


def test_cores_of_many_identities_need_little_memory() -> None:
    """At two million identities, a copy of the sums is 8 GB."""
    n, dim = 40_000, 1024
    totals = allocate((n, dim + 2), np.float64)
    totals[:, 0] = totals[:, -2:] = 1
    groups = Groups(totals, 1.0, True)
    vectors = prepare(Embeddings(["1"], ["a"], np.eye(1, dim, dtype="f4"), Model()))
    tracemalloc.start()
    cores = gather_cores(vectors, groups, BOUNDS, 75)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (cores.totals == totals).all()
    assert peak < totals.nbytes / 3
