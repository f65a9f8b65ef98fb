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


@dataclass(frozen=True)
class Picture:
    """A JPEG with its label and the name of what it shows; `alt` is for who cannot see it."""

    name: str
    data: bytes
    label: str = ""
    alt: str = ""


@dataclass(frozen=True)
class Pictures:
    """Pictures in a row; those that are `large` show more than a face."""

    title: str
    items: Sequence[Picture]
    is_large: bool = False


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a name and pictures of it."""

    name: str
    items: Sequence[Picture]


@dataclass(frozen=True)
class Comparison:
    """Sides beside each other, joined by `sign`, with a sentence about them."""

    sides: Sequence[Side]
    sign: str
    text: str


@dataclass(frozen=True)
class Link:
    """A step in the chain from a source to a set; `notes` say what it left out, and why."""

    title: str
    text: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Chain:
    """Steps from the first source to the set, in order."""

    links: Sequence[Link]


@dataclass(frozen=True)
class Figures:
    """The few numbers that matter most, each with its name."""

    items: Sequence[tuple[str, str]]


Part = Histogram | Curves | Table | Examples | Pictures | Comparison | Chain | Figures


@dataclass(frozen=True)
class Section:
    """A section of the report; its `numbers` are stored in report.json under `name`.

    A section `is_detail` if it answers no question that every reader has; it is folded.
    """

    name: str
    title: str
    numbers: Mapping[str, Any]
    parts: Sequence[Part] = ()
    text: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Tables that are written beside the page, by the end of their names."""
    is_detail: bool = False
