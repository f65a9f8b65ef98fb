"""Verification metrics: 10-fold accuracy, thresholds, EER, AUC, TAR at FAR and the ROC, from pair
scores.

A threshold accepts what is at least as high. Equal scores are accepted or refused together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Ints
from faceprep.core.errors import SourceError

Rates = Mapping[str, float | None]

N_FOLDS = 10
FARS = ("1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6")
_N_POINTS, _N_BINS = 100, 400


class Curve(NamedTuple):
    """Numbers of accepted pairs by threshold, from the strictest, which is infinite and accepts
    none.

    `thresholds` (k,) fall; `same` and `different` (k,) count accepted pairs of one person and of
    two.
    """

    thresholds: Doubles
    same: Ints
    different: Ints

    @property
    def tar(self) -> Doubles:
        share: Doubles = self.same / self.same[-1]
        return share

    @property
    def far(self) -> Doubles:
        share: Doubles = self.different / self.different[-1]
        return share


@dataclass(frozen=True)
class Judgement:
    """The result of `judge_pairs`.

    Rates are 0 to 1; None marks a figure that these pairs cannot measure.

    `accuracy`, `std` (of a population, as is usual) and `threshold` are means over the folds; each
    fold uses the best threshold of the others. `best_accuracy` uses the one best threshold of all
    pairs, so it says nothing about new data. `roc` has far, tar and threshold of a few points.
    `separable` says that every pair of one person scores higher than any of two; `threshold` and
    `best_threshold` are then the middle of the gap. `histogram` counts scores in equal bins, those
    outside in the outer ones.
    """

    pairs: int
    accuracy: float | None
    std: float | None
    threshold: float | None
    eer: float | None
    auc: float | None
    tar_at_far: Rates
    threshold_at_far: Rates
    best_threshold: float | None
    best_accuracy: float
    roc: Mapping[str, Sequence[float | None]]
    separable: bool
    histogram: Mapping[str, Any]


def judge_pairs(scores: npt.ArrayLike, same: npt.ArrayLike, n_folds: int = N_FOLDS) -> Judgement:
    """Judge n pairs by their `scores` (n,) and whether they are the `same` person (n,).

    Folds are consecutive, as in published sets; the first ones are longer by one if n is not a
    multiple. With `n_folds` 0 there are no folds and no accuracy over them. Among equally good
    thresholds the strictest wins, as in a search from the smallest distance; where the pairs are
    separable, the middle of the gap is returned in its place. Raises SourceError for fewer pairs
    than folds and for scores that are not finite.

    >>> found = judge_pairs([0.9, 0.2, 0.8, 0.3, 0.1], [True, False, True, False, True], n_folds=5)
    >>> found.best_threshold, found.best_accuracy, found.tar_at_far["1e-1"], round(found.eer, 3)
    (0.8, 0.8, None, 0.333)
    """
    values, truth = _checked(scores, same, n_folds)
    order, ranked, last_of = _rank(values)
    weights = np.where(truth, np.int8(1), np.int8(-1))[order]
    curve = _curve(ranked, weights, last_of)
    fold_of = _folds(len(values), n_folds)[order] if n_folds else None
    gap = _find_gap(values, truth)
    if fold_of is None:
        accuracy, std, threshold = (None,) * 3
    else:
        accuracy, std, threshold = _cross_validate(ranked, weights, last_of, fold_of)
    if gap is not None and threshold is not None:
        threshold = gap
    gain = curve.same - curve.different
    best, n_different = int(gain.argmax()), int(curve.different[-1])
    tars, at = _tar_at_far(curve)
    return Judgement(
        pairs=len(values),
        accuracy=accuracy,
        std=std,
        threshold=threshold,
        eer=_equal_error_rate(curve),
        auc=_area(curve),
        tar_at_far=tars,
        threshold_at_far=at,
        best_threshold=_finite(curve.thresholds[best]) if gap is None else gap,
        best_accuracy=(int(gain[best]) + n_different) / len(values),
        roc=_few_points(curve),
        separable=gap is not None,
        histogram=count_scores(values[truth], values[~truth]),
    )


def _checked(
    scores: npt.ArrayLike, same: npt.ArrayLike, n_folds: int
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]:
    values, truth = np.asarray(scores), np.asarray(same, np.bool_)
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    if values.ndim != 1 or values.shape != truth.shape:
        raise SourceError(
            "scores and labels",
            expected="equal numbers of both",
            found=f"{values.shape} and {truth.shape}",
        )
    least = max(n_folds, 1)
    if len(values) < least:
        problem = f"too few pairs for {n_folds} folds" if n_folds else "no pairs"
        raise SourceError(problem, expected=f"{least} or more", found=str(len(values)))
    if not np.isfinite(values).all():
        place = int(np.argmin(np.isfinite(values)))
        raise SourceError(
            "a score is not a finite number", where=f"pair {place}", found=str(values[place])
        )
    return values, truth


def _rank(values: npt.NDArray[np.floating]) -> tuple[Ints, npt.NDArray[np.floating], Ints]:
    """Return (order from the highest score, scores in that order, last position of each score)."""
    order = np.argsort(-values)
    ranked = values[order]
    return order, ranked, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))


def _curve(ranked: npt.NDArray[np.floating], weights: npt.NDArray[np.int8], last_of: Ints) -> Curve:
    """Build the curve from sorted scores, 1 for one person and -1 for two, and the last position of
    each score.
    """
    same = np.cumsum(weights > 0, dtype=np.int64)[last_of]
    thresholds = np.concatenate([[np.inf], ranked[last_of].astype(np.float64)])
    return Curve(thresholds, np.concatenate([[0], same]), np.concatenate([[0], last_of + 1 - same]))


def _folds(n: int, n_folds: int) -> npt.NDArray[np.int16]:
    """Return the fold of each pair."""
    sizes = np.full(n_folds, n // n_folds)
    sizes[: n % n_folds] += 1
    return np.repeat(np.arange(n_folds, dtype=np.int16), sizes)


def _cross_validate(
    ranked: npt.NDArray[np.floating],
    weights: npt.NDArray[np.int8],
    last_of: Ints,
    fold_of: npt.NDArray[np.int16],
) -> tuple[float, float, float | None]:
    """Return (accuracy, its deviation, threshold) over the folds.

    One sort serves all folds. `gain[k]` is the number of additional right answers if the first k
    pairs are accepted. A fold's own part of it is constant between two of its pairs, so there the
    largest gain on all pairs is the largest on the others.
    """
    gain = np.full(len(ranked) + 1, np.iinfo(np.int32).min // 2, np.int32)
    gain[0] = 0
    gain[last_of + 1] = np.cumsum(weights, dtype=np.int32)[last_of]
    n_folds = int(fold_of.max()) + 1
    accuracies, thresholds = np.empty(n_folds), np.empty(n_folds)
    for fold in range(n_folds):
        mine = np.flatnonzero(fold_of == fold)
        starts = np.concatenate([[0], mine + 1, [len(gain)]])
        own = np.concatenate([[0], np.cumsum(weights[mine], dtype=np.int32)])
        part = int((np.maximum.reduceat(gain, starts[:-1]) - own).argmax())
        cut = int(starts[part]) + int(gain[starts[part] : starts[part + 1]].argmax())
        accuracies[fold] = (own[part] + np.count_nonzero(weights[mine] < 0)) / len(mine)
        thresholds[fold] = ranked[cut - 1] if cut else np.inf
    return float(accuracies.mean()), float(accuracies.std()), _finite(thresholds.mean())


def _find_gap(values: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_]) -> float | None:
    """Return the middle between the pairs of one person and those of two; None without a gap."""
    if truth.all() or not truth.any():
        return None
    lowest, highest = float(values[truth].min()), float(values[~truth].max())
    if lowest <= highest:
        return None
    middle = (lowest + highest) / 2
    if values.dtype.type(middle) <= highest:  # neighbours in float32
        return lowest
    return middle


def count_scores(
    positive: npt.NDArray[np.floating], negative: npt.NDArray[np.floating]
) -> Mapping[str, Any]:
    """Count scores of both kinds in equal bins from -1 to 1; the outer bins include all beyond.

    >>> found = count_scores(np.array([1.0, 0.5]), np.array([-3.0]))
    >>> sum(found["positive"]), found["negative"][0]
    (2, 1)
    """
    kinds = {"positive": positive, "negative": negative}
    counts = {
        kind: np.histogram(np.clip(scores, -1, 1), _N_BINS, (-1, 1))[0].tolist()
        for kind, scores in kinds.items()
    }
    return {"from": -1.0, "to": 1.0} | counts


def _has_both(curve: Curve) -> bool:
    return bool(curve.same[-1] and curve.different[-1])


def _equal_error_rate(curve: Curve) -> float | None:
    """Find where the linearly interpolated ROC has as many false accepts as false rejects."""
    if not _has_both(curve):
        return None
    far, frr = curve.far, 1 - curve.tar
    after = int(np.argmax(far >= frr))
    before = frr[after - 1] - far[after - 1]
    share = before / (before + far[after] - frr[after])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


def _area(curve: Curve) -> float | None:
    if not _has_both(curve):
        return None
    twice = np.diff(curve.different) * (curve.same[1:] + curve.same[:-1])
    return float(twice.sum() / 2 / (float(curve.same[-1]) * float(curve.different[-1])))


def _tar_at_far(curve: Curve) -> tuple[Rates, Rates]:
    """Return the largest TAR and its threshold at a FAR of at most each of `FARS`.

    None below one false accept.
    """
    tars: dict[str, float | None] = dict.fromkeys(FARS)
    thresholds: dict[str, float | None] = dict.fromkeys(FARS)
    for name in FARS:
        n_allowed = n_allowed_at(name, int(curve.different[-1]))
        if n_allowed and curve.same[-1]:
            cut = int(np.searchsorted(curve.different, n_allowed, side="right")) - 1
            tars[name] = int(curve.same[cut]) / int(curve.same[-1])
            thresholds[name] = _finite(curve.thresholds[cut])
    return tars, thresholds


def n_allowed_at(rate: str, n: int) -> int:
    """Return how many of n may be accepted falsely at a rate such as 1e-3."""
    return n // n_needed_for(rate)


def n_needed_for(rate: str) -> int:
    """Return the number at which a rate such as 1e-3 allows one false accept.

    >>> n_needed_for("1e-1"), n_needed_for("1e-3")
    (10, 1000)
    """
    n_needed: int = 10 ** int(rate.removeprefix("1e-"))
    return n_needed


def _few_points(curve: Curve) -> Mapping[str, Sequence[float | None]]:
    """Select about 200 points: spread by ratio over false accepts and evenly over true accepts."""
    if not _has_both(curve):
        return {"far": [], "tar": [], "threshold": []}
    accepts = np.geomspace(1, curve.different[-1], _N_POINTS).round()
    at = np.searchsorted(curve.different, accepts, side="right") - 1
    by_tar = np.searchsorted(curve.same, np.linspace(0, curve.same[-1], _N_POINTS))
    chosen = np.unique(np.concatenate([at, by_tar, [0, len(curve.same) - 1]]))
    far, tar, thresholds = curve.far[chosen], curve.tar[chosen], curve.thresholds[chosen]
    return {
        "far": far.tolist(),
        "tar": tar.tolist(),
        "threshold": [_finite(value) for value in thresholds],
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
