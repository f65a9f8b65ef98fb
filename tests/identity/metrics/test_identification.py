"""Searches in a gallery against a plain loop, ties, blocks, and galleries that cannot be."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

from faceprep.core.errors import SourceError
from faceprep.identity.metrics import identification as searches
from faceprep.identity.metrics.identification import Searches, judge_searches, search
from faceprep.identity.metrics.pooling import pair_likeness, scaled


def faces(
    n_people: int, n_images: int, seed: int, spread: float = 1.2
) -> tuple[np.ndarray, np.ndarray]:
    """(vectors of length 1, person of each)"""
    chance = np.random.default_rng(seed)
    centres = chance.normal(0, 1, (n_people, 16))
    people = np.repeat(np.arange(n_people), n_images)
    return scaled(
        (centres[people] + chance.normal(0, spread, (len(people), 16))).astype("f4"), "cosine"
    ), people


def plain(
    gallery: np.ndarray, ids: np.ndarray, probes: np.ndarray, probe_ids: np.ndarray
) -> tuple[list, list, list]:
    mates, ranks, strangers = [], [], []
    for probe, person in zip(probes, probe_ids, strict=True):
        likeness = [float(1 - np.sum((probe - entry) ** 2) / 2) for entry in gallery]
        if person in ids:
            mate = likeness[list(ids).index(person)]
            mates.append(mate)
            ranks.append(sum(each >= mate - 1e-7 for each in likeness))
        else:
            strangers.append(max(likeness))
    return mates, ranks, strangers


@pytest.mark.parametrize("block", [1, 50, 1 << 24])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_as_a_plain_loop(block: int, metric: str) -> None:
    vectors, people = faces(40, 4, seed=1)
    vectors = (
        vectors
        if metric == "cosine"
        else vectors * np.linspace(0.5, 1.5, len(vectors), dtype="f4")[:, None]
    )
    in_gallery = (np.arange(len(people)) % 4 == 0) & (people < 30)
    order = np.random.default_rng(2).permutation(np.flatnonzero(in_gallery))
    gallery, ids, probes, probe_ids = (
        vectors[order],
        people[order],
        vectors[~in_gallery],
        people[~in_gallery],
    )
    steps: list[tuple[int, int]] = []
    with mock.patch.object(searches, "_BLOCK", block):
        found = search(gallery, ids, probes, probe_ids, lambda *step: steps.append(step))
    assert steps == sorted(steps) and steps[-1] == (130, 130)
    mates, ranks, strangers = plain(gallery, ids, probes, probe_ids)
    np.testing.assert_allclose(found.mates, mates, atol=1e-5)
    np.testing.assert_allclose(found.strangers, strangers, atol=1e-5)
    assert found.ranks.tolist() == ranks
    told = judge_searches(found, len(gallery))
    assert (told.gallery, told.probes, told.non_mated) == (30, 90, 40)
    assert told.rank["5"] == np.mean(np.array(ranks) <= 5)
    assert told.rank["1"] < told.rank["20"]
    for name, n_allowed in (("1e-1", 4), ("1e-2", 0), ("1e-3", 0)):
        limit = sorted(strangers, reverse=True)[n_allowed]
        hits = np.mean(
            [mate > limit and rank == 1 for mate, rank in zip(mates, ranks, strict=True)]
        )
        assert told.tpir_at_fpir[name] == (hits if n_allowed else None)
    assert np.mean(found.strangers >= told.threshold_at_fpir["1e-1"]) <= 0.1


def test_a_model_that_gives_every_face_the_same_vector_finds_nobody() -> None:
    gallery = np.ones((7, 5), "f4")
    found = judge_searches(search(gallery, np.arange(7), np.ones((9, 5), "f4"), np.arange(9)), 7)
    assert found.rank == {"1": 0.0, "5": 0.0, "10": 1.0, "20": 1.0}
    assert (found.probes, found.non_mated) == (7, 2)


def test_a_hit_needs_the_first_rank_and_the_threshold() -> None:
    strangers = np.linspace(0.1, 0.5, 10, dtype="f4")
    found = judge_searches(
        Searches(np.array([0.9, 0.9, 0.3, 0.46, 0.45], "f4"), np.array([1, 2, 1, 1, 1]), strangers),
        9,
    )
    assert found.tpir_at_fpir["1e-1"] == pytest.approx(2 / 5), (
        "0.9 and 0.46 are above the second stranger, 0.4556"
    )
    assert found.rank["1"] == pytest.approx(4 / 5)


def test_without_mates_or_strangers() -> None:
    gallery = np.eye(3, dtype="f4")
    closed = judge_searches(search(gallery, np.arange(3), gallery, np.arange(3)), 3)
    assert (closed.rank["1"], set(closed.tpir_at_fpir.values())) == (1.0, {None})
    no_mates = judge_searches(search(gallery, np.arange(3), gallery, np.arange(3) + 5), 3)
    assert (set(no_mates.rank.values()), set(no_mates.tpir_at_fpir.values())) == ({None}, {None})
    nothing = judge_searches(search(gallery, np.arange(3), gallery[:0], np.arange(0)), 3)
    assert (nothing.probes, nothing.non_mated, nothing.rank["1"]) == (0, 0, None)


@pytest.mark.parametrize(
    ("ids", "line"), [([], "found none"), ([1, 1, 2], "found 3 of 2 identities")]
)
def test_galleries_that_cannot_be(ids: list[int], line: str) -> None:
    with pytest.raises(SourceError, match=line):
        search(
            np.eye(3, dtype="f4")[: len(ids)],
            np.array(ids, np.int64),
            np.eye(3, dtype="f4"),
            np.arange(3),
        )


def test_likeness_of_the_same_is_one() -> None:
    vectors, _ = faces(5, 2, seed=3)
    assert pair_likeness(vectors, vectors).tolist() == [1.0] * 10
    np.testing.assert_allclose(
        pair_likeness(vectors, vectors[::-1]), (vectors * vectors[::-1]).sum(1), atol=1e-6
    )


def test_curves_agree_with_the_figures() -> None:
    random = np.random.default_rng(5)
    mates, strangers = random.random(200, np.float32), random.random(150, np.float32)
    ranks = random.integers(1, 30, 200)
    found = judge_searches(Searches(mates, ranks, strangers), 40)
    assert len(found.cmc) == 40 and list(found.cmc) == sorted(found.cmc)
    assert [found.cmc[k - 1] for k in (1, 5, 10, 20)] == list(found.rank.values())
    for fpir, tpir, threshold in zip(*found.dir.values(), strict=True):
        assert fpir == np.mean(strangers >= threshold)
        assert tpir == np.mean((mates >= threshold) & (ranks == 1))
    assert found.tpir_at_fpir["1e-1"] in found.dir["tpir"]
    assert sum(found.histogram["negative"]) == 150
