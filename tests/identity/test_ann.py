"""Tests that the approximate search finds most pairs and measures its recall."""

from __future__ import annotations

import importlib
from functools import partial

import numpy as np
import pytest

from faceprep.core.embeddings import EUCLIDEAN, Embeddings, Model
from faceprep.core.errors import MissingExtra
from faceprep.identity import ann
from faceprep.identity.ann import ApproximateSearch
from faceprep.identity.merge import plan_merges
from faceprep.identity.vectors import prepare
from tests.people import find_pairs, town


@pytest.fixture
def _index_even_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ann, "_SMALL", 10)


@pytest.mark.usefixtures("_index_even_for_few")
@pytest.mark.parametrize("metric", ["cosine", EUCLIDEAN])
def test_the_stated_recall_is_the_share_found(metric: str) -> None:
    town_ = town(300, 3, seed=1, within=0.6)
    rows = town_.vectors / np.linalg.norm(town_.vectors, axis=1, keepdims=True)
    vectors = prepare(Embeddings(town_.keys, town_.identities, 1.2 * rows, Model("m", metric)))
    exact = find_pairs(vectors, 0.4)
    for share, least in ((1.0, 1.0), (0.03, 0.3)):
        search = ApproximateSearch(n_sampled=len(vectors), share_probed=share)
        found = find_pairs(vectors, 0.4, search=search.search)
        pairs = {(i, j): likeness for i, j, likeness in zip(*exact, strict=True)}
        assert all(pairs[i, j] == likeness for i, j, likeness in zip(*found, strict=True))
        assert search.recall == pytest.approx(len(found.left) / len(pairs), abs=0.01)
        assert search.recall >= least
    assert search.recall < 1


@pytest.mark.usefixtures("_index_even_for_few")
def test_a_plan_states_the_recall() -> None:
    embeddings = town(60, 3, seed=1)
    merges = plan_merges(embeddings, approximate=True)
    assert merges.recall == 1
    assert merges == plan_merges(embeddings)


@pytest.mark.usefixtures("_index_even_for_few")
def test_a_plan_states_what_the_search_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = partial(ApproximateSearch, share_probed=0.03)
    monkeypatch.setattr("faceprep.identity.merge.ApproximateSearch", hasty)
    assert plan_merges(town(300, 3, seed=1, within=0.6), approximate=True).recall < 1


def test_small_sets_are_compared_exactly() -> None:
    embeddings = town(60, 3, seed=1)
    assert plan_merges(embeddings, approximate=True) == plan_merges(embeddings)


@pytest.mark.usefixtures("_index_even_for_few")
def test_an_error_without_faiss_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'faceprep\[embed\]'"):
        plan_merges(town(60, 3, seed=1), approximate=True)
