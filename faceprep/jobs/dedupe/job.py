"""`dedupe`: find exact and near copies of images, plan which to drop, and write the set without
them.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import OptionError
from faceprep.core.job import Job
from faceprep.core.options import option
from faceprep.core.paths import are_same, full_path
from faceprep.core.shards import cut_evenly, whole_stage
from faceprep.core.text import count_noun
from faceprep.core.types import OK, Outcome, Request, Shard, Sink, Stage, Work
from faceprep.identity.duplicates import NO_IDENTITY
from faceprep.jobs.dedupe import copies as deduplication
from faceprep.jobs.dedupe import signatures
from faceprep.jobs.dedupe.copies import Named, NamedImage
from faceprep.jobs.dedupe.look_alikes import LookAlikes, find_candidates, table_of, with_vectors
from faceprep.jobs.dedupe.originals import Load
from faceprep.jobs.dedupe.signatures import Signatures
from faceprep.sets.containers import SET, faults_after, index_set, open_set
from faceprep.sets.folder import FolderSet
from faceprep.steps.earlier_plan import (
    VerdictOptions,
    count_refused,
    keep_reviewed,
    open_verdicts,
    state_of_verdicts,
    warn_of_renamed,
)
from faceprep.steps.embed_crops import embed_loads, listed_loads, load_parts
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.list_options import ListOptions
from faceprep.steps.listed_set import list_source, load_listed, open_listed, read_listed
from faceprep.steps.model_names import EMBEDDERS
from faceprep.steps.place_images import (
    DECIDE,
    PLACE,
    PlacedSize,
    PlacingOptions,
    choose_target,
    finish_plan,
    output_files,
    place_planned,
    place_shards,
    plan_header,
    plan_path,
    size_placed,
    write_decided,
)
from faceprep.tables.plan import PLAN, UNDO, read_plan
from faceprep.vision.encodings import Encoded, steps_of
from faceprep.vision.load_image import load_image_bytes

log = logging.getLogger("faceprep")
_NO_EMBEDDER = "none"
_SHARD = 512
_SOURCE = "source"
_SIGN, _MATCH, _EMBED = "hash", "match", "embed"
_LEFT_OUT = ".left-out"


class SignedSet(NamedTuple):
    """A set whose `n` images are compared; its index has this name, and its state is known."""

    path: str
    kind: str
    name: str
    n: int
    fingerprint: str


@dataclass(frozen=True)
class Dedupe(PlacingOptions, EmbedOptions, ListOptions, VerdictOptions, Job):
    """Find exact and near-duplicate images, and write the set without them.

    SRC is any set of images. DST gets plan.jsonl, undo.jsonl, and the images without the copies,
    bytes untouched. A copy is the same photo, byte for byte, or at another quality, size or format,
    mirrored or slightly changed; another photo of the same face is not a copy. Copies in two
    identities are undecided in the plan, so that a person decides. With --against, images that also
    occur in a test set are dropped.

    Details:

    A copy may also have another shape or brightness, be cropped by up to 7 %, or have a border or
    text added. Give photos rather than crops of them, because a crop keeps less to compare. The
    best copy within an identity stays: the one with the most pixels of real detail. Noise, grey and
    palettes count against a copy, and so do a border, text, a missing part, and having been saved
    again at a higher quality. Images that cannot be read are named and left out.
    """

    command: ClassVar[str] = "dedupe"
    no_embedder: ClassVar[str] = _NO_EMBEDDER

    embedder: str = option(
        "dlib-resnet",
        "Let this embedder confirm near duplicates: dlib-resnet, insightface:PACK, a model file, "
        "or none.",
        values=replace(EMBEDDERS, known=("dlib-resnet", _NO_EMBEDDER)),
    )
    exact_only: bool = option(False, "Find byte-for-byte copies only; decode nothing.")
    against: tuple[Path, ...] = option(
        (),
        "Drop every image that is also in this test set, which may be any set, such as a "
        "verification .bin. May be repeated.",
    )
    plan_only: bool = option(False, "Write the plan only; place no images.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exact_only and self.embedder not in (_NO_EMBEDDER, type(self).embedder):
            raise OptionError(
                "--exact-only looks at bytes alone", remedy="Leave out --embedder, or --exact-only."
            )

    @property
    def _embeds(self) -> bool:
        return not self.exact_only and self.embedder != _NO_EMBEDDER

    def warm_up(self) -> None:
        if self._embeds:
            EmbedOptions.warm_up(self)

    # Before

    def plan(self, request: Request, scratch: Path) -> Work:
        source = request.sources[0]
        keep_reviewed(plan_path(request.output), request.overwrite, self.verdicts)
        verdicts = state_of_verdicts(self.verdicts, self.command)
        listed = list_source(source, scratch, relative_to=self.relative_to).first(request.limit)
        listed.save(scratch)
        n = len(listed.listing)
        sets = [SignedSet(listed.path, listed.kind, _SOURCE, n, listed.state)]
        for number, path in enumerate(self.against):
            name = f"against-{number:03d}"
            with index_set(path, scratch, name, may_be_empty=True) as images:
                state = images.index.fingerprint
                sets.append(SignedSet(images.path, images.kind, name, len(images), state))
            _refuse_itself(source, path)
            if not sets[-1].n:
                log.warning("%s: --against: no images in it, so it drops nothing", path)
        if self._embeds:
            self.announce()
        placing: list[Shard] = []
        if not self.plan_only:
            target = choose_target(request.output, self.mode, listed, n)
            placing = place_shards(listed.path, target)
        size = PlacedSize()
        if placing:
            size = size_placed(request.output, self.mode, n, listed.n_bytes)
        return Work(
            self._stages(sets, placing),
            "; ".join(each.fingerprint for each in sets) + verdicts,
            files=output_files(request.output, [PLAN, UNDO] if placing else [PLAN]),
            n_files=size.n_files + 2,
            n_bytes=size.n_bytes + 700 * sum(each.n for each in sets),
            n_part_bytes=size.n_part_bytes,
        )

    def _stages(self, sets: Sequence[SignedSet], placing: Sequence[Shard]) -> list[Stage]:
        source = sets[0]
        stages = [Stage(_SIGN, [shard for each in sets for shard in _cut(_SIGN, each)])]
        if self._embeds:
            stages.append(Stage(_MATCH, [whole_stage(_MATCH, source.path, payload=sets)]))
            stages.append(Stage(_EMBED, _cut(_EMBED, source)))
        decided = whole_stage(DECIDE, source.path, payload=(sets, placing))
        stages.append(Stage(DECIDE, [decided]))
        return [*stages, Stage(PLACE, placing)]

    # During

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if shard.stage == _SIGN:
            return self._sign(shard, sink)
        if shard.stage == PLACE:
            left_out = set(json.loads(storage.read_bytes(sink.part_path(DECIDE, _LEFT_OUT))))
            return (
                each
                for each in place_planned(shard, sink)
                if each.key not in left_out or each.status == OK  # a list may repeat a sound image
            )
        {_MATCH: self._match, _EMBED: self._embed, DECIDE: self._decide}[shard.stage](shard, sink)
        return iter(())

    def _sign(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        """Sign images.

        Source images get their outcome here or when they are placed; test sets report damage only.
        """
        images: SignedSet = shard.payload
        found = _read(images, sink.scratch, shard.start, shard.stop)
        signed = deduplication.sign_images(found, self.exact_only)
        signatures.save(sink, signed)
        is_source = images.name == _SOURCE
        listing = load_listed(sink.scratch).listing if is_source and signed.damaged else None
        for number, (status, reason) in sorted(signed.damaged.items()):
            if listing is not None:
                yield Outcome(listing.path(number), status, reason)
            else:
                yield Outcome(f"{images.path} [{number}]", status, f"{images.path}: {reason}")
        name = SET if is_source else images.name
        with open_set(sink.scratch, name) as opened:
            for fault in faults_after(opened, shard.stop):
                key = fault.key if is_source else f"{images.path} {fault.key}"
                yield fault._replace(key=key)
        if is_source and self.plan_only:
            yield from (Outcome(name) for name in signed.names)

    def _match(self, shard: Shard, sink: Sink) -> None:
        """Write, for each shard that embeds, the numbers of its images that need a vector."""
        source: SignedSet = shard.payload[0]
        signed = _load(sink, [source])
        table = table_of(signed, np.zeros(len(signed), np.int64))
        numbers = signed.rows["number"][find_candidates(table)].astype("<i8")
        for each in _cut(_EMBED, source):
            first, last = np.searchsorted(numbers, [each.start, each.stop]).tolist()
            sink.open_part(_candidates(each)).write(numbers[first:last].tobytes())

    def _embed(self, shard: Shard, sink: Sink) -> None:
        places = _load_candidates(sink, [shard]).tolist()
        deque(embed_loads(self, listed_loads(self, sink.scratch, places), sink), maxlen=0)

    def _decide(self, shard: Shard, sink: Sink) -> None:
        sets, placing = shard.payload
        listing = load_listed(sink.scratch).listing
        signed, source = _load(sink, sets, not self.exact_only), _load(sink, sets[:1], False)
        names, shown = list(source.names), list(source.names)
        for each in sets[1:]:
            tests = _load(sink, [each], False)
            names += [_named(each, name) for name in tests.names]
            shown += _shown(each, sink.scratch, tests.rows["number"])
        n_tests = len(signed) - len(source)
        identities = np.append(
            listing.identity_of[source.rows["number"]], np.full(n_tests, NO_IDENTITY)
        )
        table = table_of(signed, identities)
        look = LookAlikes(table)
        if self._embeds:
            shards = _cut(_EMBED, sets[0])
            vectors = load_parts(sink, [each.id for each in shards], self.model())
            candidates = np.searchsorted(source.rows["number"], _load_candidates(sink, shards))
            look = with_vectors(table, candidates, vectors)
        warn_of_renamed(self.verdicts, set(listing.identities))
        named = Named(names, listing.identities, open_verdicts(self.verdicts), shown)
        with _open_images(sink.scratch) as load:
            loads = None if self.exact_only else load
            decisions, counts = deduplication.plan_drops(look, named, loads)
        damaged = list(
            deduplication.damage_drops(signatures.load_damaged(sink, _ids(sets[:1])), listing.path)
        )
        unreadable = [decision.subject for decision in damaged]
        counts |= {deduplication.DAMAGED: len(damaged)} | count_refused(decisions)
        header = plan_header(
            self.command,
            Path(shard.source),
            sets[0].fingerprint,
            self._deciding_options(len(look.table.images.contents)),
        ) | {"found": counts}
        if self._embeds:
            header["model"] = self.model().fingerprint
        write_decided(sink, header, [*damaged, *decisions], unreadable, placing)
        sink.open_part(_LEFT_OUT).write(json.dumps(unreadable).encode())

    def _deciding_options(self, n: int) -> dict[str, Any]:
        """Return what affects the decisions about `n` images."""
        options: dict[str, Any] = {
            "exact_only": self.exact_only,
            "against": [full_path(each) for each in self.against],
        }
        if not self.exact_only:
            options |= deduplication.limits_of(n) | {"embedder": self.embedder}
        if self._embeds:
            options |= {"likeness": self.model().merge_from}
        if self.verdicts:
            options["verdicts"] = full_path(self.verdicts)
        return options | self.list_options()

    # After

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Write the plan and the undo plan."""
        finish_plan(work.stages[-1].shards, sink, self.command, request.output)

    def details(self, output: Path) -> Mapping[str, int]:
        """Count the copies by kind, for the summary of the run."""
        header, _ = read_plan(plan_path(output))
        return dict(header["found"])

    def sentence(self, found: Mapping[str, int]) -> str:
        """Return `details` as a sentence."""
        sentence = (
            f"{found['exact']:,} exact and {count_noun(found['near'], 'near duplicate')} dropped"
        )
        if self.against:
            sentence += f", {count_noun(found['against'], 'image')} of test sets dropped"
        if found["conflicts"]:
            conflicts = count_noun(found["conflicts"], "label conflict")
            sentence += f"; {conflicts}, undecided in the plan"
        if "refused" in found:
            sentence += f"; {found['refused']:,} refused"
        return sentence


