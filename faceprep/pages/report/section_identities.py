"""The section about identities: how similar their images are, and the nearest other identity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceprep.core.arrays import Doubles, Ints
from faceprep.core.io.csv import csv_bytes
from faceprep.core.text import count_noun
from faceprep.identity.identity_table import IdentityRow, IdentityTable
from faceprep.pages.report.histograms import as_json, count, linear_edges
from faceprep.pages.report.sections import Cell, Histogram, Part, Section, Table

TABLE = "identities.csv"
_N_SHOWN = 20
_HEADER = ("identity", "images", "within", "nearest", "similarity")


def identity_section(table: IdentityTable) -> Section:
    """Describe each identity of embeddings; the whole table is a file beside the page."""
    rows = list(table.rows())
    edges = linear_edges(np.concatenate([table.within, table.likeness]))
    series = {
        "within an identity": count(table.within, edges),
        "to the nearest other": count(table.likeness, edges),
    }
    numbers = {
        "identities": len(rows),
        "within": as_json(table.within, edges),
        "nearest": as_json(table.likeness, edges),
    }
    loosest = _rows_at(rows, np.argsort(table.within, kind="stable"), table.within)
    closest = _rows_at(rows, np.argsort(-table.likeness, kind="stable"), table.likeness)
    axis = "mean similarity (cosine, or 1 - distance²/2)"
    parts: list[Part] = [
        Histogram("Mean similarity of identities", axis, edges.tolist(), series, "identities"),
        Table("The least similar images within an identity", _HEADER, loosest, is_folded=True),
        Table("The most similar pairs of identities", _HEADER, closest, is_folded=True),
    ]
    text = (
        f"{count_noun(len(rows), 'identity', 'identities')}, each compared with all others by the "
        f"mean over all pairs of images. All are in the file that ends in {TABLE}."
    )
    title = "Similarity of identities"
    files = {TABLE: csv_bytes(_HEADER, rows)}
    return Section("identity_similarity", title, numbers, parts, text, files, is_detail=True)


def _rows_at(rows: Sequence[IdentityRow], order: Ints, values: Doubles) -> list[Sequence[Cell]]:
    """Return the first rows in this order that have a value."""
    known = order[np.isfinite(values[order])][:_N_SHOWN]
    return [rows[place] for place in known.tolist()]
