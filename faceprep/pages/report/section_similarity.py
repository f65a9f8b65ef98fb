"""Sections about the similarity of pairs of images, and about the decisions of a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.text import count_noun
from faceprep.core.types import ACCEPTED, MERGE, Decision
from faceprep.pages.report.histograms import LARGEST, count, describe, linear_edges
from faceprep.pages.report.sections import Cell, Histogram, Part, Section, Table

LIKENESS_KEYS = ("pairs", "0.001", "0.01", "median", "0.99", "0.999")
_N_NAMED = 10
_MOST_OVERLAP = 1000
_OVERLAP = ("subject", "images", "person", "images_there", "similarity", "verdict")
_MOST_STEPS = 40
_BINS_PER_STEP = (1, 2, 4, 5, 10)  # each divides the number of bins


def similarity_section(
    measured: Mapping[str, Any], threshold: float | None, origin: str = ""
) -> Section:
    """Describe the similarity of positive and negative pairs, and the threshold.

    `measured` is what `identity.distributions.measure` returns.
    """
    edges, series = trim_histogram(measured["histogram"], threshold)
    marks = {} if threshold is None else {f"threshold {threshold:g}": threshold}
    numbers = dict(measured) | {"threshold": threshold, "threshold_origin": origin}
    rows = [
        (name, *(format_rate(measured[kind].get(key)) for key in LIKENESS_KEYS))
        for name, kind in (
            ("pairs of one identity", "positive"),
            ("pairs of two identities", "negative"),
        )
    ]
    header = ("kind", "pairs", "0.1 %", "1 %", "median", "99 %", "99.9 %")
    n_identities = count_noun(measured["identities"], "identity", "identities")
    text = (
        f"{measured['images']:,} of {count_noun(measured['of_images'], 'image')}, {n_identities}."
    )
    if measured["identities_of_two"]:
        text += (
            f" Of {count_noun(measured['identities_of_two'], 'identity', 'identities')} with at "
            f"least two images, {count_noun(measured['separable'], 'is', 'are')} separable: their "
            "least similar pair of images is more similar than any pair with another identity."
        )
    axis = "similarity (cosine, or 1 - distance²/2)"
    parts: list[Part] = [
        Histogram(
            "Similarity of pairs", axis, edges, series, "share of pairs", marks, as_shares=True
        ),
        Table("Similarity below which this share of the pairs lies", header, rows),
    ]
    return Section("similarity", "Similarity", numbers, parts, text, is_detail=True)


def trim_histogram(
    histogram: Mapping[str, Any], threshold: float | None
) -> tuple[list[float], dict[str, list[int]]]:
    """Cut empty bins at both ends, except for the threshold's, and join bins to few steps.

    Returns the edges of the steps and the counts of both series.
    """
    kinds = np.array([histogram["positive"], histogram["negative"]])
    edges = np.linspace(histogram["from"], histogram["to"], kinds.shape[1] + 1)
    is_needed = kinds.sum(axis=0) > 0
    if threshold is not None:
        is_needed |= (edges[:-1] <= threshold) & (threshold <= edges[1:])
    places = np.flatnonzero(is_needed)
    first, last = 0, len(is_needed)
    if len(places):
        first, last = int(places[0]), int(places[-1]) + 1
    n = next(n for n in _BINS_PER_STEP if last - first <= n * _MOST_STEPS)
    first, last = first // n * n, -(-last // n) * n
    positive, negative = kinds[:, first:last].reshape(2, -1, n).sum(axis=2).tolist()
    series = {"one identity": positive, "two identities": negative}
    return edges[first : last + 1 : n].tolist(), series


# Plans


@dataclass
class _PlanTally:
    """Counts of a plan's decisions, their scores by verdict, and the merges into each identity."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    scores: dict[str, list[float]] = field(default_factory=dict)
    merged_into: Counter[str] = field(default_factory=Counter)
    overlap: list[Sequence[Cell]] = field(default_factory=list)
    """Rows about people of another set, the first of them."""

    def add(self, decision: Decision) -> None:
        """Count one decision."""
        self.counts[decision.action, decision.verdict] += 1
        if decision.score is not None and abs(decision.score) < LARGEST:
            self.scores.setdefault(decision.verdict, []).append(float(decision.score))
        if decision.into and decision.verdict == ACCEPTED and decision.action == MERGE:
            self.merged_into[decision.into] += 1
        if "person" in decision.evidence and len(self.overlap) < _MOST_OVERLAP:
            self.overlap.append(_overlap_row(decision))

    def rows(self) -> list[tuple[str, str, int]]:
        """Return (action, verdict, number of decisions), sorted."""
        return [(action, verdict, n) for (action, verdict), n in sorted(self.counts.items())]

    def all_scores(self) -> npt.NDArray[np.float64]:
        """Return the sound scores of all decisions, float64 of shape (n,)."""
        return np.array([score for some in self.scores.values() for score in some])

    def most_merged(self) -> list[tuple[str, int]]:
        """Return the identities that most others are merged into, the largest number first."""
        ordered = sorted(self.merged_into.items(), key=lambda pair: (-pair[1], pair[0]))
        return ordered[:_N_NAMED]


