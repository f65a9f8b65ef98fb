"""The section with example photos and frames, on which the faces that were found are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceprep.core.spread import spread_places
from faceprep.pages.report.input_pictures import InputPictures
from faceprep.pages.report.sections import Picture, Pictures, Section
from faceprep.tables.faces import read_faces

_N_SHOWN = 4
_COLUMNS = ("source", "frame", "score", "x1", "y1", "x2", "y2", "landmarks")


def marks_section(table: Path, pictures: InputPictures) -> Section | None:
    """Draw boxes and landmarks on some images of a faces.parquet, from low to high scores.

    Returns None where none of the images can be shown. Raises SourceError.
    """
    chosen = _choose(table)
    found = _faces_of(table, chosen)
    items = [_picture(key, found[key], pictures) for key in chosen if key in found]
    shown = [item for item in items if item is not None]
    if not shown:
        return None
    numbers = {"examples": [item.name for item in shown]}
    text = "Boxes and landmarks, from the lowest to the highest score."
    parts = [Pictures("", shown, is_large=True)]
    return Section("marks", "Faces as they were found", numbers, parts, text)


def _choose(table: Path) -> list[str]:
    """Return the keys of some images, spread over the scores of their faces."""
    scores = np.concatenate(
        [np.empty(0), *(piece["score"].to_numpy() for piece in read_faces(table, ("score",)))]
    )
    order = np.argsort(scores, kind="stable")
    places = order[spread_places(len(order), _N_SHOWN)]
    found: dict[int, str] = {}
    start = 0
    for piece in read_faces(table, ("source", "frame")):
        here = places[(places >= start) & (places < start + len(piece))]
        rows = piece.take(here - start).to_pylist()
        found |= {
            place: _key(row["source"], row["frame"])
            for place, row in zip(here.tolist(), rows, strict=True)
        }
        start += len(piece)
    return list(dict.fromkeys(found[place] for place in places.tolist()))


def _key(source: str, frame: int | None) -> str:
    return source if frame is None else f"{source}#{frame}"


def _faces_of(table: Path, keys: list[str]) -> dict[str, list[tuple[float, list[float]]]]:
    """Return (score, box and landmarks) of all faces in the images with these keys."""
    wanted = pa.array([key.rpartition("#")[0] or key for key in keys] + keys)
    found: dict[str, list[tuple[float, list[float]]]] = {}
    for piece in read_faces(table, _COLUMNS):
        is_wanted = pc.is_in(piece["source"], wanted)
        for row in piece.filter(is_wanted).to_pylist():
            key = _key(row["source"], row["frame"])
            if key in keys:
                box = [row[name] for name in ("x1", "y1", "x2", "y2")]
                found.setdefault(key, []).append((row["score"], box + row["landmarks"]))
    return found


def _picture(
    key: str, faces: list[tuple[float, list[float]]], pictures: InputPictures
) -> Picture | None:
    lowest = min(score for score, _ in faces)
    label = f"score {lowest:.3f}"
    if len(faces) > 1:
        label = f"{len(faces)} faces, lowest score {lowest:.3f}"
    return pictures.marked(key, label, [numbers for _, numbers in faces])
