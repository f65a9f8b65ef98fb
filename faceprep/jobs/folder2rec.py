"""`folder2rec`: convert identity folders, or any set, to an MXNet .rec set, in InsightFace's layout
or shuffled for DALI.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io.image_bytes import check_image_bytes, read_image_bytes
from faceprep.core.io.image_header import is_image_name
from faceprep.core.job import Job
from faceprep.core.names import sort_files, sort_names
from faceprep.core.options import Values, option
from faceprep.core.random_order import random_keys
from faceprep.core.shards import cut_at, cut_evenly
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.sets.containers import kind_of, open_set
from faceprep.sets.folder import BAD_NAME, FolderSet, Identity, read_identity, walk_images
from faceprep.sets.image_set import Sample
from faceprep.sets.listing import NO_IDENTITY, describe_bad_name, is_text
from faceprep.sets.losses import find_lost_contents, warn_of_losses
from faceprep.sets.recordio import writer as rec_parts
from faceprep.sets.recordio.records import EXACT_FLOATS
from faceprep.sets.recordio.writer import ImageRow, Roster
from faceprep.steps.list_options import ListOptions
from faceprep.steps.listed_set import list_people, list_source, read_listed

_SHARD = 2048
_REFUSED, _PACK, _MERGE = "refused", "pack", "merge"
_SPILL = 48 << 20
_ROSTER, _PLACES = "identities", "places"
_N_SAMPLED = 256
_FILES = ("train.rec", "train.idx", "train.lst", "property", "classes.csv")


@dataclass(frozen=True)
class Folder2Rec(ListOptions, Job):
    """Convert image folders, or any other set, to an MXNet .rec set.

    SRC/IDENTITY/* becomes DST/train.rec, train.idx, train.lst, property and classes.csv (class,
    name, images). Classes follow the order of the folder names: as numbers if all are numbers, else
    as text. Image bytes are not changed. What is not an image, or is cut off, is left out and
    named in DST/failures.csv, and so are an image outside of any identity and an identity whose
    name is not UTF-8. `inspect --deep` finds damage inside of images.
    """

    command: ClassVar[str] = "folder2rec"

    layout: str = option(
        "insightface",
        "Write header, images by class and identity records (insightface), or shuffled images "
        "only, as DALI reads them (flat).",
        choices=("insightface", "flat"),
    )
    seed: int | None = option(
        None, "Seed the shuffle; required with --layout flat.", values=Values("S")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout == "flat" and self.seed is None:
            raise OptionError("--layout flat shuffles the images", remedy="Give a --seed.")

    def plan(self, request: Request, scratch: Path) -> Work:
        root = request.sources[0]
        survey = _survey(root, scratch, self.relative_to)
        counts, refused = survey.counts, survey.refused
        total = sum(counts.values())
        n = min(total, request.limit or total)
        if not n:
            raise _nothing_to_pack(root, refused)
        if self.layout == "insightface" and n + len(counts) >= EXACT_FLOATS:
            raise SourceError(
                f"{n:,} images: the insightface layout counts in float32, exact only below "
                f"{EXACT_FLOATS:,}",
                path=root,
                remedy="Use --layout flat.",
            )
        mean_size = survey.mean_size
        flat = self.layout == "flat"
        n_a_shard = max(64, min(_SHARD * 4, _SPILL // max(mean_size, 1))) if flat else _SHARD
        roster = Roster(list(counts), list(counts.values()), n, n_a_shard)
        storage.write_file(scratch / _ROSTER, roster.to_bytes(), durable=False)
        names = (_PACK, _MERGE) if flat else (_PACK,)
        stages = [Stage(name, _cut(name, roster, root)) for name in names]
        if refused:
            stages.insert(0, Stage(_REFUSED, _refusals(refused, root)))
        return Work(
            stages,
            survey.fingerprint,
            files=_FILES,
            n_files=len(_FILES),
            n_bytes=n * mean_size,
            n_part_bytes=len(names) * n * mean_size,
        )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if shard.stage == _REFUSED:
            return iter(shard.payload)
        roster = rec_parts.load_roster(sink.scratch / _ROSTER)
        if shard.stage == _MERGE:
            packed = _cut(_PACK, roster, shard.source)
            spills = [partial(sink.part_path, each.id) for each in packed]
            rec_parts.merge(spills, shard.start, shard.stop, roster.n_images, sink)
            return iter(())
        return self._pack(shard, roster, sink)

    def _pack(self, shard: Shard, roster: Roster, sink: Sink) -> Iterator[Outcome]:
        rows: list[ImageRow] = []
        for row, outcome in _load_rows(shard, roster, sink.scratch):
            if row:
                rows.append(row)
            yield outcome
        if self.layout == "flat":
            numbers = random_keys(self.seed or 0, shard.start, shard.stop)
            rec_parts.write_spill(rows, numbers[[row.position - shard.start for row in rows]], sink)
        else:
            rec_parts.write_packed(rows, sink)

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Join the parts and write the index, the lists and the counts."""
        roster = rec_parts.load_roster(sink.scratch / _ROSTER)
        parts = [partial(sink.part_path, shard.id) for shard in work.stages[-1].shards]
        rec_parts.join(parts, roster, self.layout == "insightface", sink)


def _cut(stage: str, roster: Roster, source: str | Path) -> list[Shard]:
    """Return the shards of a stage; each stage cuts at the same positions."""
    return cut_at(roster.cuts(), source, stage=stage, id_format="{stage}-{start:010d}")


_Loaded = tuple[ImageRow | None, Outcome]


def _load_rows(shard: Shard, roster: Roster, scratch: Path) -> Iterator[_Loaded]:
    """Yield the row of each image, None for a damaged one, with its outcome."""
    if storage.size_of(scratch / _PLACES) is None:
        for position, label, name in _images(Path(shard.source), roster, shard):
            data = read_image_bytes(f"{shard.source}/{name}", name)
            if isinstance(data, Outcome):
                yield None, data
            else:
                yield _make_row(position, label, Sample(name, "", data))
        return
    places: Ints = np.memmap(scratch / _PLACES, "<i8", "r")
    images = read_listed(scratch, places[shard.start : shard.stop].tolist())
    for (position, label), each in zip(_labels(roster, shard), images, strict=True):
        if isinstance(each, Outcome):
            yield None, each
        else:
            yield _make_row(position, label, each)


def _labels(roster: Roster, shard: Shard) -> Iterator[tuple[int, int]]:
    """Yield (position, class) of each image of a shard."""
    for label, first, count in roster.span(shard.start, shard.stop):
        for position in range(max(shard.start, first), min(shard.stop, first + count)):
            yield position, label


def _make_row(position: int, label: int, sample: Sample) -> _Loaded:
    name, data = sample.key, bytes(sample.data)
    header = check_image_bytes(data, name, sample.place)
    if isinstance(header, Outcome):
        return None, header
    if "\t" in name or "\n" in name:
        return None, Outcome(
            name,
            BAD_NAME,
            f"{name!r}: train.lst cannot hold a tab or line break; rename the file or its folder",
        )
    listed = name if is_image_name(name) else name + header.suffix
    return ImageRow(position, label, listed, data, header.size or (0, 0)), Outcome(name)


def _refusals(refused: Sequence[Outcome], root: Path) -> list[Shard]:
    """Return the shards that report the images outside of every class."""
    shards = cut_evenly(
        len(refused), _SHARD, root, stage=_REFUSED, id_format="{stage}-{start:010d}"
    )
    return [replace(shard, payload=refused[shard.start : shard.stop]) for shard in shards]


def _nothing_to_pack(root: Path, refused: Sequence[Outcome]) -> SourceError:
    expected = "SRC/IDENTITY/IMAGE.jpg (or .png …)"
    if not refused:
        return SourceError("no images in this folder", path=root, expected=expected)
    problem = f"none of {count_noun(len(refused), 'image')} can be packed"
    return SourceError(problem, path=root, expected=expected, found=refused[0].reason)


def _refuse(identity: str, images: Sequence[str]) -> list[Outcome]:
    """Return the outcomes of images whose folder cannot be a class; none for any other."""
    if identity == ".":
        return [
            Outcome(name, NO_IDENTITY, f"{name}: outside of any identity folder")
            for name in sort_files(images)
        ]
    if is_text(identity):
        return []
    paths = [f"{identity}/{name}" for name in sort_files(images)]
    return [Outcome(path, BAD_NAME, describe_bad_name(path)) for path in paths]


class _Survey(NamedTuple):
    """Image counts of each identity in class order, a fingerprint of all names, the mean bytes of
    an image, and the images outside of every class.
    """

    counts: dict[str, int]
    fingerprint: str
    mean_size: int
    refused: list[Outcome]


def _survey(source: Path, scratch: Path, relative_to: Path | None) -> _Survey:
    """Look through a set of any kind. Raises SourceError."""
    if kind_of(source) == FolderSet.kind:
        return _survey_folder(source)
    return _survey_set(source, scratch, relative_to)


def _survey_folder(root: Path) -> _Survey:
    found: dict[str, tuple[int, bytes]] = {}
    sample: list[str] = []
    refused: dict[str, list[Outcome]] = {}
    for identity, images in walk_images(root):
        names = "\0".join(sorted(images)).encode("utf-8", "surrogateescape")
        found[identity] = len(images), hashlib.sha256(names).digest()
        outcomes = _refuse(identity, images)
        if outcomes:
            refused[identity] = outcomes
        elif len(sample) < _N_SAMPLED:
            sample.append(f"{identity}/{images[0]}")
    digest = hashlib.sha256()
    for name in sort_names(found):
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + found[name][1])
    n_images = sum(n for n, _ in found.values())
    fingerprint = f"{n_images} images of {len(found)} identities, names {digest.hexdigest()[:16]}"
    counts = {name: found[name][0] for name in sort_names(found.keys() - refused)}
    outcomes = [outcome for name in sorted(refused) for outcome in refused[name]]
    n_bytes = storage.estimate_size(root / name for name in sample)
    return _Survey(counts, fingerprint, n_bytes // max(len(sample), 1), outcomes)


def _survey_set(source: Path, scratch: Path, relative_to: Path | None) -> _Survey:
    """Index a set that is not a folder, and note the places of its images in class order."""
    listed = list_source(source, scratch, relative_to=relative_to)
    warn_of_losses(listed.path, "this .rec", find_lost_contents(listed))
    listed.save(scratch)
    listing, people = listed.listing, list_people(listed, warns=False)
    refused: list[Outcome] = []
    for start, stop in listing.runs():
        refused += _refuse(
            listing.identities[listing.identity_of[start]], listing.files[start:stop]
        )
    with open_set(scratch) as images:
        refused += images.faults()
    are_kept = np.array([is_text(name) for name in people.names], np.bool_)
    places = people.places[np.repeat(are_kept, people.counts)]
    storage.write_file(scratch / _PLACES, places.astype("<i8").tobytes(), durable=False)
    counts = dict(zip(people.names, people.counts.tolist(), strict=True))
    kept = {name: n for name, n in counts.items() if is_text(name)}
    return _Survey(kept, listed.state, listed.n_bytes // len(listing), refused)


@functools.lru_cache(maxsize=1)
def _list_identity(root: str, name: str, state: str) -> Identity:
    """List an identity once for all shards of a worker, as long as its `state` stays the same."""
    return read_identity(Path(root), name)


def _images(root: Path, roster: Roster, shard: Shard) -> Iterator[tuple[int, int, str]]:
    """Yield (position, class, name below `root`) for a shard.

    Raises SourceError if the folder changed.
    """
    for label, first, count in roster.span(shard.start, shard.stop):
        name = roster.names[label]
        identity = _list_identity(str(root), name, storage.fingerprint_of(root / name))
        if len(identity.images) != count:
            raise SourceError(
                "the folder changed during the run",
                path=root / identity.name,
                expected=f"{count} images",
                found=str(len(identity.images)),
                remedy="Start again with --overwrite.",
            )
        begin, end = max(shard.start - first, 0), min(shard.stop - first, count)
        for position, image in enumerate(identity.images[begin:end], first + begin):
            yield position, label, f"{identity.name}/{image}"