def _refuse_itself(source: Path, other: Path) -> None:
    """Raise OptionError if a test set is the source itself, since all images would be dropped."""
    if are_same(source, other):
        raise OptionError(
            "--against is SRC itself, so all images would be dropped",
            found=str(other),
            remedy="Name the test set, or leave out --against.",
        )


def _cut(kind: str, images: SignedSet) -> list[Shard]:
    """Return the shards of a set for one stage; each has the set as its payload."""
    id_format = f"{{stage}}-{images.name}-{{n:06d}}"
    shards = cut_evenly(images.n, _SHARD, images.path, stage=kind, id_format=id_format)
    return [replace(shard, payload=images) for shard in shards]


def _read(images: SignedSet, scratch: Path, start: int, stop: int) -> Iterator[NamedImage]:
    """Yield the images [start, stop) with their places and names."""
    if images.name == _SOURCE:
        for place, each in enumerate(read_listed(scratch, range(start, stop)), start):
            data = each if isinstance(each, Outcome) else each.data
            yield NamedImage(place, each.key, data)
        return
    with open_set(scratch, images.name) as opened:
        for place, each in enumerate(opened.read(range(start, stop)), start):
            if isinstance(each, Outcome):
                yield NamedImage(place, each.key, each)
            else:
                yield NamedImage(place, each.place or each.key, each.data)


