"""Where the threshold lies between what a plan accepts and what it does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.types import ACCEPTED, DROP, MERGE, MOVE, Decision


class Threshold(NamedTuple):
    """Decisions with a score of `value` or more are accepted, or of `value` or less unless
    `at_least`.
    """

    value: float
    at_least: bool
    low: float
    high: float
    """The lowest and the highest score there is."""


def thresholds_of(
    decisions: Iterable[Decision], judged: Mapping[str, Any] | None = None
) -> dict[str, Threshold]:
    """By action, for those that have scores: the value that the plan was made with, where its first
    line says so, else the one that divides them best.

    >>> open_one = Decision("merge", "c", "b", 0.5, verdict="undecided")
    >>> thresholds_of([Decision("merge", "a", "b", 0.9), open_one])
    {'merge': Threshold(value=0.7, at_least=True, low=0.5, high=0.9)}
    """
    known, is_measure = _known(judged or {}), "drop_below" in _part(judged or {}, "options")
    rows: dict[str, list[tuple[float, bool]]] = {}
    for decision in decisions:
        if decision.score is not None:
            rows.setdefault(decision.action, []).append(
                (decision.score, decision.verdict == ACCEPTED)
            )
    return {
        action: _threshold(
            np.array(scored, np.float64), known.get(action), likely_up=not is_measure
        )
        for action, scored in rows.items()
    }


def _known(judged: Mapping[str, Any]) -> dict[str, float]:
    """The likeness from which on identities were merged, the angle from which on images were
    dropped or moved.
    """
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
    """Of rows score, 1 if accepted. `likely_up` decides where the value is known, or all or none is
    accepted: likeness speaks for a merge, an angle for an outlier, but a measure of sharpness
    against a drop.
    """
    scores, accepted = scored[:, 0], scored[:, 1] > 0
    low, high = float(scores.min()), float(scores.max())
    if known is not None:
        return Threshold(known, likely_up, low, high)
    if accepted.all() or not accepted.any():
        at_least, value = likely_up, low if likely_up == accepted.all() else high
    else:
        at_least = bool(scores[accepted].mean() >= scores[~accepted].mean())
        value = _best_cut(scores, accepted) if at_least else -_best_cut(-scores, accepted)
    return Threshold(value, at_least, low, high)


def _best_cut(scores: npt.NDArray[np.float64], accepted: npt.NDArray[np.bool_]) -> float:
    """Fewest accepted below and others above; halfway between two scores. Of several the lowest."""
    values, places = np.unique(scores, return_inverse=True)
    n_accepted = np.bincount(places, accepted)
    n_others = np.bincount(places) - n_accepted
    below = np.concatenate([[0], np.cumsum(n_accepted)])
    above = np.concatenate([np.cumsum(n_others[::-1])[::-1], [0]])
    cut = int(np.argmin(below + above))
    ends = np.concatenate([values[:1], values, values[-1:]])
    return float((ends[cut] + ends[cut + 1]) / 2)
