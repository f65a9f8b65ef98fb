"""`search`: find the closest identities of a gallery for each probe."""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from faceprep.core import storage
from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import OptionError
from faceprep.core.job import Job
from faceprep.core.options import Values, option
from faceprep.core.paths import are_same
from faceprep.core.shards import cut_evenly, whole_stage
from faceprep.core.slow_step import log_progress
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.identity.ann_search import NearIndex, Tuning
from faceprep.identity.search import Hits, find_closest, measure_margins
from faceprep.identity.vectors import Vectors, prepare
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.embedded_sets import (
    EMBED,
    OpenSide,
    Side,
    close_sides,
    embed_shards,
    embed_side,
    open_quietly,
    open_side,
    plan_side,
    refuse_other_length,
    refuse_other_model,
    take_rows,
)
from faceprep.steps.list_options import ListOptions
from faceprep.steps.stated_template import refuse_other_template
from faceprep.tables.matches import SUFFIXES, Matches, join_matches, read_matches, write_matches

log = logging.getLogger("faceprep")
_INDEX, _SEARCH = "index", "search"
_SHARD = 2048
_TUNING, _ROWS = ".tuning", ".rows"
_PROBE, _UNIT = "probe", "gallery image"


class _Sides(NamedTuple):
    """The two sets that are compared, and the suffix of the table."""

    probes: Side
    gallery: Side
    suffix: str


