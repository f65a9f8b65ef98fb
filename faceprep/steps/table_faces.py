"""Faces of a table, found again in the photos or videos that they come from.

plan_faces   a table and its source -> shards of whole photos and videos
read_faces   a shard -> the rows of each image, fitted to a template, with its pixels
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Pixels
from faceprep.core.errors import SourceError
from faceprep.core.faces import Faces
from faceprep.core.shards import cut_at
from faceprep.core.turns import TURNS
from faceprep.core.types import Shard
from faceprep.steps.crop_faces import open_cropper
from faceprep.steps.table_photos import Files, Problem, Read, Run, SetPhotos, open_photos
from faceprep.tables import faces as faces_table
from faceprep.tables.faces import FaceRow

_PHOTOS = 64
"""Most photos of a shard; a video is a shard of its own."""


@dataclass(frozen=True, slots=True)
class FacesPlan:
    """The shards of a table of faces, in rows of it; `n_wanted` of the `n` faces are wanted."""

    shards: Sequence[Shard]
    fingerprint: str
    n: int
    n_wanted: int


def first_source(table: Path) -> str:
    """Return the first photo or video of a table. Raises SourceError for a table without faces."""
    piece = next(faces_table.read_range(table, 0, 1), None)
    if piece is None:
        raise SourceError("no faces in this table", path=table)
    return str(piece["source"][0])


def plan_faces(
    table: Path,
    photos: Files | SetPhotos,
    *,
    stage: str,
    limit: int | None = None,
    is_wanted: Callable[[str | None], bool] = lambda output: True,
) -> FacesPlan:
    """Cut a table of faces into shards; only the first `limit` faces whose output is wanted.

    Raises SourceError.
    """
    digest = hashlib.sha256(photos.fingerprint.encode())
    bounds, places = [], []
    n = n_sources = n_wanted = 0
    for group in _grouped(_runs(table, photos.has, limit, is_wanted)):
        for run in group:
            digest.update(f"{run.source}\0{photos.size_of(run)}\0{run.n}\n".encode())
            n_wanted += run.n_wanted
        first, last = group[0], group[-1]
        bounds.append((first.start, last.start + last.n))
        n, n_sources = n + last.start + last.n - first.start, n_sources + len(group)
        places.append(photos.places_of(group))
    photos.refuse_others(table, first_source(table))
    shards = [
        replace(shard, payload=payload)
        for shard, payload in zip(cut_at(bounds, photos.path, stage=stage), places, strict=True)
    ]
    fingerprint = (
        f"{n:,} faces of {n_sources:,} files, names and sizes {digest.hexdigest()[:16]}, "
        f"in the table {storage.fingerprint_of(table)}"
    )
    return FacesPlan(shards, fingerprint, n, n_wanted)


def read_faces(
    shard: Shard, scratch: Path, table: Path, template: str, wants: Callable[[FaceRow, str], bool]
) -> Iterator[tuple[list[FaceRow], Read]]:
    """Yield the wanted rows of each photo or frame, and what reads its pixels.

    `transform` and `template` of the rows are those of `template`. `wants` is asked once for each
    row, in order, with its fault: why the face cannot be cut, or an empty string. An image whose
    size is not the one in the table is a Problem.
    """
    with open_photos(shard, scratch) as photos:
        fitted = _fit_rows(shard, table, template)
        for source, of_source in groupby(fitted, lambda each: each[0].source):
            wanted = [row for row, fault in of_source if wants(row, fault)]
            for rows, read in photos.images(source, wanted):
                yield rows, _check_size(rows[0], read)


def _fit_rows(shard: Shard, path: Path, template: str) -> Iterator[tuple[FaceRow, str]]:
    """Yield the shard's rows with their new transforms, and the fault of each face."""
    for table in faces_table.read_range(path, shard.start, shard.stop):
        rows = list(faces_table.rows_of(table))
        boxes, landmarks, scores = (
            np.stack([getattr(row, name) for row in rows]) for name in ("box", "landmarks", "score")
        )
        sizes = np.array([row.image_size for row in rows])
        turns = [row.turn if row.turn in TURNS else 0 for row in rows]
        fitted = open_cropper(template).fit(Faces(boxes, landmarks, scores), sizes, turns)
        for row, transform, fault in zip(rows, *fitted, strict=True):
            if row.turn not in (None, *TURNS):
                fault = f"unknown turn: expected 0, 90, 180 or 270, found {row.turn}"
            yield row._replace(transform=transform, template=template), fault


def _check_size(row: FaceRow, read: Read) -> Read:
    def read_checked() -> Pixels | Problem:
        pixels = read()
        if isinstance(pixels, Problem) or pixels.shape[:2] == row.image_size:
            return pixels
        then, now = ("{:,} × {:,}".format(*size) for size in (row.image_size, pixels.shape))
        reason = f"{row.source}: expected {then} pixels as in the table, found {now}"
        return Problem("changed", reason)

    return read_checked


# Runs of the table


def _runs(
    path: Path,
    has: Callable[[str], bool],
    limit: int | None,
    is_wanted: Callable[[str | None], bool],
) -> Iterator[Run]:
    """Yield the runs of the table by source, up to the last of the first `limit` wanted rows.

    Sources that are not meant are left out. Raises SourceError if a source or a crop occurs in
    several places.
    """
    seen: set[str] = set()
    outputs = array("q")
    tables = faces_table.read_face_tables(path, ("source", "frame", "output"))
    rows = (
        row
        for table in tables
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True)
    )
    start, left = 0, limit
    for source, run in groupby(rows, lambda row: row[0]):
        frames, names = zip(*((frame, output) for _, frame, output in run), strict=True)
        if source in seen:
            raise SourceError(
                "its rows are not in order",
                path=path,
                found=f"{source} in two places",
                remedy="Sort them by source.",
            )
        seen.add(source)
        outputs.extend(hash(os.path.splitext(name)[0]) for name in names if name)
        n, n_wanted = len(names), sum(map(is_wanted, names))
        if left is not None:
            n, n_wanted = _first_wanted(names, is_wanted, left)
        if n and has(source):
            yield Run(source, frames[0] is not None, start, n, n_wanted)
            left = None if left is None else left - n_wanted
        start += len(names)
    if len(np.unique(np.array(outputs))) < len(outputs):
        raise SourceError(
            "two of its rows have the same output", path=path, remedy="Give each crop its own name."
        )


def _first_wanted(
    names: Sequence[str | None], is_wanted: Callable[[str | None], bool], most: int
) -> tuple[int, int]:
    """Return how many rows hold the first `most` wanted ones, and how many these are."""
    wanted = [place for place, name in enumerate(names) if is_wanted(name)]
    if len(wanted) < most:
        return len(names), len(wanted)
    if not most:
        return 0, 0
    return wanted[most - 1] + 1, most


def _grouped(runs: Iterator[Run]) -> Iterator[list[Run]]:
    """Yield the runs of each shard, one after the other: a video, or up to 64 photos."""
    group: list[Run] = []
    for run in runs:
        is_next = bool(group) and group[-1].start + group[-1].n == run.start
        if group and (not is_next or run.is_video or group[-1].is_video or len(group) == _PHOTOS):
            yield group
            group = []
        group.append(run)
    if group:
        yield group