@contextmanager
def _open_images(scratch: Path) -> Iterator[Load]:
    with open_listed(scratch) as read:

        def load(place: int) -> Encoded | None:
            (each,) = read([place])
            if isinstance(each, Outcome):
                return None
            pixels = load_image_bytes(each.data, each.key)
            return None if isinstance(pixels, Outcome) else Encoded(pixels, steps_of(each.data))

        yield load


def _load(sink: Sink, sets: Sequence[SignedSet], with_thumbnails: bool = True) -> Signatures:
    return signatures.load(sink, _ids(sets), with_thumbnails)


def _ids(sets: Sequence[SignedSet]) -> list[str]:
    return [shard.id for each in sets for shard in _cut(_SIGN, each)]


def _candidates(shard: Shard) -> str:
    return f".{shard.id}"


def _load_candidates(sink: Sink, shards: Sequence[Shard]) -> Ints:
    """Load the numbers of the images that need a vector, ascending."""
    parts = (storage.read_bytes(sink.part_path(_MATCH, _candidates(shard))) for shard in shards)
    return np.frombuffer(b"".join(parts), "<i8").astype(np.int64)


def _shown(images: SignedSet, scratch: Path, numbers: Ints) -> list[str]:
    """Return images of a test set as `review` can show them: the path of the set, then the key."""
    with open_set(scratch, images.name) as opened:
        keys = opened.keys(0, images.n)
    return [f"{images.path}/{keys[number]}" for number in numbers.tolist()]


def _named(images: SignedSet, name: str) -> str:
    if images.kind == FolderSet.kind:
        return f"{images.path}/{name}"
    return f"{images.path}: {name}"
