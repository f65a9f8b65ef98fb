"""What a report is made of: sections with numbers for programs, and pictures and tables of the
same for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True)
class Histogram:
    """Counts between `edges` (n + 1,), one series or several; `marks` are upright lines with a
    name.

    With `as_shares` each series is drawn as shares of its own sum, for series of very different
    sizes.
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
    """Lines by name, each (x, y); `kind` is roc or det."""

    title: str
    kind: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers; with `is_folded` they are shown when they are asked for."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    is_folded: bool = False


@dataclass(frozen=True)
class Examples:
    """Crops by their path as the tables name them, each with a line below it."""

    title: str
    crops: Sequence[tuple[str, str]]


Part = Histogram | Curves | Table | Examples


@dataclass(frozen=True)
class Section:
    """`numbers` stand in report.json under `name`."""

    name: str
    title: str
    numbers: Mapping[str, Any]
    parts: Sequence[Part] = ()
    text: str = ""
