"""`convert`: any set of images to any container, payload bytes untouched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from faceprep.core import registry, storage
from faceprep.core.arrays import Ints
from faceprep.core.cpu import usable_memory
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.job import Job
from faceprep.core.options import Values, option
from faceprep.core.paths import full_path, is_file
from faceprep.core.random_order import shuffled
from faceprep.core.shards import cut_at, cut_evenly, even_bounds, refuse_empty_files
from faceprep.core.text import list_words
from faceprep.core.types import OK, Outcome, Request, Shard, Sink, Stage, Work
from faceprep.sets import class_map
from faceprep.sets.class_numbers import NumberCheck, find_stated_classes, warn_of_changes
from faceprep.sets.containers import (
    describe_container,
    describe_writer,
    faults_after,
    find_writer,
    index_set,
    load_writer,
    open_set,
    suggest_containers,
)
from faceprep.sets.image_set import Found, ImageSet, Sample, read_singly
from faceprep.sets.losses import find_losses
from faceprep.sets.map_owner import may_write_map, write_map
from faceprep.sets.sample_spill import read_spilled, reads_fast, write_spill
from faceprep.sets.set_writer import Classes, OutPart, SetNames, SetWriter
from faceprep.steps.list_options import NamingOptions

_PART, _WHOLE = 1 << 13, 1 << 18
"""Most images of a part; of a part that is one of several files."""
_ORDER, _RANKS, _WRITER = "order", "ranks", "writer.json"
_SPILL, _WRITE, _TWO_PASSES = "spill", "write", "two passes"
_MEMORY = 0.7
"""The share of the memory that a source may take and be read in any order."""
_BATCH, _FEWEST = 100 << 20, 64
"""Bytes of a batch of a shuffle in two passes, and the fewest images in it."""
_LOST, _NUMBERS = ".lost", ".numbers"


@dataclass(frozen=True, slots=True)
class _Spills:
    """The batches of a shuffle of `n` images in two passes, each of `size` images."""

    n: int
    size: int

    def shards(self, source: str) -> list[Shard]:
        """Return the shards of the first pass."""
        return cut_evenly(self.n, self.size, source, stage=_SPILL, id_format="{stage}-{n:06d}")

    def read(self, shard: Shard, sink: Sink) -> Iterator[Found]:
        """Yield the samples of a shard of the second pass."""
        ids = [spill.id for spill in self.shards(shard.source)]
        paths = [partial(sink.part_path, shard_id) for shard_id in ids]
        return read_spilled(paths, shard.start, shard.stop, self.size)


@dataclass(frozen=True)
class Convert(NamingOptions, Job):
    """Convert any set of images to any container.

    The suffix of DST selects the container: none for a folder, .rec, .tar, .tfrecord, .parquet,
    .bin (pairs), or a list of files: .npz, .csv, .lst or .txt. Image bytes are copied, never
    encoded again, and keep their order. If DST cannot hold all that SRC has, the command names what
    would be lost and stops before it writes; --allow-loss converts anyway. NAME_classes.csv beside
    DST lists the class numbers: those that SRC states, or else those in the order of the
    identities. What is not an image, or is cut off, is left out and named in failures.csv; `inspect
    --deep` also finds damage inside of images.
    """

    command: ClassVar[str] = "convert"

    seed: int | None = option(
        None, "Shuffle the images with this seed.", values=Values("S", default="keep their order")
    )
    shards: int | None = option(
        None, "Divide the output into this many files.", values=Values(least=1)
    )
    shard_size: int | None = option(
        None,
        "Divide the output into files of about this many bytes.",
        values=Values("BYTES", least=1),
    )
    memory: int | None = option(
        None,
        "Shuffle a source larger than this in two passes, through the disk of DST.",
        values=Values(
            "BYTES",
            least=1,
            default="70 % of the memory, where the disk is slow at reading single images",
        ),
    )
    allow_loss: bool = option(False, "Convert although DST cannot hold all that SRC has.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shards and self.shard_size:
            raise OptionError("--shards and --shard-size exclude each other")

    def writes_file(self, output: Path) -> bool:
        return bool(output.suffix)

    def may_write_to_store(self, output: Path) -> bool:
        writer = find_writer(output)
        return writer is None or writer.kind not in registry.LIST_KINDS

    def plan(self, request: Request, scratch: Path) -> Work:
        images = index_set(request.sources[0], scratch, relative_to=self.relative_to)
        if not self.writes_file(request.output):
            self._refuse_shards()
        n = len(images) if request.limit is None else min(len(images), request.limit)
        writer = self._make_writer(request.output, images, scratch)
        _refuse_halves(images, n, writer)
        n_bytes = max(images.count_bytes(n), 1)
        n_written = n * writer.overhead
        if not writer.refers_to_files:
            n_written += n_bytes
        n_files = self._count_files(n, n_written, writer.group)
        order = self._write_order(n, writer.group, scratch)
        spills, choices = None, dict(request.choices)
        if order is not None and not writer.refers_to_files:
            if _TWO_PASSES not in choices:
                choices[_TWO_PASSES] = self._takes_two_passes(images, order, n_bytes)
            if choices[_TWO_PASSES]:
                spills = _write_ranks(order, n_bytes, scratch)
        parts = _cut_parts(writer, n, n_files)
        bounds, output = [(part.start, part.stop) for part in parts], str(request.output)
        shards = [
            replace(shard, payload=(output, part, spills))
            for shard, part in zip(cut_at(bounds, images.path), parts, strict=True)
        ]
        stages = [Stage(_WRITE, shards)]
        n_part_bytes = 0
        if spills:
            first = [replace(each, payload=(output,)) for each in spills.shards(images.path)]
            stages.insert(0, Stage(_SPILL, first))
            n_part_bytes = n_bytes
        files, n_outputs = None, n
        if self.writes_file(request.output):
            side_files = writer.side_files(n_files)
            if not may_write_map(writer.output, writer.classes.names):
                side_files = [name for name in side_files if name != writer.class_map]
            files = [*writer.files(n_files), *side_files]
            n_outputs = len(files)
            n_joined = sum(part.stop - part.start for part in parts if not part.is_whole)
            n_part_bytes += n_written * n_joined // n
        fingerprint = f"{images.kind} {images.index.fingerprint}"
        return Work(
            stages,
            fingerprint,
            files=files,
            n_files=n_outputs,
            n_bytes=n_written,
            n_part_bytes=n_part_bytes,
            choices=choices,
        )

    def _write_order(self, n: int, group: int, scratch: Path) -> Ints | None:
        """Write the order of a shuffle, the positions (n,) of the images; none without a seed."""
        if self.seed is None:
            return None
        order = _shuffle(n, self.seed, group)
        storage.write_file(scratch / _ORDER, order.astype("<i8").tobytes(), durable=False)
        return order

    def _takes_two_passes(self, images: ImageSet, order: Ints, n_bytes: int) -> bool:
        """Return whether the images are shuffled in two passes, since single reads are slow."""
        if self.memory is not None:
            return n_bytes > self.memory
        if n_bytes <= int(_MEMORY * usable_memory()):
            return False
        return not reads_fast(images, order)

    def _make_writer(self, output: Path, images: ImageSet, scratch: Path) -> SetWriter:
        """Choose the writer and its settings for all parts; refuse losses."""
        writer = _find_writer(output)
        names = SetNames.of(images, writer, self._base())
        stated = find_stated_classes(images) if writer.takes_numbers else ()
        about = describe_writer(writer, names, stated)
        self._refuse_losses(names, writer, images.path, output)
        storage.write_file(scratch / _WRITER, about, durable=False)
        return load_writer(output, scratch / _WRITER)

    def _base(self) -> str:
        if self.relative_to is None:
            return ""
        return full_path(self.relative_to)

    def _refuse_losses(
        self, names: SetNames, writer: type[SetWriter], source: str, output: Path
    ) -> None:
        losses = find_losses(names, writer)
        if self.seed is not None and not writer.can.order:
            raise OptionError(f"--seed: a {writer.kind} has no order", remedy="Leave it out.")
        if losses and not self.allow_loss:
            suggested = suggest_containers(names)
            remedy = f"{suggested}, or use --allow-loss." if suggested else "Use --allow-loss."
            problem = f"{describe_container(output)} cannot hold {list_words(losses)}"
            raise SourceError(problem, path=source, remedy=remedy)

    def _refuse_shards(self) -> None:
        if self.shards or self.shard_size:
            name = "--shards" if self.shards else "--shard-size"
            raise OptionError(f"{name}: a folder is not divided into files", remedy="Leave it out.")

    def _count_files(self, n: int, n_bytes: int, group: int) -> int:
        if self.shard_size:
            return max(1, min(n // group, -(-n_bytes // self.shard_size)))
        n_files = self.shards or 1
        refuse_empty_files(n_files, n // group)
        return n_files

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        writer = load_writer(Path(shard.payload[0]), sink.scratch / _WRITER)
        with open_set(sink.scratch) as images:
            images.keeps_labels = writer.kind == images.kind
            if shard.stage == _SPILL:
                ranks = _positions(sink.scratch / _RANKS, shard.start, shard.stop)
                samples = images.read(range(shard.start, shard.stop))
                write_spill(samples, np.asarray(ranks, np.int64), sink)
            else:
                yield from self._write(images, writer, shard, sink)

    def _write(
        self, images: ImageSet, writer: SetWriter, shard: Shard, sink: Sink
    ) -> Iterator[Outcome]:
        _, part, spills = shard.payload
        lost: dict[str, int] = {}
        positions = _positions(sink.scratch / _ORDER, shard.start, shard.stop)
        numbers = images.index.identity_of[np.asarray(positions, np.int64)].tolist()
        found = images.read_runs(positions)
        if spills:
            found = spills.read(shard, sink)
        if images.below and not writer.refers_to_files:
            found = _shorten_keys(read_singly(found), images.below)
        check = NumberCheck(writer.classes)
        outcomes = writer.write(check.watch(found), part, sink)
        for position, number, outcome in zip(positions, numbers, outcomes, strict=True):
            if outcome.status == OK:
                yield outcome
                continue
            if number >= 0:
                name = images.index.identities[number]
                lost[name] = lost.get(name, 0) + 1
            yield outcome._replace(key=images.key(position))
        yield from faults_after(images, shard.stop)
        sink.open_part(_LOST).write(json.dumps(lost).encode())
        sink.open_part(_NUMBERS).write(check.to_json())

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Join files that were written in several parts, and write the class map."""
        shards = work.stages[-1].shards
        writer = load_writer(request.output, sink.scratch / _WRITER)
        parts: dict[str, list[tuple[str, OutPart]]] = {}
        for shard in shards:
            part: OutPart = shard.payload[1]
            parts.setdefault(part.file, []).append((shard.id, part))
        for name, of_file in parts.items():
            if not of_file[0][1].is_whole:
                writer.join(name, of_file, sink)
        if self.writes_file(request.output) and writer.can.identities:
            counts, lost = self._count_images(writer.classes, shards, sink)
            is_empty = (counts > 0) & (counts == lost)
            classes = writer.classes.names
            class_map.warn_of_empty([classes[n] for n in np.flatnonzero(is_empty).tolist()])
            write_map(sink, request.output, classes, (counts - lost).tolist(), work.files)
        if writer.class_map in writer.side_files(1):
            paths = [sink.part_path(shard.id, _NUMBERS) for shard in shards]
            found = [storage.read_bytes(path) for path in paths if is_file(path)]
            warn_of_changes(found, shards[0].source, request.output)

    def _count_images(
        self, classes: Classes, shards: Sequence[Shard], sink: Sink
    ) -> tuple[Ints, Ints]:
        """Count the images of each class that were to be written, and the lost ones of them."""
        counts, lost = np.zeros((2, len(classes.names)), np.int64)
        with open_set(sink.scratch) as images:
            identities = images.index.identities
            numbers = map(classes.numbers.__getitem__, identities)
            class_of = np.fromiter(numbers, np.int64, len(identities))
            for start, stop in even_bounds(shards[-1].stop, _WHOLE):
                positions = np.asarray(_positions(sink.scratch / _ORDER, start, stop), np.int64)
                taken = images.index.identity_of[positions]
                counts += np.bincount(class_of[taken[taken >= 0]], minlength=len(counts))
        lost_of = class_map.count_lost(sink.part_path(shard.id, _LOST) for shard in shards)
        for name, n in lost_of.items():
            lost[classes.numbers[name]] = n
        return counts, lost


