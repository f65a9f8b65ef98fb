"""Tests that the search is exact for any order of the input, block size and thread count."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.embeddings import EUCLIDEAN, Embeddings, Model
from faceprep.identity.identity_sums import gather_groups, gather_images
from faceprep.identity.similarity import (
    all_pairs,
    find_centroid_pairs,
    find_extremes,
    find_maxima,
    find_mean_pairs,
    find_nearest_groups,
    find_nearest_rows,
)
from faceprep.identity.vectors import prepare
from tests.people import find_pairs, shuffled, town
from tests.real import ROOT

METRICS = st.sampled_from(["cosine", EUCLIDEAN])


def sample(seed: int, metric: str = "cosine") -> Embeddings:
    town_ = town(12, 2, seed, within=0.5)
    rows = town_.vectors
    if metric == EUCLIDEAN:
        rows = 1.2 * rows / np.linalg.norm(rows, axis=1, keepdims=True) + np.float32(0.1)
    return Embeddings(town_.keys, town_.identities, rows.astype(np.float32), Model("m", metric))


def table_of(embeddings: Embeddings) -> tuple[np.ndarray, np.ndarray]:
    """Compute the likeness of all pairs directly, and the identity number of each row.

    Rows are in canonical order.
    """
    ranks = list(zip(embeddings.identities, embeddings.keys, strict=True))
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    rows = embeddings.vectors[order].astype(float)
    if embeddings.model.metric != EUCLIDEAN:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    groups = np.unique([embeddings.identities[i] for i in order], return_inverse=True)[1]
    return 1 - ((rows[:, None] - rows[None]) ** 2).sum(axis=2) / 2, groups


@given(st.integers(0, 1 << 20), METRICS, st.integers(1, 70), st.floats(-0.2, 0.9))
@settings(deadline=None, max_examples=30)
def test_pairs_are_all_those_of_a_plain_table(
    seed: int, metric: str, block: int, least: float
) -> None:
    embeddings = sample(seed, metric)
    table, _ = table_of(embeddings)
    found = find_pairs(prepare(embeddings), least, partial(all_pairs, block=block))
    expected = np.triu(table.round(6) >= least, 1)
    assert np.array_equal(np.stack(found[:2]), np.stack(np.nonzero(expected)))
    assert found.likeness == pytest.approx(table[expected], abs=1e-6)
    other = find_pairs(prepare(shuffled(embeddings, seed)), least)
    assert all(np.array_equal(a, b) for a, b in zip(found, other, strict=True))


@given(st.integers(0, 1 << 20), METRICS, st.integers(1, 30))
@settings(deadline=None, max_examples=30)
def test_identities_are_those_of_a_plain_table(seed: int, metric: str, block: int) -> None:
    """Compare means, maxima, centroids and nearest identities with all pairs of images."""
    embeddings = sample(seed, metric)
    table, of = table_of(embeddings)
    vectors = prepare(embeddings)
    search = partial(all_pairs, block=block)
    groups, n = gather_groups(vectors), len(vectors.names)
    mean = np.array([[table[np.ix_(of == a, of == b)].mean() for b in range(n)] for a in range(n)])
    best = np.array([[table[np.ix_(of == a, of == b)].max() for b in range(n)] for a in range(n)])
    centres = groups.centroids(groups.totals)
    centroid = 1 - ((centres[:, None] - centres[None]) ** 2).sum(axis=2) / 2
    for found, expected in (
        (find_mean_pairs(groups, 0.1, search), mean),
        (find_maxima(vectors, 0.1, search), best),
        (find_centroid_pairs(groups, 0.1, search), centroid),
    ):
        there = np.triu(expected.round(6) >= 0.1, 1)
        assert np.array_equal(np.stack(found[:2]), np.stack(np.nonzero(there)))
        assert found.likeness == pytest.approx(expected[there], abs=2e-6)
    nearest = find_nearest_groups(groups, groups.totals, 3, block)
    assert np.array_equal(nearest.left, np.repeat(np.arange(n), min(3, n)))
    assert nearest.likeness.reshape(n, -1) == pytest.approx(
        -np.sort(-mean, axis=1)[:, :3], abs=2e-6
    )


@given(st.integers(0, 1 << 20), METRICS)
@settings(deadline=None, max_examples=30)
def test_the_extremes_are_those_of_a_plain_table(seed: int, metric: str) -> None:
    embeddings = sample(seed, metric)
    table, _ = table_of(embeddings)
    left, right = np.arange(0, len(table), 2), np.arange(1, len(table), 2)
    most, least = find_extremes(prepare(embeddings), left, right)
    part = table[np.ix_(left, right)]
    assert most[2] == pytest.approx(part.max(), abs=1e-6)
    assert least[2] == pytest.approx(part.min(), abs=1e-6)
    assert table[most[:2]] == pytest.approx(part.max(), abs=1e-6)
    assert table[least[:2]] == pytest.approx(part.min(), abs=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), metric=METRICS)
def test_the_nearest_row_of_another_part(seed: int, metric: str) -> None:
    embeddings = sample(seed, metric)
    table, groups = table_of(embeddings)
    vectors, rows = prepare(embeddings), np.arange(len(table))
    np.fill_diagonal(table, -np.inf)
    found = find_nearest_rows(vectors, rows, rows)
    assert found.left.tolist() == rows.tolist()
    assert found.likeness == pytest.approx(table.max(axis=1), abs=1e-6)
    assert table[found.left, found.right] == pytest.approx(table.max(axis=1), abs=1e-6)
    table[groups[:, None] == groups] = -np.inf
    apart = find_nearest_rows(vectors, rows, rows, (groups, groups))
    assert apart.likeness == pytest.approx(table.max(axis=1), abs=1e-6)
    assert not len(find_nearest_rows(vectors, rows[:1], rows[:1]).left)


def test_opposites_have_no_direction() -> None:
    """Check that the mean of opposite vectors, which is zero, matches nothing."""
    rows = np.array([[1, 2], [-1, -2], [1, 2], [2, 1]], "f4")
    groups = gather_groups(prepare(Embeddings(list("1234"), list("aabc"), rows, Model())))
    assert find_centroid_pairs(groups, 0.1).left.tolist() == [1]
    assert find_mean_pairs(groups, 0.1).left.tolist() == [1]


def test_rows_of_any_number_of_images_are_compared() -> None:
    """Compare sums of three images with identities of other image counts."""
    vectors = prepare(sample(3))
    groups = gather_groups(vectors)
    three = gather_images(vectors, groups, np.arange(3)).sum(axis=0, keepdims=True)
    found = find_nearest_groups(groups, np.concatenate([three, groups.totals[:2]]), 2)
    expected = groups.mean_likeness(groups.totals[:1], groups.totals[found.right[2:3]])
    assert found.likeness[2] == expected[0]


@given(st.integers(0, 1 << 20), METRICS)
@settings(deadline=None, max_examples=20)
def test_sums_are_exact(seed: int, metric: str) -> None:
    """Check that images added one by one, in any order, sum to their identity to the bit."""
    vectors = prepare(sample(seed, metric))
    groups = gather_groups(vectors)
    for group in range(len(vectors.names)):
        rows = np.random.default_rng(seed).permutation(vectors.rows_of([group]))
        total = sum(gather_images(vectors, groups, rows[at : at + 1]) for at in range(len(rows)))
        assert (total == groups.totals[group]).all()


_PROGRAM = """
import hashlib, sys, numpy as np
from faceprep.core.embeddings import Embeddings, Model
from functools import partial
from faceprep.identity.similarity import all_pairs
from faceprep.identity.vectors import prepare
from tests.people import find_pairs
rows = np.random.default_rng(5).normal(size=(1500, 96)).astype("f4")
names = [str(i) for i in range(1500)]
search = partial(all_pairs, block=int(sys.argv[1]))
found = find_pairs(prepare(Embeddings(names, names, rows, Model())), 0.2, search=search)
print(len(found.left), hashlib.sha256(b"".join(part.tobytes() for part in found)).hexdigest())
"""


def test_threads_and_blocks_change_no_byte() -> None:
    outputs = set()
    for threads, block in ((1, 4096), (2, 4096), (2, 700), (1, 333)):
        environment = os.environ | {
            "OPENBLAS_NUM_THREADS": str(threads),
            "OMP_NUM_THREADS": str(threads),
        }
        command = [sys.executable, "-c", _PROGRAM, str(block)]
        outputs.add(subprocess.check_output(command, text=True, cwd=ROOT, env=environment))
    assert len(outputs) == 1 and int(outputs.pop().split()[0]) > 1000


def test_equal_vectors_have_a_likeness_of_one() -> None:
    rows = np.repeat(np.random.default_rng(1).normal(size=(1, 512)).astype("f4"), 5, axis=0)
    lengths = np.array([[1], [2], [3], [5], [7]], "f4")
    found = find_pairs(
        prepare(Embeddings(list("abcde"), list("abcde"), rows * lengths, Model())), 1
    )
    assert len(found.left) == 10 and (found.likeness == 1).all()


def test_memory_mapped_vectors_are_read_in_blocks(tmp_path: Path) -> None:
    """Check that sums and extremes hold only a part of the 60 MB on disk in memory."""
    n, dim = 60_000, 256
    rows = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.float32, (n, dim))
    for at in range(0, n, 1000):
        rows[at : at + 1000] = np.random.default_rng(at).normal(size=(1000, dim))
    keys = [f"{i:06d}" for i in range(n)]
    names = [key[:4] for key in keys]
    tracemalloc.start()
    vectors = prepare(Embeddings(keys, names, np.load(tmp_path / "v.npy", mmap_mode="r"), Model()))
    groups = gather_groups(vectors)
    find_extremes(vectors, vectors.rows_of([0]), vectors.rows_of([1]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(groups) == 600 and peak < n * dim * 4 / 4
