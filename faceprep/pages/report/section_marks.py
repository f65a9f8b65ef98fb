"""The section with example photos and frames, on which the faces that were found are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from faceprep.core.spread import spread_places
from faceprep.pages.report.input_pictures import InputPictures
from faceprep.pages.report.sections import Picture, Pictures, Section
from faceprep.tables.faces import read_face_tables, read_range

_N_SHOWN, _MOST_FACES = 4, 64
_BOX = ("x1", "y1", "x2", "y2")
_COLUMNS = ("source", "frame", "score", *_BOX, "landmarks")
Face = tuple[float, list[float]]
"""A score, and the box and the landmarks in 14 numbers."""


def marks_section(table: Path, pictures: InputPictures) -> Section | None:
    """Draw boxes and landmarks on some images of a faces.parquet, from low to high scores.

    Returns None where none of the images can be shown. Raises SourceError.
    """
    found: dict[str, list[Face]] = {}
    for place in _choose(table):
        key, faces = _faces_around(table, place)
        found.setdefault(key, faces)
    items = [_picture(key, faces, pictures) for key, faces in found.items()]
    shown = [item for item in items if item is not None]
    if not shown:
        return None
    numbers = {"examples": [item.name for item in shown]}
    text = "Boxes and landmarks, from the lowest to the highest score."
    parts = [Pictures("", shown, is_large=True)]
    return Section("marks", "Faces as they were found", numbers, parts, text)


def _choose(table: Path) -> list[int]:
    """Return the rows of some faces, spread over the scores."""
    scores = np.concatenate(
        [np.empty(0), *(piece["score"].to_numpy() for piece in read_face_tables(table, ("score",)))]
    )
    order = np.argsort(scores, kind="stable")
    chosen: list[int] = order[spread_places(len(order), _N_SHOWN)].tolist()
    return chosen


def _faces_around(table: Path, place: int) -> tuple[str, list[Face]]:
    """Return the key of the image of a row, and all faces in it; their rows are neighbours."""
    first = max(place - _MOST_FACES, 0)
    pieces = list(read_range(table, first, place + _MOST_FACES + 1))
    rows = pa.concat_tables(pieces).select(_COLUMNS).to_pylist()
    key = _key(rows[place - first])
    own = [row for row in rows if _key(row) == key]
    faces = [(row["score"], [*(row[side] for side in _BOX), *row["landmarks"]]) for row in own]
    return key, faces


def _key(row: Mapping[str, Any]) -> str:
    """Return the name of the photo, or of the frame, of a row."""
    if row["frame"] is None:
        return str(row["source"])
    return f"{row['source']}#{row['frame']}"


def _picture(key: str, faces: Sequence[Face], pictures: InputPictures) -> Picture | None:
    lowest = min(score for score, _ in faces)
    label = f"score {lowest:.3f}"
    if len(faces) > 1:
        label = f"{len(faces)} faces, lowest score {lowest:.3f}"
    return pictures.marked(key, label, [numbers for _, numbers in faces])
