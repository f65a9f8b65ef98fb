"""Sections about faces: scores, sizes and pose from faces.parquet, sharpness from scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceprep.core.arrays import Numbers
from faceprep.core.io import parquet
from faceprep.core.text import count_noun
from faceprep.pages.report.histograms import (
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
_MEASURE_KEYS = ("n", "p1", "p25", "p50", "p75", "p99")


@dataclass
class Columns:
    """Columns of a table with one row per crop.

    `paths` are the paths of the crops as the table names them, null where a face has no crop.
    """

    numbers: Mapping[str, Numbers]
    paths: pa.ChunkedArray
    identities: Mapping[str, int] = field(default_factory=dict)
    """Number of images of each identity, where the table has identities."""

    def __len__(self) -> int:
        return len(self.paths)

    def is_shown(self) -> npt.NDArray[np.bool_]:
        """Return which rows have a crop."""
        known: npt.NDArray[np.bool_] = self.paths.is_valid().to_numpy(zero_copy_only=False)
        return known

    def paths_of(self, rows: Iterable[int]) -> list[str]:
        """Return the paths of the crops in `rows`."""
        return [str(self.paths[row]) for row in rows]


class _Measure(NamedTuple):
    """A column with the texts, bins and number format that display it."""

    name: str
    title: str
    axis: str
    edges: Callable[[Numbers], Numbers]
    label: str = "{:.2f}"


_FACE_MEASURES = (
    _Measure(
        "score",
        "Detection scores",
        "score of the detector",
        lambda values: linear_edges(values, high=1.0),
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
    """Load the columns of a faces.parquet. Raises SourceError.

    `side` is the shorter side of the box in pixels of the source.
    """
    table = faces_table.load_faces(path, _COLUMNS)
    numbers = {name: _numbers(table, name) for name in _COLUMNS if name != "output"}
    sides = np.minimum(numbers["x2"] - numbers["x1"], numbers["y2"] - numbers["y1"])
    kept = {name: numbers[name] for name in ("score", "roll", "yaw")}
    return Columns(kept | {"side": sides}, table["output"])


def load_scores(path: Path) -> Columns:
    """Load every measure in a table that `score` wrote. Raises SourceError."""
    names = ("path", "identity")
    with parquet.open_parquet(path) as file:
        fields = file.schema_arrow
        parquet.refuse_missing(path, fields.names, names)
        floats = [each for each in fields if pa.types.is_floating(each.type)]
        measures = [each for each in floats if each.name not in names]
        parquet.refuse_missing(path, fields.names, [each.name for each in measures])
        schema = pa.schema([*((name, pa.string()) for name in names), *measures])
        pieces = [
            piece.select(schema.names).cast(schema)
            for piece in parquet.read_columns(path, schema.names)
        ]
    table = pa.concat_tables([schema.empty_table(), *pieces])
    found = table["identity"].value_counts() if len(table) else []
    identities = {str(each["values"]): each["counts"].as_py() for each in found}
    numbers = {each.name: _numbers(table, each.name) for each in measures}
    return Columns(numbers, table["path"], identities)


def is_scores(path: Path) -> bool:
    """Return whether the file is a table that `score` wrote. Raises SourceError."""
    with parquet.open_parquet(path) as file:
        return {"path", SHARPNESS} <= set(file.schema_arrow.names)


def _numbers(table: pa.Table, name: str) -> Numbers:
    """Return a column as an array, with null as NaN."""
    column = table[name]
    if not column.null_count:
        values: Numbers = column.to_numpy()
        return values
    chunks = [chunk.cast(pa.float64()).to_numpy(False) for chunk in column.chunks]
    return np.concatenate([np.empty(0), *chunks])


# Columns to sections


def faces_section(columns: Columns) -> Section:
    """Describe scores, sizes and pose of the faces, with crops at the percentiles."""
    parts, measured = _describe_measures(columns, _FACE_MEASURES)
    n_shown = int(columns.is_shown().sum())
    numbers = {"faces": len(columns), "with_crop": n_shown} | measured
    text = f"{count_noun(len(columns), 'face')}, {n_shown:,} of them with a crop."
    return Section("faces", "Faces", numbers, parts, text, is_detail=True)


def crops_section(columns: Columns, sampled_of: int | None = None) -> Section:
    """Describe sharpness and light of the crops, and list all measures in a table.

    `sampled_of` is the number of crops if these are a sample of them.
    """
    described = {name: describe(values) for name, values in sorted(columns.numbers.items())}
    others = {name: stats for name, stats in described.items() if stats["n"]}
    wanted = [each for each in (_SHARP, _BRIGHT, *_FACE_MEASURES[2:]) if each.name in others]
    parts, measured = _describe_measures(columns, wanted)
    rows = [(name, *(stats[key] for key in _MEASURE_KEYS)) for name, stats in others.items()]
    parts.append(Table("All measures", ("measure", "crops", *_MEASURE_KEYS[1:]), rows))
    text = f"{count_noun(len(columns), 'crop was', 'crops were')} measured."
    if sampled_of is not None and sampled_of > len(columns):
        text = (
            f"A sample of {len(columns):,} of {sampled_of:,} crops was measured. "
            "The command score measures all of them."
        )
    numbers = {"crops": len(columns), "sampled_of": sampled_of, "measures": others} | measured
    return Section("crops", "Sharpness and light", numbers, parts, text, is_detail=True)


def _describe_measures(
    columns: Columns, measures: Sequence[_Measure]
) -> tuple[list[Part], dict[str, Any]]:
    """Return a histogram and example crops of each measure, and the numbers of all."""
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
        rows = rows_at(values, is_shown)
        labels = [f"{p} %: {measure.label.format(float(values[row]))}" for p, row in rows.items()]
        if rows:
            crops = list(zip(columns.paths_of(rows.values()), labels, strict=True))
            parts.append(Examples(f"{measure.title}: crops at the percentiles", crops))
    return parts, numbers
