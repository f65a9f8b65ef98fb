"""Thresholds: those that a plan was made with are found again in its decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.types import Decision
from faceprep.pages.review.thresholds import thresholds_of

scores = st.lists(st.integers(-100, 100).map(lambda n: n / 100), min_size=2, max_size=30)


def decided(score: float, accepted: bool, action: str = "merge") -> Decision:
    into = "" if action == "drop" else "b"
    return Decision(action, "a", into, score, verdict="accepted" if accepted else "undecided")


@given(scores=scores, cut=st.integers(-100, 100).map(lambda n: n / 100 + 0.005), up=st.booleans())
def test_a_clean_cut_is_found(scores: list[float], cut: float, up: bool) -> None:
    """Whatever the direction, no decision lies on the wrong side."""
    passing = [(score >= cut) == up for score in scores]
    found = thresholds_of(
        decided(score, passes) for score, passes in zip(scores, passing, strict=True)
    )["merge"]
    assert (found.low, found.high) == (min(scores), max(scores))
    if len(set(passing)) == 2:
        assert found.at_least == up
        assert [(score >= found.value) == up for score in scores] == passing


@given(scores=scores, accepted=st.booleans(), is_measure=st.booleans())
def test_where_all_or_none_is_accepted_it_is_at_the_end(
    scores: list[float], accepted: bool, is_measure: bool
) -> None:
    judged = {"options": {"drop_below": ["smd=3"]} if is_measure else {}}
    found = thresholds_of([decided(score, accepted, "drop") for score in scores], judged)["drop"]
    assert found.at_least is not is_measure
    assert found.value == (min(scores) if accepted != is_measure else max(scores))


def test_known_thresholds() -> None:
    decisions = [
        decided(0.4, True),
        decided(76, True, "drop"),
        decided(75, True, "move"),
        decided(80, False, "move"),
    ]
    found = thresholds_of(decisions, {"summary": {"threshold": 0.1, "angle": 70}})
    assert {action: threshold.value for action, threshold in found.items()} == {
        "merge": 0.1,
        "drop": 70,
        "move": 70,
    }
    assert all(threshold.at_least for threshold in found.values()), "whatever is undecided"


@pytest.mark.parametrize(
    "judged", [{}, {"summary": None}, {"summary": {"threshold": "x"}}, {"options": [1]}]
)
def test_first_lines_that_know_none(judged: dict[str, object]) -> None:
    assert thresholds_of([decided(0.4, True)], judged)["merge"].value == 0.4


def test_without_scores() -> None:
    assert thresholds_of([Decision("drop", "a")]) == {}
