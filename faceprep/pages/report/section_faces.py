"""Sections about faces: scores, sizes and pose from faces.parquet, sharpness from a table of
scores or a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceprep.core.io import parquet
from faceprep.core.text import count_noun
from faceprep.pages.report.histograms import (
    Numbers,
    as_json,
    count,
    describe,
    linear_edges,
    log_edges,
    rows_at,
)
from faceprep.pages.report.sections import Examples, Histogram, Part, Section, Table
from faceprep.tables import faces as faces_table

SHARPNESS = "laplacian_variance"
_COLUMNS = ("x1", "y1", "x2", "y2", "score", "roll", "yaw", "output")
_POSE = ("roll", "yaw", "lean")
_MEASURE_KEYS = ("n", "p1", "p25", "p50", "p75", "p99")


@dataclass
class Columns:
    """Numbers by column, a row a crop, and the crops' paths as the table names them (null for
    what has none).
    """

    numbers: Mapping[str, Numbers]
    paths: pa.ChunkedArray
    identities: Mapping[str, int] = field(default_factory=dict)
    """Images of each identity, where the table says so."""

    def __len__(self) -> int:
        return len(self.paths)

    def is_shown(self) -> npt.NDArray[np.bool_]:
        known: npt.NDArray[np.bool_] = self.paths.is_valid().to_numpy(zero_copy_only=False)
        return known

    def paths_of(self, rows: Sequence[int]) -> list[str]:
        return [str(self.paths[row]) for row in rows]


class _Measure(NamedTuple):
    """How a column is shown."""

    name: str
    title: str
    axis: str
    edges: Callable[[Numbers], Numbers]
    shown: str = "{:.2f}"


_OF_FACES = (
    _Measure(
        "score",
        "Detection scores",
        "score of the detector",
        lambda some: linear_edges(some, high=1.0),
        "{:.3f}",
    ),
    _Measure(
        "side", "Sizes of the faces", "shorter side of the box, pixels", log_edges, "{:.0f} px"
    ),
    _Measure(
        "yaw",
        "Turn to the side (yaw)",
        "degrees",
        lambda values: linear_edges(values, -90, 90, 36),
        "{:+.0f}°",
    ),
    _Measure(
        "roll",
        "Tilt (roll)",
        "degrees",
        lambda values: linear_edges(values, -180, 180, 72),
        "{:+.0f}°",
    ),
)
_SHARP = _Measure(SHARPNESS, "Sharpness", "variance of the Laplacian", log_edges, "{:.0f}")
_BRIGHT = _Measure(
    "brightness",
    "Brightness",
    "mean grey level",
    lambda values: linear_edges(values, 0, 255, 51),
    "{:.0f}",
)


# Tables to columns


def load_faces(path: Path) -> Columns:
    """Of a faces.parquet; `side` is the shorter side of the box in pixels of the source. Raises
    SourceError.
    """
    table = faces_table.load_faces(path, _COLUMNS)
    numbers = {name: _numbers(table, name) for name in _COLUMNS if name != "output"}
    sides = np.minimum(numbers["x2"] - numbers["x1"], numbers["y2"] - numbers["y1"])
    kept = {name: numbers[name] for name in ("score", "roll", "yaw")}
    return Columns(kept | {"side": sides}, table["output"])


def load_scores(path: Path) -> Columns:
    """Of a table of `score`: every measure in it. Raises SourceError."""
    with parquet.open_parquet(path) as file:
        fields = file.schema_arrow
    measures = [each.name for each in fields if pa.types.is_floating(each.type)]
    pieces = list(parquet.read_columns(path, ["path", "identity", *measures]))
    schema = pa.schema([fields.field(name) for name in ("path", "identity", *measures)])
    table = pa.concat_tables(
        [schema.empty_table(), *(piece.select(schema.names).cast(schema) for piece in pieces)]
    )
    found = table["identity"].value_counts() if len(table) else []
    identities = {str(each["values"]): each["counts"].as_py() for each in found}
    return Columns({name: _numbers(table, name) for name in measures}, table["path"], identities)


def is_scores(path: Path) -> bool:
    """Whether it is a table of `score`. Raises SourceError."""
    with parquet.open_parquet(path) as file:
        return {"path", SHARPNESS} <= set(file.schema_arrow.names)


def _numbers(table: pa.Table, name: str) -> Numbers:
    """null as NaN."""
    column = table[name]
    if not column.null_count:
        values: Numbers = column.to_numpy()
        return values
    return np.concatenate(
        [np.empty(0), *(chunk.cast(pa.float64()).to_numpy(False) for chunk in column.chunks)]
    )


# Columns to sections


def faces_section(columns: Columns) -> Section:
    """Scores, sizes and pose of the faces, with crops at their percentiles."""
    parts, numbers = _shown(columns, _OF_FACES)
    n_shown = int(columns.is_shown().sum())
    text = f"{count_noun(len(columns), 'face')}, {n_shown:,} of them with a crop."
    return Section(
        "faces", "Faces", {"faces": len(columns), "with_crop": n_shown} | numbers, parts, text
    )


def crops_section(columns: Columns, sampled_of: int | None = None) -> Section:
    """Sharpness and light, and all other measures in a table; `sampled_of` how many crops these
    are a sample.
    """
    is_known = {name for name, values in columns.numbers.items() if np.isfinite(values).any()}
    wanted = [measure for measure in (_SHARP, _BRIGHT, *_OF_FACES[2:]) if measure.name in is_known]
    parts, numbers = _shown(columns, wanted)
    others = {name: describe(columns.numbers[name]) for name in sorted(is_known)}
    rows = [(name, *(_short(told[key]) for key in _MEASURE_KEYS)) for name, told in others.items()]
    parts.append(Table("All measures", ("measure", "crops", *_MEASURE_KEYS[1:]), rows))
    text = f"{count_noun(len(columns), 'crop was', 'crops were')} measured."
    if sampled_of is not None and sampled_of > len(columns):
        text = (
            f"A sample of {len(columns):,} of {sampled_of:,} crops was measured; score "
            "measures all."
        )
    told = {"crops": len(columns), "sampled_of": sampled_of, "measures": others}
    return Section("crops", "Sharpness and light", told | numbers, parts, text)


def _shown(columns: Columns, measures: Sequence[_Measure]) -> tuple[list[Part], dict[str, Any]]:
    parts: list[Part] = []
    numbers = {}
    is_shown = columns.is_shown()
    for measure in measures:
        values = columns.numbers[measure.name]
        edges = measure.edges(values)
        numbers[measure.name] = as_json(values, edges)
        is_log = measure.edges is log_edges
        series = {"crops": count(values, edges)}
        parts.append(
            Histogram(measure.title, measure.axis, edges.tolist(), series, "faces", is_log=is_log)
        )
        at = rows_at(values, is_shown)
        labels = [f"{p} %: {measure.shown.format(float(values[row]))}" for p, row in at.items()]
        if at:
            crops = list(zip(columns.paths_of(list(at.values())), labels, strict=True))
            parts.append(Examples(f"{measure.title}: crops at the percentiles", crops))
    return parts, numbers


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
