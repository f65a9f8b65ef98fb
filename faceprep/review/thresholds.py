"""Where the threshold lies between what a plan accepts and what it does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.formats.plan_jsonl import DROP
from faceprep.types import ACCEPTED, Decision


class Threshold(NamedTuple):
    """Decisions with a score of `value` or more are accepted, or of `value` or less unless `at_least`."""

    value: float
    at_least: bool
    low: float
    high: float
    """The lowest and the highest score there is."""


def thresholds_of(decisions: Iterable[Decision], known: float | None = None) -> dict[str, Threshold]:
    """By action, for those that have scores; the value is the `known` one, or where it divides them best.

    >>> thresholds_of([Decision("merge", "a", "b", 0.9), Decision("merge", "c", "b", 0.5, verdict="undecided")])
    {'merge': Threshold(value=0.7, at_least=True, low=0.5, high=0.9)}
    """
    rows: dict[str, list[tuple[float, bool]]] = {}
    with_kept = set()
    for decision in decisions:
        if decision.score is not None:
            rows.setdefault(decision.action, []).append((decision.score, decision.verdict == ACCEPTED))
            if "kept" in decision.evidence:
                with_kept.add(decision.action)
    return {
        action: _threshold(np.array(scored, np.float64), known, likely_up=action != DROP or action in with_kept)
        for action, scored in rows.items()
    }


def _threshold(scored: npt.NDArray[np.float64], known: float | None, likely_up: bool) -> Threshold:
    """Of rows score, 1 if accepted. `likely_up` decides where all or none is accepted: likeness speaks for a merge,
    for a copy of what is kept and so on, but a measure for keeping an image.
    """
    scores, accepted = scored[:, 0], scored[:, 1] > 0
    low, high = float(scores.min()), float(scores.max())
    if accepted.all() or not accepted.any():
        at_least, value = likely_up, low if likely_up == accepted.all() else high
    else:
        at_least = bool(scores[accepted].mean() >= scores[~accepted].mean())
        value = _best_cut(scores, accepted) if at_least else -_best_cut(-scores, accepted)
    return Threshold(value if known is None else known, at_least, low, high)


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
