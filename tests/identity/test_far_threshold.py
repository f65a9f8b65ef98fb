"""The threshold at a stated rate is the one that counting all pairs gives."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import OptionError, SourceError
from faceprep.identity.far_threshold import threshold_at, wilson_interval
from tests.people import MODEL, folders, person, photos, shuffled, town


def impostors(embeddings: Embeddings) -> np.ndarray:
    unit = embeddings.vectors.astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    names = np.array(embeddings.identities)
    table = (unit @ unit.T)[np.triu(names[:, None] != names[None], 1)]
    return np.sort(table)[::-1]


@pytest.mark.parametrize("far", [0.3, 0.01, 0.002])
def test_it_is_what_counting_all_pairs_gives(far: float) -> None:
    embeddings = folders({f"p{i:02d}": photos(person(i), 5, i) for i in range(40)})
    found = threshold_at(embeddings, far)
    table = impostors(embeddings)
    assert found.n_pairs == len(table) == 40 * 39 // 2 * 25
    assert found.threshold == pytest.approx(table[int(far * len(table))], abs=2e-6)
    assert found.n_accepted == (table >= found.threshold - 5e-7).sum() == int(far * len(table))
    assert found.low < far < found.high and found.n_left_out == 0


def test_neither_order_nor_guess_changes_it() -> None:
    embeddings = folders({f"p{i:02d}": photos(person(i), 40, i) for i in range(40)})
    found = threshold_at(embeddings, 0.001)
    assert threshold_at(shuffled(embeddings, 3), 0.001) == found
    assert found.threshold == pytest.approx(
        impostors(embeddings)[int(0.001 * found.n_pairs)], abs=2e-6
    )


def test_people_under_two_names_are_left_out() -> None:
    """Else one pair of folders of one person would decide."""
    rows = {f"p{i:02d}": photos(person(i), 5, i) for i in range(40)}
    clean = threshold_at(folders(rows), 0.002)
    doubled = threshold_at(folders(rows | {"q": photos(person(0), 10, 99)}), 0.002)
    assert doubled.n_left_out == 50
    assert doubled.threshold == pytest.approx(clean.threshold, abs=0.02)
    blind = Model("blind", merge_from=2.0, undecided_from=0.3)
    assert (
        threshold_at(folders(rows | {"q": photos(person(0), 10, 99)}, blind), 0.002).threshold > 0.6
    )


def test_a_sample_of_images_is_close_and_repeatable() -> None:
    embeddings = town(60, 1, seed=3)
    some = threshold_at(embeddings, 0.01, most_pairs=6000)
    assert some == threshold_at(shuffled(embeddings, 1), 0.01, most_pairs=6000)
    assert some.n_images == 109 < len(embeddings)
    assert some.threshold == pytest.approx(threshold_at(embeddings, 0.01).threshold, abs=0.05)
    assert threshold_at(embeddings, 0.01, seed=1, most_pairs=6000) != some


def test_a_rate_that_the_pairs_cannot_support() -> None:
    embeddings = folders({f"p{i}": photos(person(i), 2, i) for i in range(5)})
    with pytest.raises(
        OptionError,
        match=r"10 / 1e-06 = 10,000,000 pairs .* found 40. Take a rate of 0.25 or more.",
    ):
        threshold_at(embeddings, 1e-6)
    for far in (0, 1, -0.1, float("nan")):
        with pytest.raises(OptionError, match="bad false-accept rate"):
            threshold_at(embeddings, far)
    with pytest.raises(OptionError, match="found 0$"):
        threshold_at(folders({"a": photos(person(1), 9, 1)}), 0.1)
    with pytest.raises(OptionError, match="found 0$"):
        threshold_at(Embeddings([], [], np.zeros((0, 4), "f4"), MODEL), 0.1)
    with pytest.raises(SourceError, match="1 not finite"):
        threshold_at(folders({"a": np.array([[np.inf, 1.0]])}), 0.1)


def test_the_interval_holds_the_true_rate_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    inside = [
        low <= 0.01 <= high
        for low, high in (wilson_interval(int(k), 2000) for k in random.binomial(2000, 0.01, 2000))
    ]
    assert 0.93 < np.mean(inside) < 0.98
