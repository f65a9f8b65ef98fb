"""Templates out of images: against a plain loop, whatever the order and the blocks."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

from faceprep.identity.metrics import pooling as module
from faceprep.identity.metrics.pooling import pool_templates, scaled


def drawn(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    chance = np.random.default_rng(1)
    templates, media = chance.integers(3, 40, n) * 7, chance.integers(0, 5, n)
    return (
        chance.normal(0, 1, (n, 8)).astype("f4"),
        templates,
        media,
        chance.uniform(0.1, 1, n).astype("f4"),
    )


@pytest.mark.parametrize("block", [1, 100, 1 << 24])
def test_as_the_field_pools_them(block: int) -> None:
    vectors, templates, media, weights = drawn(500)
    with mock.patch.object(module, "_BLOCK", block):
        numbers, pooled = pool_templates(vectors, templates, media, weights)
    assert numbers.tolist() == sorted(set(templates.tolist()))
    for number, vector in zip(numbers, scaled(pooled, "cosine"), strict=True):
        total = np.zeros(8)
        for medium in set(media[templates == number].tolist()):
            of_medium = (templates == number) & (media == medium)
            total += (vectors[of_medium] * weights[of_medium, None]).mean(axis=0)
        np.testing.assert_allclose(vector, total / np.linalg.norm(total), atol=1e-5)


def test_order_and_blocks_change_nothing() -> None:
    vectors, templates, media, weights = drawn(300)
    whole = pool_templates(vectors, templates, media, weights)[1].tobytes()
    with mock.patch.object(module, "_BLOCK", 64):
        assert pool_templates(vectors, templates, media, weights)[1].tobytes() == whole
    together = np.lexsort((media, templates))
    assert (
        pool_templates(vectors[together], templates[together], media[together], weights[together])[
            1
        ].tobytes()
        == whole
    )


def test_a_mean_keeps_the_scale_that_euclidean_likeness_needs() -> None:
    vectors = np.full((6, 4), 0.5, "f4")
    _, pooled = pool_templates(
        vectors,
        np.arange(6) // 3,
        np.array([0, 0, 1, 0, 1, 2]),
        np.array([0.9, 0.2, 1, 1, 0.1, 3], "f4"),
    )
    np.testing.assert_allclose(pooled, 0.5, rtol=1e-6)
    assert scaled(pooled, "euclidean") is pooled


def test_without_weight_or_length_there_is_no_vector() -> None:
    numbers, pooled = pool_templates(
        np.ones((3, 2), "f4"), np.array([1, 1, 2]), np.zeros(3, int), np.array([0, 0, 1], "f4")
    )
    assert numbers.tolist() == [1, 2] and np.isnan(pooled[0]).all() and (pooled[1] == 1).all()
    assert np.isnan(scaled(np.zeros((1, 3), "f4"), "cosine")).all()
    assert pool_templates(np.empty((0, 3), "f4"), *np.empty((2, 0), int), np.empty(0, "f4"))[
        1
    ].shape == (0, 3)
