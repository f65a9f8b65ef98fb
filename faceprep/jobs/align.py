"""`align`: crop faces again at another size or template, from the table of an extract command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from faceprep.core.arrays import Pixels
from faceprep.core.errors import OptionError, OutputError
from faceprep.core.job import Job
from faceprep.core.options import Values, option
from faceprep.core.output_tree import is_within
from faceprep.core.paths import real_path
from faceprep.core.types import OK, Outcome, Request, Shard, Sink, Stage, Work
from faceprep.steps.crop_faces import DEGENERATE, open_cropper
from faceprep.steps.crop_options import WritesCrops, format_option, quality_option
from faceprep.steps.list_options import ListOptions
from faceprep.steps.model_names import NAMED_TEMPLATES, TEMPLATES
from faceprep.steps.table_faces import first_source, plan_faces, read_faces
from faceprep.steps.table_photos import Problem, plan_photos
from faceprep.tables import faces as faces_table
from faceprep.tables.faces import FACES_TABLE, FaceRow, FacesWriter, join_output, split_output
from faceprep.vision.templates import load_template

_PART = ".parquet"
_NO_CROP = "has no crop in the table"


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
        super().__post_init__()

    @property
    def _table(self) -> Path:
        if self.faces is None:
            raise OptionError("no table of faces", remedy="Give --faces.")
        return self.faces

    def plan(self, request: Request, scratch: Path) -> Work:
        self._refuse_places(request)
        first = first_source(self._table)
        photos = plan_photos(request.sources[0], scratch, first, self.relative_to)
        found = plan_faces(self._table, photos, stage="align", limit=request.limit)
        n = found.n_wanted
        height, width = load_template(self.template).size
        return Work(
            [Stage("align", found.shards)],
            found.fingerprint,
            "face",
            n_files=n,
            n_bytes=2 * height * width * n,
        )

    def _refuse_places(self, request: Request) -> None:
        table = real_path(self._table)
        output = real_path(request.output)
        if is_within(table, output):
            raise OutputError(
                "the table lies in the output", path=self._table, remedy="Name another output."
            )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        left_out: list[Outcome] = []

        def wants(row: FaceRow, fault: str) -> bool:
            if not row.output:
                left_out.append(Outcome(row.key, OK, _NO_CROP))
            elif fault:
                left_out.append(Outcome(row.key, DEGENERATE, fault))
            return bool(row.output) and not fault

        faces = read_faces(shard, sink.scratch, self._table, self.template, wants)
        with FacesWriter(sink.open_part(_PART)) as table:
            for rows, read in faces:
                yield from self._align(rows, read(), sink, table)
            yield from left_out

    def _align(
        self, rows: Sequence[FaceRow], pixels: Pixels | Problem, sink: Sink, table: FacesWriter
    ) -> Iterator[Outcome]:
        """Yield one Outcome for each of the `rows`, all of the same image."""
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