@dataclass(frozen=True)
class Search(EmbedOptions, ListOptions, Job):
    """Find the closest identities of a gallery for each probe.

    PROBES and GALLERY are sets of crops, or files that embed made from them. OUT is a .csv or
    .parquet with the columns probe, rank, identity, similarity, image and margin: the closest
    identities of each probe, the most similar image of each, and the margin by which each is closer
    than the next. Similarity is the cosine, or 1 - distance²/2. An image of GALLERY without an
    identity counts as an identity of its own. Images without a vector that can be compared are
    named in failures.csv. `report OUT` shows the matches as pictures.
    """

    command: ClassVar[str] = "search"
    has_file_output: ClassVar[bool] = True

    top: int = option(5, "List this many identities for each probe.", values=Values("K", least=1))
    approximate: bool = option(
        False,
        "Search an index instead of every image, which is faster for many probes. It finds the "
        "closest identity of at least 99 % of a sample; OUT.csv.recall.json has the share.",
    )
    seed: int = option(0, "Seed the index and the sample of --approximate.", values=Values("S"))

    def warm_up(self) -> None:
        open_quietly(self)

    # Before

    def plan(self, request: Request, scratch: Path) -> Work:
        output = request.output
        if output.suffix.lower() not in SUFFIXES:
            found = f"the suffix {output.suffix!r}"
            expected = "OUT.csv or OUT.parquet"
            raise OptionError("the matches are a table", expected=expected, found=found)
        probes, gallery = self._plan_sides(request, scratch)
        sets = dict.fromkeys((probes, gallery))
        images = [side for side in sets if not side.is_file]
        for side in images:
            refuse_other_template(self, Path(side.path))
        if images:
            self.announce()
        else:
            self.refuse_unused(Path(probes.path))
        refuse_other_model(*((side.path, side.model_of(self)) for side in (probes, gallery)))
        stages = [Stage(EMBED, [shard for side in sets for shard in embed_shards(side)])]
        sides = _Sides(probes, gallery, output.suffix.lower())
        if self.approximate:
            stages.append(Stage(_INDEX, [whole_stage(_INDEX, gallery.path, payload=sides)]))
        id_format = "{stage}-{n:06d}"
        shards = cut_evenly(probes.n, _SHARD, probes.path, stage=_SEARCH, id_format=id_format)
        searches = [replace(shard, payload=sides) for shard in shards]
        stages.append(Stage(_SEARCH, searches, unit=_PROBE))
        recall_file = [_recall_file(output).name] if self.approximate else []
        return Work(
            stages,
            "; ".join(side.state_of(self) for side in (probes, gallery)),
            counted_unit=_PROBE,
            files=[output.name, *recall_file],
            n_files=1,
            n_bytes=100 * probes.n * min(self.top, gallery.n),
        )

    def _plan_sides(self, request: Request, scratch: Path) -> tuple[Side, Side]:
        """Plan both sides. Each image of a set that is searched in itself is embedded once."""
        first, second = request.sources
        probes = whole = plan_side(first, "probes", scratch, self.relative_to)
        if request.limit is not None:
            probes = replace(whole, n=min(whole.n, request.limit))
        if not are_same(first, second):
            return probes, plan_side(second, "gallery", scratch, self.relative_to, _UNIT)
        log.info("PROBES and GALLERY are the same set, so each probe finds itself first")
        if probes == whole:
            return whole, whole
        return probes, replace(whole, name="gallery", unit=_UNIT, first=probes)

    # During

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if shard.stage == EMBED:
            yield from embed_side(self, shard, sink)
            return
        sides: _Sides = shard.payload
        probes, gallery = (open_side(self, side, sink) for side in (sides.probes, sides.gallery))
        refuse_other_length(gallery.path, probes.loaded.embeddings, gallery.loaded.embeddings)
        if shard.stage == _INDEX:
            self._build_index(probes, gallery, sink)
            return
        piece = take_rows(probes.loaded.embeddings, shard.start, shard.stop)
        self._search(piece, gallery, sink, sides.suffix)
        if shard.start == 0:
            for side in dict.fromkeys((sides.probes, sides.gallery)):
                yield from open_side(self, side, sink).loaded.left_out
        if sides.probes.is_file:
            yield from map(Outcome, piece.keys)

    def _build_index(self, probes: OpenSide, gallery: OpenSide, sink: Sink) -> None:
        index = NearIndex.build(gallery.vectors, self.seed)
        tuning = index.tune(probes.vectors, self.top + 1, self.seed)
        sink.open_part(_TUNING).write(json.dumps(asdict(tuning)).encode())
        sink.open_part(_ROWS).write(index.dump().data)

    def _search(self, piece: Embeddings, gallery: OpenSide, sink: Sink, suffix: str) -> None:
        probes = prepare(piece)
        hits, margins = measure_margins(self._find(probes, gallery, sink), self.top)
        order = np.argsort(probes.order[hits.probes], kind="stable")
        ranks, hits = hits.ranks[order], hits.choose(order)
        found = Matches(
            [probes.key(row) for row in hits.probes.tolist()],
            ranks,
            [gallery.vectors.names[group] for group in hits.groups.tolist()],
            hits.likeness,
            [gallery.vectors.key(row) for row in hits.rows.tolist()],
            margins[order],
        )
        write_matches(sink.open_part(_ROWS), suffix, found)

    def _find(self, probes: Vectors, gallery: OpenSide, sink: Sink) -> Hits:
        if self.approximate:
            data = storage.read_bytes(sink.part_path(_INDEX, _ROWS))
            n_lists = _load_tuning(sink).n_lists
            index = NearIndex.load(np.frombuffer(data, np.uint8), gallery.vectors, n_lists)
            return index.search(probes, self.top + 1)
        progress = log_progress("comparing with the gallery")
        return find_closest(probes, gallery.vectors, self.top + 1, progress=progress)

    # After

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Join the parts into one table, and write the recall of an approximate search."""
        close_sides()
        parts = [sink.part_path(shard.id, _ROWS) for shard in work.stages[-1].shards]
        with sink.open(request.output.name) as file:
            join_matches(parts, file, request.output.suffix.lower())
        if self.approximate:
            tuning = _load_tuning(sink)
            figures = {
                "recall_at_1": tuning.recall,
                "sampled_probes": tuning.n_sampled,
                "lists": tuning.n_lists,
            }
            sink.write(_recall_file(request.output).name, json.dumps(figures).encode() + b"\n")

    def details(self, output: Path) -> Mapping[str, Any]:
        """Return the similarity of the closest identities, and the recall of the search."""
        closest = sorted(row.similarity for row in read_matches(output) if row.rank == 1)
        figures: dict[str, Any] = {"searched": len(closest)}
        if closest:
            names = ("lowest", "median", "highest")
            values = closest[0], statistics.median_low(closest), closest[-1]
            figures["similarity"] = dict(zip(names, values, strict=True))
        if self.approximate:
            figures |= json.loads(storage.read_bytes(_recall_file(output)))
        return figures

    def sentence(self, found: Mapping[str, Any]) -> str:
        """State how similar the closest identities are."""
        n = count_noun(found["searched"], "probe")
        if "similarity" not in found:
            return f"{n} searched for"
        values = found["similarity"]
        sentence = (
            f"{n} searched for; the similarity of the closest identity is {values['lowest']:.3f} "
            f"to {values['highest']:.3f}, with a median of {values['median']:.3f}"
        )
        if "recall_at_1" in found:
            share, sampled = 100 * found["recall_at_1"], found["sampled_probes"]
            sentence += f"; it is found for {share:.4g} % of {count_noun(sampled, 'sampled probe')}"
        return sentence


def _load_tuning(sink: Sink) -> Tuning:
    return Tuning(**json.loads(storage.read_bytes(sink.part_path(_INDEX, _TUNING))))


def _recall_file(output: Path) -> Path:
    """Return the path of the figures of an approximate search.

    >>> str(_recall_file(Path("a/out.csv")))
    'a/out.csv.recall.json'
    """
    return output.with_name(f"{output.name}.recall.json")
