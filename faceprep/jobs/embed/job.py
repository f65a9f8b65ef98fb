"""`embed`: compute one vector per image, and store it with name, class and model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from faceprep.core.embeddings import COSINE, Model
from faceprep.core.errors import OptionError
from faceprep.core.job import Job
from faceprep.core.options import Values, option
from faceprep.core.shards import refuse_empty_files
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.identity.vectors import scale_to_unit
from faceprep.jobs.embed import sources as crop_sources
from faceprep.jobs.embed.sources import Wanted
from faceprep.steps.embed_crops import embed_loads, load_parts
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.list_options import NamingOptions
from faceprep.steps.stated_template import refuse_other_template
from faceprep.tables import embeddings as embeddings_file
from faceprep.tables.embeddings import shard_names
from faceprep.tables.embeddings_csv import about_path, encode_about

_PHOTOS = "photos"


@dataclass(frozen=True)
class Embed(EmbedOptions, NamingOptions, Job):
    """Compute one embedding per face.

    SRC is any set of crops, or IJB-B or IJB-C as published, where the template of each image is its
    identity. With --faces, SRC is the photos or videos that the crops were made from, or those
    photos in any set. OUT is an .npz or a .parquet with image_names, image_classes and embeddings,
    or a .csv with one column for each number. Keras_insightface reads the .npz too. OUT records the
    embedder and its preprocessing; a .csv has them in OUT.csv.model.json. Images that cannot be
    read are named in failures.csv.
    """

    command: ClassVar[str] = "embed"
    has_file_output: ClassVar[bool] = True

    faces: Path | None = option(
        None,
        "Align the faces in SRC directly to the embedder's template, by this faces.parquet of "
        "extract-photos or extract-video.",
        values=Values("TABLE"),
    )
    fp16: bool = option(False, "Write float16.")
    unit: bool = option(False, "Scale each vector to length 1.")
    shards: int = option(
        1,
        "Divide a .parquet into this many files: OUT-00000-of-00002.parquet and so on.",
        values=Values(least=1),
    )

    def may_write_to_store(self, output: Path) -> bool:
        return True

    def plan(self, request: Request, scratch: Path) -> Work:
        source, output = request.sources[0], request.output
        suffix = output.suffix.lower()
        if suffix not in embeddings_file.SUFFIXES:
            found = f"the suffix {output.suffix!r}"
            raise OptionError(
                "embeddings are an .npz, a .parquet or a .csv",
                expected="OUT.npz, OUT.parquet or OUT.csv",
                found=found,
            )
        if self.shards < 1 or (self.shards > 1 and suffix != ".parquet"):
            raise OptionError(
                "--shards", expected="1, or more with OUT.parquet", found=str(self.shards)
            )
        if self.faces is None:
            refuse_other_template(self, source)
        found_there = crop_sources.plan_source(
            source, Wanted(request.limit, self.relative_to, self.faces), scratch
        )
        n = found_there.n
        refuse_empty_files(self.shards, n)
        self.announce()
        files = shard_names(output.name, self.shards)
        if suffix == ".csv":
            files.append(about_path(output.name))
        n_bytes = n * (100 + self.open().dim * (6 if self.fp16 else 8))
        fingerprint = f"{found_there.fingerprint}, {self._model().fingerprint}"
        return Work(
            [Stage("embed", found_there.shards)],
            fingerprint,
            files=files,
            n_files=len(files),
            n_bytes=n_bytes,
            n_aside=sum(map(len, found_there.shards)) - n,
        )

    def _model(self) -> Model:
        """Return the model; scaled vectors are of another one where their length counts."""
        model = self.model(of=_PHOTOS if self.faces else "")
        if self.unit and model.metric != COSINE:
            return replace(model, fingerprint=f"{model.fingerprint}/unit")
        return model

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        template = self.open().template
        loads = crop_sources.read_shard(shard, sink.scratch, self.fitter(), template, self.faces)
        return embed_loads(self, loads, sink)

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Write all vectors to one file, or to several."""
        embeddings = load_parts(sink, [shard.id for shard in work.stages[0].shards], self._model())
        if self.unit:
            embeddings = scale_to_unit(embeddings)
        place = crop_sources.load_place(sink.scratch)
        first, *others = work.files or ()
        suffix = Path(first).suffix.lower()
        if suffix == ".csv":
            with sink.open(first) as file:
                about = embeddings_file.write_csv(file, embeddings, place, self.fp16)
            sink.write(others[0], encode_about(about))
            return
        if suffix == ".npz":
            with sink.open(first) as file:
                embeddings_file.write_npz(file, embeddings, place, self.fp16)
        else:
            files = [partial(sink.open, name) for name in (first, *others)]
            embeddings_file.write_parquet(files, embeddings, place, self.fp16)
