"""The section about verification: accuracy, searches, curves and histograms of each embedder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faceprep.core.arrays import Doubles
from faceprep.core.text import count_noun
from faceprep.pages.report.section_similarity import format_rate, trim_histogram
from faceprep.pages.report.sections import Curves, Histogram, Part, Section, Table

_MOST_LINES = 8
"""Curves in one picture that a reader can still distinguish."""
_CURVE_TITLES = {
    "roc": "ROC: true against false accepts",
    "det": "DET: false rejects against false accepts",
    "cmc": "CMC: mates among the first ranks",
    "dir": "DIR: mates found against strangers accepted",
}


def verification_section(printed: Mapping[str, Any]) -> Section:
    """Describe what `verify --json` printed: accuracy, EER, TAR at FAR, curves and histograms.

    With several embedders, the name of each follows that of the set.
    """
    results: Sequence[Mapping[str, Any]] = _name_embedders(
        [one for one in printed.get("results", ()) if isinstance(one, Mapping)]
    )
    pairs = [one for one in results if "pairs" in one]
    searches = [one for one in results if "rank" in one]
    parts: list[Part] = []
    if pairs:
        parts.append(_pairs_table(pairs))
        parts += [curves for kind in ("roc", "det") for curves in _curves(pairs, kind)]
        parts += _histograms(pairs)
    if searches:
        parts.append(_rates_table(searches, "rank", "Searches: mate among the first"))
        parts.append(_rates_table(searches, "tpir_at_fpir", "Searches: TPIR at FPIR"))
        parts += [curves for kind in ("cmc", "dir") for curves in _curves(searches, kind)]
        parts += _histograms(searches)
    keys = ("embedder", "model", "metric", "flip", "by_status")
    numbers = {key: printed.get(key) for key in keys}
    text = (
        f"{count_noun(len(results), 'result')} of the embedder {printed.get('embedder', '?')}. "
        "Thresholds are similarities."
    )
    return Section("verification", "Verification", numbers | {"results": results}, parts, text)


def _name_embedders(results: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if len({one.get("embedder") for one in results}) <= 1:
        return results
    return [
        dict(one) | {"name": f"{one.get('name', '')}, {one.get('embedder', '')}"} for one in results
    ]


def _histograms(results: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Draw the scores of each result that has them, with its threshold."""
    axis, parts = "similarity (cosine, or 1 - distance²/2)", list[Part]()
    for one in [one for one in results if one.get("histogram")][:_MOST_LINES]:
        threshold = one.get("threshold") or one.get("best_threshold")
        marks = {}
        if threshold is not None:
            marks = {f"threshold {threshold:.4g}": threshold}
        edges, series = trim_histogram(one["histogram"], threshold)
        title = f"Scores of {one.get('name', '')}"
        parts.append(Histogram(title, axis, edges, series, "share", marks, as_shares=True))
    return parts


def _pairs_table(pairs: Sequence[Mapping[str, Any]]) -> Table:
    """List accuracy, EER and TAR at FAR of each set of pairs."""
    rates = list(pairs[0].get("tar_at_far") or {})
    rows = [
        (
            str(one.get("name", "")),
            one["pairs"],
            _percent(one.get("accuracy")),
            _percent(one.get("std")),
            format_rate(one.get("threshold")),
            _percent(one.get("eer")),
            *(_percent((one.get("tar_at_far") or {}).get(rate)) for rate in rates),
        )
        for one in pairs
    ]
    header = (
        "set",
        "pairs",
        "accuracy",
        "±",
        "threshold",
        "EER",
        *(f"TAR at {rate}" for rate in rates),
    )
    return Table("Pairs", header, rows)


def _curves(results: Sequence[Mapping[str, Any]], kind: str) -> list[Curves]:
    """Draw the curves of all results with points, by `kind`."""
    lines = {}
    for one in results:
        xs, ys = _points(one, kind)
        if len(xs) and len(xs) == len(ys):
            lines[str(one.get("name", ""))] = (xs.tolist(), ys.tolist())
    if not lines:
        return []
    title = _CURVE_TITLES[kind]
    if len(lines) > _MOST_LINES:
        title += f", the first {_MOST_LINES} of {len(lines)} sets"
    return [Curves(title, kind, dict(list(lines.items())[:_MOST_LINES]))]


def _points(one: Mapping[str, Any], kind: str) -> tuple[Doubles, Doubles]:
    """Return the points of one curve, empty where the result has none."""
    if kind == "cmc":
        shares = np.array(one.get("cmc") or [], np.float64)
        return np.arange(1, len(shares) + 1, dtype=np.float64), shares
    name, across, upward = ("roc", "far", "tar")
    if kind == "dir":
        name, across, upward = ("dir", "fpir", "tpir")
    curve = one.get(name) or {}
    xs, ys = (np.array(curve.get(axis) or [], np.float64) for axis in (across, upward))
    if kind == "det":
        ys = 1 - ys
    return xs, ys


def _rates_table(searches: Sequence[Mapping[str, Any]], key: str, title: str) -> Table:
    """List the rates that each search has under `key`."""
    rates = list(searches[0].get(key) or {})
    rows = []
    for one in searches:
        found = one.get(key) or {}
        shares = [_percent(found.get(rate)) for rate in rates]
        rows.append((str(one.get("name", "")), one.get("probes"), *shares))
    return Table(title, ("set", "probes", *map(str, rates)), rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
