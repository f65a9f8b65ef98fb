"""Figures of pairs: scikit-learn's on the same scores, laws, and sets that cannot tell."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from sklearn.metrics import auc, roc_curve
from sklearn.model_selection import KFold

from faceprep.core.errors import SourceError
from faceprep.identity.metrics.verification import FARS, judge_pairs


def drawn(
    n: int, seed: int, apart: float = 1.5, steps: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of n pairs, those of one person higher by `apart` deviations; with `steps`, many
    are equal.
    """
    chance = np.random.default_rng(seed)
    same = chance.random(n) < 0.5
    scores = chance.normal(0, 1, n) + same * apart
    return np.round(scores * steps) / steps if steps else scores, same


SETS = [
    drawn(6000, 1),
    drawn(6000, 2, steps=5),
    drawn(6000, 3, steps=1),
    drawn(613, 4),
    drawn(300, 5, apart=9),
]


def field_accuracy(scores: np.ndarray, same: np.ndarray) -> tuple[list[float], list[float]]:
    """The field's way with scikit-learn: for each fold the threshold of the other folds' ROC
    with most pairs right.
    """
    accuracies, chosen = [], []
    for train, test in KFold(10, shuffle=False).split(scores):
        far, tar, thresholds = roc_curve(same[train], scores[train], drop_intermediate=False)
        n_same = same[train].sum()
        right = np.round(tar * n_same) + np.round((1 - far) * (len(train) - n_same))
        chosen.append(thresholds[right.argmax()])
        accuracies.append(np.mean((scores[test] >= chosen[-1]) == same[test]))
    return accuracies, chosen


@pytest.mark.parametrize(("scores", "same"), SETS)
def test_equal_to_scikit_learn(scores: np.ndarray, same: np.ndarray) -> None:
    found = judge_pairs(scores, same)
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    strictest, *at = found.roc["threshold"]
    assert strictest is None and at[-1] == thresholds[-1]
    points = np.concatenate([[0], np.searchsorted(-thresholds, -np.array(at))])
    np.testing.assert_array_equal(thresholds[points[1:]], at)
    np.testing.assert_allclose(found.roc["far"], far[points], atol=1e-15)
    np.testing.assert_allclose(found.roc["tar"], tar[points], atol=1e-15)
    assert found.auc == pytest.approx(auc(far, tar), abs=1e-12)
    accuracies, chosen = field_accuracy(scores, same)
    assert found.accuracy == pytest.approx(np.mean(accuracies), abs=1e-12)
    assert found.std == pytest.approx(np.std(accuracies), abs=1e-12)
    lowest, highest = scores[same].min(), scores[~same].max()
    assert found.separable == (lowest > highest)
    if found.separable:  # the field takes the lowest score of one person, which is too strict
        assert found.threshold == found.best_threshold == (lowest + highest) / 2
    else:
        assert found.threshold == pytest.approx(np.mean(chosen), abs=1e-12)
    right = [np.mean((scores >= t) == same) for t in np.unique(scores)]
    assert found.best_accuracy == max(right)
    assert np.mean((scores >= found.best_threshold) == same) == found.best_accuracy
    fine = np.linspace(0, 1, 2_000_001)
    gap = 1 - np.interp(fine, far, tar) - fine
    assert found.eer == pytest.approx(fine[np.abs(gap).argmin()], abs=2e-6)
    for name, value in found.tar_at_far.items():
        if float(name) * (~same).sum() >= 1:
            assert value == tar[far <= float(name) + 1e-12].max()
            if found.threshold_at_far[name] is not None:
                assert np.mean(scores[same] >= found.threshold_at_far[name]) == value
        else:
            assert value is None and found.threshold_at_far[name] is None


def test_far_that_the_pairs_do_not_allow() -> None:
    scores, same = np.arange(300) / 300, np.arange(300) >= 200
    assert [judge_pairs(scores, same).tar_at_far[name] for name in FARS] == [
        1.0,
        1.0,
        None,
        None,
        None,
        None,
    ]
    assert judge_pairs(scores[100:], same[100:]).tar_at_far["1e-2"] == 1.0, (
        "100 of two people allow 1e-2"
    )
    assert judge_pairs(scores[101:], same[101:]).tar_at_far["1e-2"] is None, "99 do not"


def test_threshold_accepts_what_is_as_high() -> None:
    """All of one score go together: no threshold lies between equal scores."""
    scores, same = np.full(40, 0.5), np.arange(40) % 4 == 0
    found = judge_pairs(scores, same)
    assert (found.best_accuracy, found.best_threshold, found.threshold) == (0.75, None, None), (
        "accepting none is best"
    )
    assert (found.eer, found.auc) == (0.5, 0.5)
    assert found.tar_at_far["1e-1"] == 0.0
    assert judge_pairs(scores, ~same).best_threshold == 0.5