def _find_writer(output: Path) -> type[SetWriter]:
    """Return the writer for the suffix of `output`. Raises OptionError for an unknown suffix."""
    writer = find_writer(output)
    if writer is not None:
        return writer
    entries = [entry for entry in registry.CONTAINERS.values() if entry.writer and entry.suffixes]
    known = [entry.suffixes[0] for entry in entries]
    raise OptionError(
        f"{output.name!r} is not a set that convert writes",
        expected="a folder, or " + " ".join(known),
        found=f"the suffix {output.suffix!r}",
    )


def _refuse_halves(images: ImageSet, n: int, writer: SetWriter) -> None:
    """Raise an error where the first `n` images do not fill the groups that stay together."""
    if n % writer.group == 0:
        return
    expected = f"a multiple of {writer.group} images"
    if n < len(images):
        raise OptionError("--limit", expected=expected, found=str(n))
    raise SourceError(
        f"a {writer.kind} holds its images in pairs",
        path=images.path,
        expected=expected,
        found=f"{n:,}",
    )


def _write_ranks(order: Ints, n_bytes: int, scratch: Path) -> _Spills:
    """Write the place of each image in the output; return the batches of the first pass."""
    n = len(order)
    ranks = np.empty(n, "<i8")
    ranks[order] = np.arange(n)
    storage.write_file(scratch / _RANKS, ranks.tobytes(), durable=False)
    return _Spills(n, max(_FEWEST, _BATCH * n // n_bytes))


def _shuffle(n: int, seed: int, group: int) -> npt.NDArray[np.int64]:
    """Return positions (n,) in random order; `group` consecutive images stay together."""
    firsts = shuffled(n // group, seed).astype("<i8") * group
    return (firsts[:, None] + np.arange(group)).reshape(-1)


def _cut_parts(writer: SetWriter, n: int, n_files: int) -> list[OutPart]:
    names, group = writer.files(n_files), writer.group
    n_groups = n // group
    edges = [number * n_groups // len(names) * group for number in range(len(names) + 1)]
    parts = []
    for name, first, last in zip(names, edges, edges[1:], strict=False):
        size = _PART
        if len(names) > 1 and writer.parts_are_files and last - first <= _WHOLE:
            size = _WHOLE
        bounds = list(even_bounds(last, size, first))
        is_whole = writer.parts_are_files and len(bounds) == 1
        parts += [OutPart(name, start, stop, last, is_whole) for start, stop in bounds]
    return parts


def _shorten_keys(samples: Iterator[Sample | Outcome], below: str) -> Iterator[Sample | Outcome]:
    """Take absolute keys as paths in the folder `below`."""
    return (each._replace(key=each.key.removeprefix(f"{below}/")) for each in samples)


def _positions(order: Path, start: int, stop: int) -> Sequence[int]:
    """Return the numbers [start, stop) of a permutation; of the natural order without a file."""
    if storage.size_of(order) is None:
        return range(start, stop)
    mapped: npt.NDArray[np.int64] = np.memmap(order, "<i8", "r")
    positions: list[int] = mapped[start:stop].tolist()
    return positions
