"""`align`: crop faces again at another size or template, from the table of an extract command."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Pixels
from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.core.faces import Faces
from faceprep.core.job import Job
from faceprep.core.options import Values, check_ranges, option
from faceprep.core.output_tree import is_within
from faceprep.core.paths import real_path
from faceprep.core.shards import cut_at
from faceprep.core.types import OK, Outcome, Request, Shard, Sink, Stage, Work
from faceprep.jobs.align.photos import Problem, Run, open_photos, plan_photos
from faceprep.steps.crop_options import WritesCrops, format_option, quality_option
from faceprep.steps.find_faces import DEGENERATE, open_cropper
from faceprep.steps.list_options import ListOptions
from faceprep.steps.model_names import NAMED_TEMPLATES, TEMPLATES
from faceprep.tables import faces as faces_table
from faceprep.tables.faces import FACES_TABLE, FaceRow, FacesWriter, join_output, split_output
from faceprep.vision.templates import load_template

_PHOTOS = 64
_PART = ".parquet"
_NO_CROP = "has no crop in the table"


class _Fitted(NamedTuple):
    """A row with its new transform, and the fault of its face if it has one."""

    row: FaceRow
    fault: str


@dataclass(frozen=True)
class Align(WritesCrops, ListOptions, Job):
    """Crop faces again at another size or template, without a detector.

    SRC is the source of the extract command, or the same photos in any set. --faces names the
    faces.parquet that the command wrote. Each face with a crop in that table gets a crop of the
    same name in DST and a row in DST/faces.parquet. It goes to DST_multi if its first crop is in a
    _multi folder. Faces whose photo or frame is missing or has changed size are named in
    DST/failures.csv.
    """

    command: ClassVar[str] = "align"
    siblings: ClassVar[tuple[str, ...]] = ("_multi",)

    faces: Path | None = option(
        None,
        "Read the faces from this faces.parquet of an extract command.",
        required=True,
        values=Values("TABLE"),
    )
    template: str = option(
        "arcface-112",
        f"Align faces to this template, at any size: {NAMED_TEMPLATES}.",
        values=TEMPLATES,
    )
    format: str = format_option()
    quality: int = quality_option()

    def __post_init__(self) -> None:
        load_template(self.template)
        self.check_format()
        check_ranges(self)

    @property
    def _table(self) -> Path:
        if self.faces is None:
            raise OptionError("no table of faces", remedy="Give --faces.")
        return self.faces

    def plan(self, request: Request, scratch: Path) -> Work:
        source = request.sources[0]
        self._refuse_places(request)
        if next(faces_table.read_range(self._table, 0, 1), None) is None:
            raise SourceError("no faces in this table", path=self._table)
        photos = plan_photos(source, scratch, self.relative_to)
        digest = hashlib.sha256(photos.fingerprint.encode())
        bounds, payloads = [], []
        start = stop = n_sources = 0
        for group in _grouped(_first_rows(_runs(self._table), request.limit)):
            for run in group:
                digest.update(f"{run.source}\0{photos.size_of(run)}\0{run.n}\n".encode())
            start, stop = stop, stop + sum(run.n for run in group)
            n_sources += len(group)
            bounds.append((start, stop))
            payloads.append(photos.places_of(group))
        photos.refuse_others(self._table)
        shards = [
            replace(shard, payload=payload)
            for shard, payload in zip(cut_at(bounds, photos.root), payloads, strict=True)
        ]
        height, width = load_template(self.template).size
        sizes = digest.hexdigest()[:16]
        table = storage.fingerprint_of(self._table)
        fingerprint = (
            f"{stop:,} faces of {n_sources:,} files, names and sizes {sizes}, in the table {table}"
        )
        return Work(
            [Stage("align", shards)],
            fingerprint,
            "face",
            n_files=stop,
            n_bytes=2 * height * width * stop,
        )

    def _refuse_places(self, request: Request) -> None:
        table = real_path(self._table)
        output = real_path(request.output)
        if is_within(table, output):
            raise OutputError(
                "the table lies in the output", path=self._table, remedy="Name another output."
            )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        with (
            FacesWriter(sink.open_part(_PART)) as table,
            open_photos(shard, sink.scratch) as photos,
        ):
            for source, faces in groupby(self._fitted(shard), lambda face: face.row.source):
                wanted = []
                for face in faces:
                    if not face.row.output:
                        yield Outcome(face.row.key, OK, _NO_CROP)
                    elif face.fault:
                        yield Outcome(face.row.key, DEGENERATE, face.fault)
                    else:
                        wanted.append(face.row)
                for rows, pixels in photos.images(source, wanted):
                    yield from self._align(rows, pixels, sink, table)

    def _fitted(self, shard: Shard) -> Iterator[_Fitted]:
        """Yield the shard's rows with their new transforms."""
        for table in faces_table.read_range(self._table, shard.start, shard.stop):
            rows = list(faces_table.rows_of(table))
            faces = Faces(
                *(
                    np.stack([getattr(row, name) for row in rows])
                    for name in ("box", "landmarks", "score")
                )
            )
            sizes = np.array([row.image_size for row in rows])
            turns = [row.turn for row in rows]
            fitted = open_cropper(self.template).fit(faces, sizes, turns)
            for row, transform, fault in zip(rows, *fitted, strict=True):
                yield _Fitted(row._replace(transform=transform, template=self.template), fault)

    def _align(
        self, rows: Sequence[FaceRow], pixels: Pixels | Problem, sink: Sink, table: FacesWriter
    ) -> Iterator[Outcome]:
        """Yield one Outcome for each of the `rows`, all of the same image."""
        if isinstance(pixels, np.ndarray) and pixels.shape[:2] != rows[0].image_size:
            then, now = ("{:,} × {:,}".format(*size) for size in (rows[0].image_size, pixels.shape))
            pixels = Problem(
                "changed", f"{rows[0].source}: expected {then} pixels as in the table, found {now}"
            )
        if isinstance(pixels, Problem):
            yield from (Outcome(row.key, *pixels) for row in rows)
            return
        cut = open_cropper(self.template).cut
        for row in rows:
            crop = cut(pixels, np.asarray(row.transform))
            name, beside = self._name(row.output or "")
            sink.write(name, self.encode(crop), beside=beside)
            table.add(row._replace(output=join_output(name, beside)))
            yield Outcome(row.key)

    def _name(self, output: str) -> tuple[str, str]:
        """Return (name, ending of its folder) of the file that replaces `output`."""
        name, beside = split_output(output)
        if beside not in self.siblings:
            name, beside = output, ""
        return os.path.splitext(name)[0] + self.suffix, beside

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Join the tables of the shards."""
        with sink.open(FACES_TABLE) as file:
            faces_table.join_faces(
                [sink.part_path(shard.id, _PART) for shard in work.stages[0].shards], file
            )


# Runs of the table


def _runs(path: Path) -> Iterator[Run]:
    """Yield the runs of the table by source.

    Raises SourceError if a source or a crop occurs in several places.
    """
    seen: set[str] = set()
    outputs = array("q")
    tables = faces_table.read_face_tables(path, ("source", "frame", "output"))
    rows = (
        row
        for table in tables
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True)
    )
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
        yield Run(source, frames[0] is not None, len(frames))
    if len(np.unique(np.array(outputs))) < len(outputs):
        raise SourceError(
            "two of its rows have the same output", path=path, remedy="Give each crop its own name."
        )


def _first_rows(runs: Iterator[Run], limit: int | None) -> Iterator[Run]:
    left = limit
    for run in runs:
        if left is None:
            yield run
        elif left > 0:
            yield run._replace(n=min(run.n, left))
            left -= run.n


def _grouped(runs: Iterator[Run]) -> Iterator[list[Run]]:
    """Yield the runs of each shard: a video, or up to 64 photos."""
    group: list[Run] = []
    for run in runs:
        if group and (run.is_video or group[-1].is_video or len(group) == _PHOTOS):
            yield group
            group = []
        group.append(run)
    if group:
        yield group