def _overlap_row(decision: Decision) -> Sequence[Cell]:
    """Return the row of a decision to drop somebody who is in another set."""
    images = decision.evidence.get("images")
    if not isinstance(images, list) or [type(each) for each in images] != [str, str]:
        images = [None, None]
    person = str(decision.evidence["person"])
    return decision.subject, images[0], person, images[1], decision.score, decision.verdict


def plan_section(judged: Mapping[str, Any], decisions: Iterable[Decision]) -> Section:
    """Describe a plan: its decisions by kind, their scores, and its own figures."""
    given = judged.get("summary") or {}
    summary = {name: value for name, value in given.items() if _is_plain(value)}
    tally = _PlanTally()
    for decision in decisions:
        tally.add(decision)
    numbers = {
        "command": judged.get("command"),
        "decisions": tally.counts.total(),
        "by_action": [
            {"action": action, "verdict": verdict, "decisions": n}
            for action, verdict, n in tally.rows()
        ],
        "scores": describe(tally.all_scores()),
        "summary": summary,
        "most_merged": dict(tally.most_merged()),
        "overlap": [dict(zip(_OVERLAP, row, strict=True)) for row in tally.overlap],
    }
    title = f"The plan of {judged.get('command', 'a person')}"
    text = f"{count_noun(tally.counts.total(), 'decision')}. Only accepted ones are carried out."
    return Section("plan", title, numbers, _plan_parts(tally, summary), text, is_detail=True)


def _plan_parts(tally: _PlanTally, summary: Mapping[str, Any]) -> list[Part]:
    parts: list[Part] = [Table("Decisions", ("action", "verdict", "decisions"), tally.rows())]
    if tally.scores:
        parts.append(_score_histogram(tally, summary))
    if summary:
        figures = [(name.replace("_", " "), _cell(value)) for name, value in summary.items()]
        parts.append(Table("Figures of the plan", ("figure", "value"), figures))
    if tally.overlap:
        header = tuple(name.replace("_", " ") for name in _OVERLAP)
        parts.append(Table("People who are in both sets", header, tally.overlap))
    if tally.merged_into:
        title = "Identities that most others are merged into"
        parts.append(Table(title, ("identity", "merged into it"), tally.most_merged()))
    return parts


def _score_histogram(tally: _PlanTally, summary: Mapping[str, Any]) -> Histogram:
    """Draw the scores of each verdict, with the threshold or angle of the plan marked."""
    limits = ((name, summary.get(name)) for name in ("threshold", "angle"))
    marks = {f"{name} {limit:g}": limit for name, limit in limits if isinstance(limit, int | float)}
    edges = linear_edges(np.append(tally.all_scores(), list(marks.values())))
    series = {
        verdict: count(np.array(scores), edges) for verdict, scores in sorted(tally.scores.items())
    }
    return Histogram("Scores of the decisions", "score", edges.tolist(), series, "decisions", marks)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _cell(value: Any) -> str | int | float | None:
    return str(value) if isinstance(value, bool) else value


def format_rate(value: float | int | None) -> str:
    """Format a count or a rate; a dash is none."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
