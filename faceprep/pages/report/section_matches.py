"""The section about a search: similarity of the closest identities, and pictures of some probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from faceprep.core.arrays import Doubles
from faceprep.core.spread import spread_places
from faceprep.core.text import count_noun
from faceprep.pages.report.histograms import as_json, count, linear_edges
from faceprep.pages.report.sections import Examples, Histogram, Part, Section, Table
from faceprep.tables.matches import Match

PROBE, GALLERY = "probe", "gallery"
"""The word before the name of a crop, which says from which set it is."""
_N_SHOWN, _N_EACH = 24, 5
_CLOSE = 20
_LOW = 0.9
"""Similarity at which the histogram starts at the latest."""

ReadRows = Callable[[], Iterator[Match]]
"""Reads the table from its start."""


def matches_section(read_rows: ReadRows) -> Section:
    """Describe the table of a search.

    The crop of a row is named by its set, `PROBE` or `GALLERY`, a space, and its name there.
    """
    similarity, margins, n_rows = _measure(read_rows())
    numbers: dict[str, Any] = {"probes": len(similarity), "rows": n_rows}
    if not len(similarity):
        return Section("matches", "Matches", numbers, text="No probe was searched for.")
    edges = linear_edges(similarity, min(_LOW, similarity.min()), max(1.0, similarity.max()))
    numbers |= {"similarity": as_json(similarity, edges), "margin": as_json(margins, edges)}
    series = {"the closest identity": count(similarity, edges)}
    axis = "similarity (cosine, or 1 - distance²/2)"
    shown = set(spread_places(len(similarity), _N_SHOWN).tolist())
    examples = [_example(rows) for rows in _probes(read_rows(), shown)]
    parts: list[Part] = [
        Histogram("Similarity of the closest identities", axis, edges.tolist(), series, "probes"),
        _narrow_table(read_rows(), margins),
        *examples,
    ]
    text = (
        f"{count_noun(len(similarity), 'probe')} searched for. Each picture shows the image of an "
        "identity that is most similar to the probe."
    )
    return Section("matches", "Matches", numbers, parts, text)


def _measure(rows: Iterator[Match]) -> tuple[Doubles, Doubles, int]:
    """Return similarity and margin (NaN for none) of the first ranks, and the number of rows."""
    similarity, margins, n = [], [], 0
    for row in rows:
        n += 1
        if row.rank == 1:
            similarity.append(row.similarity)
            margins.append(np.nan if row.margin is None else row.margin)
    return np.array(similarity, np.float64), np.array(margins, np.float64), n


def _probes(rows: Iterator[Match], shown: set[int]) -> Iterator[list[Match]]:
    """Yield the rows of the probes with these numbers."""
    for number, (_, own) in enumerate(groupby(rows, lambda row: row.probe)):
        if number in shown:
            yield list(own)[:_N_EACH]


def _example(rows: Sequence[Match]) -> Examples:
    probe = rows[0].probe
    crops = [(f"{PROBE} {probe}", "searched for")]
    crops += [
        (f"{GALLERY} {row.image}", f"{row.rank}. {row.identity}, {row.similarity:.3f}")
        for row in rows
    ]
    return Examples(probe, crops)


def _narrow_table(rows: Iterator[Match], margins: Doubles) -> Table:
    """List the probes whose two closest identities differ least."""
    known = np.sort(margins[np.isfinite(margins)])
    limit = -np.inf
    if len(known):
        limit = known[:_CLOSE][-1]
    narrow = [
        row for row in rows if row.rank == 1 and row.margin is not None and row.margin <= limit
    ]
    cells = [
        (row.probe, row.identity, row.similarity, row.margin)
        for row in sorted(narrow, key=lambda row: row.margin or 0)[:_CLOSE]
    ]
    header = ("probe", "closest identity", "similarity", "margin")
    return Table("The narrowest margins to the next identity", header, cells, is_folded=True)
