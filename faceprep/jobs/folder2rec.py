"""`folder2rec`: convert identity folders to an MXNet .rec set, in InsightFace's layout or shuffled
for DALI.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from faceprep.core import storage
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io.image_bytes import check_image_bytes, read_image_bytes
from faceprep.core.job import Job
from faceprep.core.names import sort_names
from faceprep.core.options import option
from faceprep.core.random_order import random_keys
from faceprep.core.shards import cut_at
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.sets.folder import read_identity, walk_images
from faceprep.sets.recordio import writer as rec_parts
from faceprep.sets.recordio.records import EXACT_FLOATS
from faceprep.sets.recordio.writer import ImageRow, Roster

_SHARD = 2048
_PACK, _MERGE = "pack", "merge"
_SPILL = 48 << 20
_ROSTER = "identities"
_N_SAMPLED = 256
_FILES = ("train.rec", "train.idx", "train.lst", "property", "classes.csv")


@dataclass(frozen=True)
class Folder2Rec(Job):
    """Convert image folders to an MXNet .rec set.

    SRC/IDENTITY/* becomes DST/train.rec, train.idx, train.lst, property and classes.csv (class,
    name, images). Classes follow the order of the folder names: as numbers if all are numbers, else
    as text. Image bytes are not changed. A damaged image is left out and named in DST/failures.csv.
    """

    command: ClassVar[str] = "folder2rec"

    layout: str = option(
        "insightface",
        "Write header, images by class and identity records (insightface), or shuffled images "
        "only, as DALI reads them (flat).",
        choices=("insightface", "flat"),
    )
    seed: int | None = option(None, "Seed the shuffle; required with --layout flat.")

    def __post_init__(self) -> None:
        if self.layout == "flat" and self.seed is None:
            raise OptionError("--layout flat shuffles the images", remedy="Give a --seed.")

    def plan(self, request: Request, scratch: Path) -> Work:
        root = request.sources[0]
        counts, fingerprint, sample = _survey(root)
        total = sum(counts.values())
        n = min(total, request.limit or total)
        if not n:
            raise SourceError(
                "no images in this folder", path=root, expected="SRC/IDENTITY/IMAGE.jpg (or .png …)"
            )
        if self.layout == "insightface" and n + len(counts) >= EXACT_FLOATS:
            raise SourceError(
                f"{n:,} images: the insightface layout counts in float32, exact only below "
                f"{EXACT_FLOATS:,}",
                path=root,
                remedy="Use --layout flat.",
            )
        mean_size = sum(storage.size_of(root / name) or 0 for name in sample) // len(sample)
        flat = self.layout == "flat"
        n_a_shard = max(64, min(_SHARD * 4, _SPILL // max(mean_size, 1))) if flat else _SHARD
        roster = Roster(list(counts), list(counts.values()), n, n_a_shard)
        storage.write_file(scratch / _ROSTER, roster.to_bytes(), durable=False)
        names = (_PACK, _MERGE) if flat else (_PACK,)
        stages = [Stage(name, _cut(name, roster, root)) for name in names]
        return Work(
            stages,
            fingerprint,
            files=_FILES,
            n_files=len(_FILES),
            n_bytes=(len(stages) + 1) * n * mean_size,
        )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        roster = rec_parts.load_roster(sink.scratch / _ROSTER)
        if shard.stage == _MERGE:
            packed = _cut(_PACK, roster, shard.source)
            spills = [partial(sink.part_path, each.id) for each in packed]
            rec_parts.merge(spills, shard.start, shard.stop, roster.n_images, sink)
            return iter(())
        return self._pack(shard, roster, sink)

    def _pack(self, shard: Shard, roster: Roster, sink: Sink) -> Iterator[Outcome]:
        rows: list[ImageRow] = []
        for position, label, name in _images(Path(shard.source), roster, shard):
            row, outcome = _load(shard.source, position, label, name)
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


def _load(root: str, position: int, label: int, name: str) -> tuple[ImageRow | None, Outcome]:
    data = read_image_bytes(f"{root}/{name}", name)
    if isinstance(data, Outcome):
        return None, data
    header = check_image_bytes(data, name)
    if isinstance(header, Outcome):
        return None, header
    if "\t" in name or "\n" in name:
        return None, Outcome(
            name,
            "bad_name",
            f"{name!r}: train.lst cannot hold a tab or line break; rename the file",
        )
    return ImageRow(position, label, name, data, header.size or (0, 0)), Outcome(name)


def _survey(root: Path) -> tuple[dict[str, int], str, list[str]]:
    """Count the images of each identity in class order.

    Return a fingerprint of all names and some samples.
    """
    found: dict[str, tuple[int, bytes]] = {}
    sample: list[str] = []
    for identity, images, _ in walk_images(root):
        if identity == ".":
            raise SourceError(
                "images outside of any identity folder",
                path=root / min(images),
                expected="SRC/IDENTITY/IMAGE",
            )
        names = "\0".join(sorted(images)).encode("utf-8", "surrogateescape")
        if len(sample) < _N_SAMPLED:
            sample.append(f"{identity}/{images[0]}")
        found[identity] = len(images), hashlib.sha256(names).digest()
    counts = {name: found[name][0] for name in sort_names(found)}
    digest = hashlib.sha256()
    for name in counts:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + found[name][1])
    return (
        counts,
        f"{sum(counts.values())} images of {len(counts)} identities, names "
        f"{digest.hexdigest()[:16]}",
        sample,
    )


def _images(root: Path, roster: Roster, shard: Shard) -> Iterator[tuple[int, int, str]]:
    """Yield (position, class, name below `root`) for a shard.

    Raises SourceError if the folder changed.
    """
    for label, first, count in roster.span(shard.start, shard.stop):
        identity = read_identity(root, roster.names[label])
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
