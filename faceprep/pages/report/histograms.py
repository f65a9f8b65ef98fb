"""How numbers are spread: quantiles, histograms, and which rows stand at which percentile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
EXAMPLES = (1, 25, 50, 75, 99)
_BINS = 40


def describe(values: Numbers) -> dict[str, Any]:
    """Count, mean, least, greatest and percentiles of what is finite; `missing` counts the rest.

    Percentiles lie between two values in proportion, as NumPy and pandas have them.

    >>> found = describe(np.array([1.0, 2.0, 3.0, np.nan]))
    >>> found["n"], found["missing"], found["mean"], found["p50"]
    (3, 1, 2.0, 2.0)
    """
    sound = _finite(values)
    told: dict[str, Any] = {"n": len(sound), "missing": len(values) - len(sound)}
    if not len(sound):
        return told
    told |= {"mean": float(sound.mean()), "min": float(sound.min()), "max": float(sound.max())}
    quantiles = np.percentile(sound, PERCENTILES)
    return told | {f"p{p}": float(value) for p, value in zip(PERCENTILES, quantiles, strict=True)}


def linear_edges(
    values: Numbers, low: float | None = None, high: float | None = None, bins: int = _BINS
) -> Numbers:
    """Edges of `bins` even steps from the least to the greatest value, or from `low` to `high`."""
    sound = _finite(values)
    first = (
        low if low is not None else float(sound.min(initial=0.0) if not len(sound) else sound.min())
    )
    last = high if high is not None else float(sound.max() if len(sound) else 1.0)
    return np.linspace(first, last if last > first else first + 1, bins + 1)


def log_edges(values: Numbers, bins: int = _BINS) -> Numbers:
    """Edges of steps that grow in proportion, over what is positive.

    >>> log_edges(np.array([1.0, 100.0]), 2).round(6).tolist()
    [1.0, 10.0, 100.0]
    """
    sound = _finite(values)
    positive = sound[sound > 0]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (1.0, 10.0)
    edges = np.geomspace(low, high if high > low else low * 10, bins + 1)
    edges[0] = low
    return edges


def whole_edges(most: int) -> list[int]:
    """1, 2, 3 … past `most`; where that is many, 1, 2, 3, 5, 9, 17 …: steps of one, one, two, four,
    eight.

    >>> whole_edges(5), whole_edges(100)
    ([1, 2, 3, 4, 5, 6], [1, 2, 3, 5, 9, 17, 33, 65, 129])
    """
    if most <= _BINS:
        return list(range(1, most + 2))
    edges = [1, 2]
    while edges[-1] <= most:
        edges.append(2 * edges[-1] - 1)
    return edges


def count(values: Numbers, edges: Numbers | Sequence[float]) -> list[int]:
    """How many of the finite values are in each step; what is beyond an end is in the last step
    there.
    """
    inside = np.clip(_finite(values), edges[0], edges[-1])
    return [int(n) for n in np.histogram(inside, edges)[0]]


def as_json(values: Numbers, edges: Numbers) -> dict[str, Any]:
    """`describe` and the histogram."""
    return describe(values) | {
        "edges": [float(edge) for edge in edges],
        "counts": count(values, edges),
    }


def rows_at(values: Numbers, can_be_shown: npt.NDArray[np.bool_]) -> Mapping[int, int]:
    """Percentile -> the row that stands there among those that are finite and can be shown; the
    first of equals.

    >>> rows_at(np.array([5.0, 1.0, 9.0]), np.array([True, True, True]))
    {1: 1, 25: 0, 50: 0, 75: 2, 99: 2}
    """
    rows = np.flatnonzero(np.isfinite(values) & can_be_shown)
    if not len(rows):
        return {}
    order = rows[np.argsort(values[rows], kind="stable")]
    return {p: int(order[int(p / 100 * (len(order) - 1) + 0.5)]) for p in EXAMPLES}


def _finite(values: Numbers) -> Numbers:
    as_doubles = np.asarray(values, np.float64)
    sound: Numbers = as_doubles[np.isfinite(as_doubles)]
    return sound
