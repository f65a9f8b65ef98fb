"""Distributions of numbers: quantiles, histograms, and the row at each percentile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Numbers

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
EXAMPLES = (1, 25, 50, 75, 99)
_BINS = 40
LARGEST = 1e100
"""A number as large as this is not a measurement, and sums of such numbers may be infinite."""


def describe(values: Numbers) -> dict[str, Any]:
    """Compute count, mean, range and percentiles of the sound values; `missing` counts the others.

    Values are sound if they are finite and smaller than `LARGEST`.

    Percentiles are interpolated linearly, as by default in NumPy and pandas.

    >>> found = describe(np.array([1.0, 2.0, 3.0, np.nan]))
    >>> found["n"], found["missing"], found["mean"], found["p50"]
    (3, 1, 2.0, 2.0)
    """
    sound = _sound(values)
    stats: dict[str, Any] = {"n": len(sound), "missing": len(values) - len(sound)}
    if not len(sound):
        return stats
    stats |= {"mean": float(sound.mean()), "min": float(sound.min()), "max": float(sound.max())}
    quantiles = np.percentile(sound, PERCENTILES)
    return stats | {f"p{p}": float(value) for p, value in zip(PERCENTILES, quantiles, strict=True)}


def linear_edges(
    values: Numbers, low: float | None = None, high: float | None = None, bins: int = _BINS
) -> Numbers:
    """Return the edges of `bins` equal bins from the minimum to the maximum of `values`.

    `low` and `high` replace the minimum and the maximum.
    """
    sound = _sound(values)
    if not len(sound):
        sound = np.array([0.0, 1.0])
    if low is None:
        low = float(sound.min())
    if high is None:
        high = float(sound.max())
    if high <= low:
        high = low + 1
    return np.linspace(low, high, bins + 1)


def log_edges(values: Numbers, bins: int = _BINS) -> Numbers:
    """Return the edges of bins of equal width on a logarithmic axis, over the positive values.

    >>> log_edges(np.array([1.0, 100.0]), 2).round(6).tolist()
    [1.0, 10.0, 100.0]
    """
    sound = _sound(values)
    positive = sound[sound > 0]
    low, high = 1.0, 10.0
    if len(positive):
        low, high = float(positive.min()), float(positive.max())
    if high <= low:
        high = low * 10
    edges = np.geomspace(low, high, bins + 1)
    edges[0] = low
    return edges


def whole_edges(most: int) -> list[int]:
    """Return the edges 1, 2, 3 … past `most`, or 1, 2, 3, 5, 9, 17 … if they were too many.

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
    """Count the sound values in each bin; the first and the last bin include all beyond them."""
    inside = np.clip(_sound(values), edges[0], edges[-1])
    return [int(n) for n in np.histogram(inside, edges)[0]]


def as_json(values: Numbers, edges: Numbers) -> dict[str, Any]:
    """Return the statistics of `describe` together with the histogram."""
    return describe(values) | {
        "edges": [float(edge) for edge in edges],
        "counts": count(values, edges),
    }


def rows_at(values: Numbers, is_shown: npt.NDArray[np.bool_]) -> Mapping[int, int]:
    """Return the row at each percentile of the finite values that can be shown.

    Rows of equal values are taken in order.

    >>> rows_at(np.array([5.0, 1.0, 9.0]), np.array([True, True, True]))
    {1: 1, 25: 0, 50: 0, 75: 2, 99: 2}
    """
    rows = np.flatnonzero(np.isfinite(values) & is_shown)
    if not len(rows):
        return {}
    order = rows[np.argsort(values[rows], kind="stable")]
    places = {p: int(p / 100 * (len(order) - 1) + 0.5) for p in EXAMPLES}
    return {p: int(order[place]) for p, place in places.items()}


def _sound(values: Numbers) -> Numbers:
    as_doubles = np.asarray(values, np.float64)
    sound: Numbers = as_doubles[np.abs(as_doubles) < LARGEST]
    return sound
