"""Thresholds between the decisions that a plan accepts and the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.types import ACCEPTED, DROP, MERGE, MOVE, Decision


class Threshold(NamedTuple):
    """A threshold on scores: at least `value` is accepted, or at most `value` unless `at_least`."""

    value: float
    at_least: bool
    low: float
    high: float
    """`low` and `high` are the lowest and the highest score of the decisions."""


def thresholds_of(
    decisions: Iterable[Decision], judged: Mapping[str, Any] | None = None
) -> dict[str, Threshold]:
    """Return the threshold of each action that has scores.

    It is the value that the plan was made with, if its first line has one. Else it is the value
    that separates accepted from other decisions best.

    >>> open_one = Decision("merge", "c", "b", 0.5, verdict="undecided")
    >>> thresholds_of([Decision("merge", "a", "b", 0.9), open_one])
    {'merge': Threshold(value=0.7, at_least=True, low=0.5, high=0.9)}
    """
    judged = judged or {}
    known = _known(judged)
    likely_up = "drop_below" not in _part(judged, "options")
    rows: dict[str, list[tuple[float, bool]]] = {}
    for decision in decisions:
        if decision.score is not None:
            row = (decision.score, decision.verdict == ACCEPTED)
            rows.setdefault(decision.action, []).append(row)
    return {
        action: _threshold(np.array(scored, np.float64), known.get(action), likely_up)
        for action, scored in rows.items()
    }


def _known(judged: Mapping[str, Any]) -> dict[str, float]:
    """Return the plan's own values: the likeness for merges, the angle for drops and moves."""
    summary = _part(judged, "summary")
    angle = summary.get("angle")
    found = {MERGE: summary.get("threshold"), DROP: angle, MOVE: angle}
    return {
        action: float(value)
        for action, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _part(judged: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = judged.get(name)
    return part if isinstance(part, Mapping) else {}


def _threshold(scored: npt.NDArray[np.float64], known: float | None, likely_up: bool) -> Threshold:
    """Find the threshold of rows (score, 1 if accepted).

    `likely_up` gives the direction where the value is known, or where all or none are accepted. It
    is true for likeness and angles. It is false for a measure of sharpness, whose high values speak
    against a drop.
    """
    scores, accepted = scored[:, 0], scored[:, 1] > 0
    low, high = float(scores.min()), float(scores.max())
    if known is not None:
        return Threshold(known, likely_up, low, high)
    if accepted.all() or not accepted.any():
        value = low if likely_up == accepted.all() else high
        return Threshold(value, likely_up, low, high)
    at_least = bool(scores[accepted].mean() >= scores[~accepted].mean())
    value = _best_cut(scores, accepted) if at_least else -_best_cut(-scores, accepted)
    return Threshold(value, at_least, low, high)


def _best_cut(scores: npt.NDArray[np.float64], accepted: npt.NDArray[np.bool_]) -> float:
    """Find the cut with the fewest accepted below and others above; the lowest of several.

    It lies halfway between two scores.
    """
    values, places = np.unique(scores, return_inverse=True)
    n_accepted = np.bincount(places, accepted)
    n_others = np.bincount(places) - n_accepted
    below = np.concatenate([[0], np.cumsum(n_accepted)])
    above = np.concatenate([np.cumsum(n_others[::-1])[::-1], [0]])
    cut = int(np.argmin(below + above))
    padded = np.concatenate([values[:1], values, values[-1:]])
    return float((padded[cut] + padded[cut + 1]) / 2)
