"""Sections of a report: numbers for programs, and pictures and tables of them for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True)
class Histogram:
    """Counts between `edges` (n + 1,), in one or more series; `marks` are named vertical lines.

    With `as_shares` each series is drawn as shares of its own sum, so that series of very different
    sizes can be compared.
    """

    title: str
    axis: str
    edges: Sequence[float]
    series: Mapping[str, Sequence[int]]
    unit: str
    marks: Mapping[str, float] | None = None
    is_log: bool = False
    as_shares: bool = False


@dataclass(frozen=True)
class Curves:
    """Lines by name, each (x, y); `kind` is roc, det, cmc or dir."""

    title: str
    kind: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers; `is_folded` hides them until the reader unfolds them."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    is_folded: bool = False


@dataclass(frozen=True)
class Examples:
    """Crops, each with its path as in the tables and a label."""

    title: str
    crops: Sequence[tuple[str, str]]


Part = Histogram | Curves | Table | Examples


@dataclass(frozen=True)
class Section:
    """A section of the report; its `numbers` are stored in report.json under `name`."""

    name: str
    title: str
    numbers: Mapping[str, Any]
    parts: Sequence[Part] = ()
    text: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Tables that are written beside the page, by the end of their names."""
