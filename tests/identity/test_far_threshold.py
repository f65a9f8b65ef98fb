"""The threshold at a stated rate is the one that counting all pairs of identities gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import OptionError, SourceError
from faceprep.identity.far_threshold import FarThreshold, threshold_at
from faceprep.identity.linkage import CENTROID, LINKAGES, MEAN, SINGLE
from faceprep.identity.merge import LikelyPairs
from faceprep.synthetic.town import NOBODY, TownRule, draw_town
from tests.people import MODEL, folders, person, photos, shuffled, town


def strangers(n: int, n_images: int = 5) -> dict[str, np.ndarray]:
    return {f"p{i:02d}": photos(person(i), n_images, i) for i in range(n)}


def likenesses(embeddings: Embeddings, linkage: str) -> np.ndarray:
    """Return the likeness of all pairs of identities, greatest first, without any shortcut."""
    unit = embeddings.vectors.astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    names = np.array(embeddings.identities)
    rows = [unit[names == name] for name in sorted(set(names))]

    def compare() -> Iterator[float]:
        for at, one in enumerate(rows):
            for other in rows[at + 1 :]:
                table = one @ other.T
                if linkage == MEAN:
                    yield table.mean()
                elif linkage == CENTROID:
                    a, b = one.mean(axis=0), other.mean(axis=0)
                    yield a @ b / np.linalg.norm(a) / np.linalg.norm(b)
                else:
                    yield table.max() if linkage == SINGLE else table.min()

    return np.sort(np.array(list(compare())))[::-1]


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("far", [0.3, 0.05])
def test_it_is_what_counting_all_pairs_gives(far: float, linkage: str) -> None:
    embeddings = folders(strangers(40), MODEL)
    found = threshold_at(embeddings, far, linkage)
    assert found.n_pairs + found.n_left_out == 40 * 39 // 2 and found.n_identities == 40
    table = likenesses(embeddings, linkage)[found.n_left_out :]
    assert found.n_accepted == (table >= found.threshold - 1e-6).sum()
    assert found.high == found.n_accepted / found.n_pairs
    n_undecided = (table >= MODEL.undecided_from).sum()
    expected = found.n_accepted - 0.25 * min(n_undecided, found.n_accepted)
    assert expected == pytest.approx(far * found.n_pairs, abs=1)


def test_the_order_does_not_change_it() -> None:
    embeddings = folders(strangers(40))
    found = threshold_at(embeddings, 0.05)
    assert threshold_at(shuffled(embeddings, 3), 0.05) == found


def test_people_under_two_names_are_left_out() -> None:
    """Else one pair of folders of one person would decide."""
    clean = threshold_at(folders(strangers(40)), 0.02)
    doubled = threshold_at(folders(strangers(40) | {"q": photos(person(0), 10, 99)}), 0.02)
    assert doubled.n_left_out == 1
    assert doubled.threshold == pytest.approx(clean.threshold, abs=0.02)


def test_both_rates_are_told_where_pairs_are_undecided() -> None:
    twin = 0.55 * person(0, 512) + np.sqrt(1 - 0.55**2) * person(99, 512)
    rows = {f"p{i:02d}": photos(person(i, 512), 5, i) for i in range(40)}
    found = threshold_at(folders(rows | {"q": photos(twin, 10, 99)}), 0.02)
    assert found.high - found.low == pytest.approx(1 / found.n_pairs)


def test_a_rate_above_what_undecided_pairs_count_for_takes_all_pairs() -> None:
    all_undecided = replace(MODEL, merge_from=1.0, undecided_from=-1.0)
    found = threshold_at(folders(strangers(20), all_undecided), 0.9)
    assert (found.low, found.high, found.n_accepted) == (0, 1, 190)


def test_a_sample_of_identities_is_close_and_repeatable() -> None:
    embeddings = town(90, 1, seed=3)
    some = threshold_at(embeddings, 0.02, most_pairs=1800)
    assert some == threshold_at(shuffled(embeddings, 1), 0.02, most_pairs=1800)
    assert some.n_identities == 60
    assert some.threshold == pytest.approx(threshold_at(embeddings, 0.02).threshold, abs=0.08)
    assert threshold_at(embeddings, 0.02, seed=1, most_pairs=1800) != some


@pytest.mark.parametrize("n_blurry", [0, 20])
def test_the_real_rate_of_a_town_is_within_a_factor_of_three(n_blurry: int) -> None:
    """A rate that the town cannot support is refused, and the smallest one is named and holds."""
    drawn = draw_town(TownRule(400, n_blurry=n_blurry), 5)
    owners = np.where(drawn.owners == NOBODY, -1 - np.arange(len(drawn.owners)), drawn.owners)
    pairs = LikelyPairs(drawn.embeddings, MEAN).find(-1.0)
    impostors = pairs.likeness[owners[pairs.left] != owners[pairs.right]]

    def check(far: float) -> FarThreshold:
        found = threshold_at(drawn.embeddings, far)
        assert 1 / 3 < (impostors >= found.threshold).mean() / far < 3
        return found

    assert check(1e-2).threshold < check(1e-3).threshold < check(3e-4).threshold
    with pytest.raises(OptionError, match=r"Take a rate of 0\.00013 or more"):
        threshold_at(drawn.embeddings, 1e-5)
    check(1.3e-4)


def test_a_rate_that_the_pairs_cannot_support() -> None:
    embeddings = folders({f"p{i}": photos(person(i), 2, i) for i in range(8)})
    with pytest.raises(
        OptionError,
        match=r"10 / 1e-06 = 10,000,000 pairs .* found 28. Take a rate of 0.36 or more.",
    ):
        threshold_at(embeddings, 1e-6)
    for far in (0, 1, -0.1, float("nan")):
        with pytest.raises(OptionError, match="invalid false accept rate"):
            threshold_at(embeddings, far)
    with pytest.raises(OptionError, match="found 0$"):
        threshold_at(folders({"a": photos(person(1), 9, 1)}), 0.1)
    with pytest.raises(OptionError, match="found 0$"):
        threshold_at(Embeddings([], [], np.zeros((0, 4), "f4"), MODEL), 0.1)
    with pytest.raises(SourceError, match="1 not finite"):
        threshold_at(folders({"a": np.array([[np.inf, 1.0]])}), 0.1)