@given(st.data())
def test_laws(data: st.DataObject) -> None:
    n = data.draw(st.integers(10, 60))
    scores = data.draw(hn.arrays(np.float32, n, elements=st.integers(-4, 4).map(float)))
    same = data.draw(hn.arrays(np.bool_, n))
    found = judge_pairs(scores, same)
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["pairs"] == n
    assert 0 <= found.accuracy <= 1 and found.best_accuracy >= max(same.mean(), (~same).mean())
    if same.any() and not same.all():
        mirrored = judge_pairs(-scores, ~same)
        assert mirrored.eer == pytest.approx(found.eer) and mirrored.auc == pytest.approx(found.auc)
        assert found.tar_at_far["1e-1"] is None or found.tar_at_far["1e-1"] <= 1
        accuracies, _ = (
            field_accuracy(scores, same) if _folds_have_both(same) else ([found.accuracy], [])
        )
        assert found.accuracy == pytest.approx(np.mean(accuracies))
    stretched = judge_pairs(scores.astype(np.float64) * 2 + 3, same)
    assert stretched.accuracy == found.accuracy, (
        "the figures depend on the order of the scores alone"
    )


def _folds_have_both(same: np.ndarray) -> bool:
    return all(0 < same[train].sum() < len(train) for train, _ in KFold(10).split(same))


def test_folds_are_consecutive() -> None:
    """A tenth with labels that are all wrong costs a tenth, whatever is best for itself."""
    scores, same = np.tile([0.9, 0.1], 100), np.tile([True, False], 100)
    same[:20] = ~same[:20]
    found = judge_pairs(scores, same)
    assert (found.accuracy, found.best_accuracy) == (0.9, 0.9)
    assert found.std == pytest.approx(0.3)


def test_one_kind_alone() -> None:
    for same in (np.ones(20, bool), np.zeros(20, bool)):
        found = judge_pairs(np.arange(20.0), same)
        assert (found.eer, found.auc, found.roc["far"]) == (None, None, [])
        assert set(found.tar_at_far.values()) == {None}
        assert found.accuracy >= 0.9 and found.best_accuracy == 1.0


def test_roc_is_thinned_and_ends_at_the_ends() -> None:
    scores, same = drawn(50_000, 7)
    roc = judge_pairs(scores, same).roc
    assert 100 < len(roc["far"]) <= 210
    assert (roc["far"][0], roc["tar"][0], roc["threshold"][0]) == (0.0, 0.0, None)
    assert (roc["far"][-1], roc["tar"][-1]) == (1.0, 1.0)
    assert roc["far"] == sorted(roc["far"]) and roc["tar"] == sorted(roc["tar"])
    assert min(far for far in roc["far"] if far) == 1 / (~same).sum()
    assert auc(roc["far"], roc["tar"]) == pytest.approx(judge_pairs(scores, same).auc, abs=2e-3)


@pytest.mark.parametrize(
    ("scores", "same", "line"),
    [
        ([0.1] * 9, [True] * 9, "too few pairs for 10 folds: expected 10 or more, found 9"),
        ([], [], "too few pairs"),
        (
            [0.1] * 11 + [np.nan],
            [True] * 12,
            "a score is not a finite number at pair 11: found nan",
        ),
        ([0.1] * 11 + [np.inf], [True] * 12, "found inf"),
        ([0.1] * 12, [True] * 11, r"found \(12,\) and \(11,\)"),
    ],
)
def test_what_cannot_be_judged(scores: list[float], same: list[bool], line: str) -> None:
    with pytest.raises(SourceError, match=line):
        judge_pairs(scores, same)


def test_a_million_pairs_take_a_second_or_two() -> None:
    scores, same = drawn(1_000_000, 8)
    started = time.process_time()
    judge_pairs(scores.astype(np.float32), same)
    assert time.process_time() - started < 5


def test_histogram_counts_every_pair() -> None:
    scores, same = np.linspace(-3, 1.5, 90), np.arange(90) % 3 == 0
    found = judge_pairs(scores, same).histogram
    assert sum(found["positive"]) == same.sum() and sum(found["negative"]) == (~same).sum()
    assert len(found["positive"]) == 400 and (found["from"], found["to"]) == (-1, 1)


def test_the_middle_of_a_gap_that_float32_cannot_hold() -> None:
    low = np.float32(0.5)
    scores = np.tile(np.array([low, np.nextafter(low, np.float32(1))]), 10)
    found = judge_pairs(scores, np.arange(20) % 2 == 1)
    assert found.best_accuracy == 1 == np.mean((scores >= found.best_threshold) == (scores > low))
