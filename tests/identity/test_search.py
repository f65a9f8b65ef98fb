"""Search against a plain loop over all pairs, whatever the blocks and the order of the gallery."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.embeddings import EUCLIDEAN, Embeddings, Model
from faceprep.identity.search import find_closest, measure_margins
from faceprep.identity.vectors import Vectors, prepare


def people(n: int, n_identities: int, seed: int, metric: str = "cosine") -> Embeddings:
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, 6)).astype(np.float32)
    numbers = random.integers(0, n_identities, n)
    identities = [f"p{number}" for number in numbers]
    keys = [f"{name}/{i}" for i, name in enumerate(identities)]
    return Embeddings(keys, identities, rows, Model(metric=metric))


def by_loop(probes: Vectors, gallery: Vectors, n: int) -> list[tuple[int, str, float]]:
    """Return (probe, identity, likeness) of the closest identities, by comparing everything."""
    found = []
    for probe, vector in enumerate(probes.take(np.arange(len(probes)))):
        apart = gallery.take(np.arange(len(gallery))) - vector
        likeness = (1 - (apart**2).sum(axis=1) / 2).round(6)
        best: dict[str, float] = {}
        for row, value in enumerate(likeness.tolist()):
            name = gallery.names[int(gallery.group_of([row])[0])]
            best[name] = max(best.get(name, -np.inf), value)
        ranked = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:n]
        found += [(probe, name, value) for name, value in ranked]
    return found


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=20)
@pytest.mark.parametrize("metric", ["cosine", EUCLIDEAN])
def test_as_a_loop_over_all_pairs(
    metric: str, n: int, n_identities: int, top: int, seed: int
) -> None:
    gallery = prepare(people(n, n_identities, seed, metric))
    probes = prepare(people(5, 2, seed + 100, metric))
    for block in (1, 3, 4096):
        hits = find_closest(probes, gallery, top, block)
        names = [gallery.names[group] for group in hits.groups.tolist()]
        found = list(zip(hits.probes.tolist(), names, hits.likeness.tolist(), strict=True))
        assert found == by_loop(probes, gallery, top)
        assert (gallery.group_of(hits.rows) == hits.groups).all()


def test_a_set_in_itself_finds_each_image_first() -> None:
    """Even where several images have one vector."""
    embeddings = people(60, 9, 3)
    embeddings.vectors[20:40] = embeddings.vectors[0]
    vectors = prepare(embeddings)
    hits = find_closest(vectors, vectors, 2, block=7)
    first = hits.choose(hits.ranks == 1)
    assert first.probes.tolist() == first.rows.tolist() == list(range(60))
    assert (first.likeness == 1).all()


def test_the_order_of_the_gallery_changes_nothing() -> None:
    embeddings, probes = people(50, 7, 5), prepare(people(9, 2, 6))
    order = np.random.default_rng(1).permutation(50)
    keys, identities = (
        [column[i] for i in order] for column in (embeddings.keys, embeddings.identities)
    )
    shuffled = Embeddings(keys, identities, embeddings.vectors[order], embeddings.model)
    one, other = (find_closest(probes, prepare(each), 3) for each in (embeddings, shuffled))
    assert all((a == b).all() for a, b in zip(one, other, strict=True))


def test_margins_reach_to_the_next_identity() -> None:
    gallery = prepare(people(30, 3, 1))
    hits, margins = measure_margins(find_closest(gallery, gallery, 3), 2)
    assert (hits.ranks <= 2).all() and (margins >= 0).all()
    all_hits, all_margins = measure_margins(find_closest(gallery, gallery, 4), 3)
    assert np.isnan(all_margins[all_hits.ranks == 3]).all()
    assert np.isfinite(all_margins[all_hits.ranks < 3]).all()


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, probes = prepare(people(400, 50, 2)), prepare(people(30, 5, 3))
    wanted = find_closest(probes, gallery, 4, block=16)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("FACEPREP_CORES", "3")
    found = find_closest(probes, gallery, 4, block=16)
    assert all((a == b).all() for a, b in zip(found, wanted, strict=True))
