"""Histograms and separable identities are those that a table of all pairs gives."""

from __future__ import annotations

import json

import numpy as np
import pytest

from faceprep.core.embeddings import EUCLIDEAN, Embeddings, Model
from faceprep.identity import distributions
from faceprep.identity.distributions import measure
from tests.people import MODEL, folders, person, photos, shuffled, town


@pytest.mark.parametrize("metric", ["cosine", EUCLIDEAN])
def test_it_is_what_a_table_of_all_pairs_gives(metric: str) -> None:
    town_ = town(40, 1, seed=4, within=0.5)
    rows = town_.vectors
    if metric == EUCLIDEAN:
        rows = 1.3 * rows / np.linalg.norm(rows, axis=1, keepdims=True) + np.float32(0.05)
    embeddings = Embeddings(town_.keys, town_.identities, rows, Model("m", metric))
    unit = rows.astype(float)
    if metric != EUCLIDEAN:
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    table = 1 - ((unit[:, None] - unit[None]) ** 2).sum(axis=2) / 2
    names = np.array(embeddings.identities)
    same, upper = names[:, None] == names[None], np.triu(np.ones_like(table, bool), 1)
    found = measure(embeddings)
    for side, mask in (("positive", same & upper), ("negative", ~same & upper)):
        assert found[side]["pairs"] == mask.sum() == sum(found["histogram"][side])
        assert found[side]["median"] == pytest.approx(
            max(np.quantile(table[mask], 0.5), -1), abs=0.003
        )
        exact = np.histogram(np.clip(table[mask], -1, 1), bins=100, range=(-1, 1))[0]
        steps = np.reshape(found["histogram"][side], (100, -1)).sum(axis=1)
        assert np.abs(exact - steps).sum() <= 0.05 * mask.sum() + 4
    table[np.eye(len(table), dtype=bool)] = np.inf
    separable = 0
    for name in set(names):
        own = names == name
        if own.sum() > 1:
            separable += table[np.ix_(own, ~own)].max() <= table[np.ix_(own, own)].min()
    assert found["separable"] == separable > 0
    assert found["separable"] < found["identities_of_two"] < found["identities"]


def test_neither_order_nor_blocks_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = town(40, 2, seed=6, within=0.5)
    found = measure(embeddings)
    assert measure(shuffled(embeddings, 1)) == found
    for block, rows in ((7, 3), (64, 100), (3, 64)):
        monkeypatch.setattr(distributions, "BLOCK", block)
        monkeypatch.setattr(distributions, "_ROWS", rows)
        assert measure(embeddings) == found


def test_whole_identities_are_drawn_from_large_sets() -> None:
    embeddings = town(60, 1, seed=6)
    found = measure(embeddings, most_images=50)
    assert 40 <= found["images"] <= 50 and found["of_images"] == len(embeddings)
    assert (
        measure(embeddings, most_images=50) == found != measure(embeddings, most_images=50, seed=1)
    )


def test_nothing_one_image_and_one_identity() -> None:
    nothing = measure(Embeddings([], [], np.zeros((0, 4), "f4"), MODEL))
    assert nothing["separable"] == 0 and nothing["negative"] == {"pairs": 0}
    one = measure(folders({"a": photos(person(1), 3, 1)}))
    assert one["separable"] == 1 and one["positive"]["pairs"] == 3 and one["negative"]["pairs"] == 0
    assert json.loads(json.dumps(one)) == one
