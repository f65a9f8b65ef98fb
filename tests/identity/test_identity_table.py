"""One row per identity, against a loop over all pairs of images."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from faceprep.core.embeddings import EUCLIDEAN, Embeddings, Model
from faceprep.identity.identity_table import measure_identities
from faceprep.identity.vectors import prepare


@pytest.mark.parametrize("metric", ["cosine", EUCLIDEAN])
def test_as_a_loop(metric: str) -> None:
    random = np.random.default_rng(3)
    rows = random.standard_normal((30, 5)).astype(np.float32)
    names = sorted(f"p{i}" for i in random.integers(0, 7, 30))
    keys = [f"{name}/{i:02d}" for i, name in enumerate(names)]
    embeddings = Embeddings(keys, names, rows, Model(metric=metric))
    vectors = prepare(embeddings)
    taken = vectors.take(np.arange(30))
    likeness = 1 - ((taken[:, None] - taken[None]) ** 2).sum(axis=2) / 2
    members = {name: [i for i, each in enumerate(names) if each == name] for name in set(names)}
    found = list(measure_identities(embeddings).rows())
    assert sorted(row.identity for row in found) == sorted(members)
    for row in found:
        own = members[row.identity]
        assert row.images == len(own)
        pairs = [likeness[a, b] for a, b in combinations(own, 2)]
        if pairs:
            assert row.within == pytest.approx(np.mean(pairs), abs=2e-6)
        else:
            assert row.within is None
        means = {
            other: likeness[np.ix_(own, theirs)].mean()
            for other, theirs in members.items()
            if other != row.identity
        }
        assert row.nearest == max(means, key=lambda name: means[name])
        assert row.likeness == pytest.approx(max(means.values()), abs=2e-6)


def test_a_single_identity_has_no_other() -> None:
    one = Embeddings(["a/1"], ["a"], np.ones((1, 2), np.float32), Model())
    (row,) = measure_identities(one).rows()
    assert row == ("a", 1, None, "", None)
