"""Carries out plans, for `apply` and for the commands that plan and place in one run.

Target         where the images go: a folder, or a container by its suffix
resolve        decisions and a listing -> where every image goes (in `resolve_plan`)
write_rows     the same, cut as `place_shards` cuts the work, for workers to look up
place_rows     images to their places: files copied or linked, or samples to a writer
finish_placing joins a container, and writes the plan that turns the output back

A command that plans and places in one go has a stage with one shard that decides and calls
`write_decided`, and a stage with `place_shards` that call `place_planned`; `finish_plan` ends it.
"""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from faceprep.core import storage
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io.columns import pack_texts
from faceprep.core.names import identity_of
from faceprep.core.options import option
from faceprep.core.paths import full_path
from faceprep.core.shards import cut_evenly
from faceprep.core.text import list_words
from faceprep.core.types import COPY, DROPPED, PLACING_MODES, Decision, Outcome, Shard, Sink
from faceprep.core.urls import is_remote
from faceprep.sets import class_map
from faceprep.sets.containers import (
    describe_writer,
    find_writer,
    is_container_name,
    kind_of,
    load_writer,
    suggest_containers,
)
from faceprep.sets.folder import FolderSet, FolderWriter
from faceprep.sets.image_set import Sample
from faceprep.sets.listing import Listing
from faceprep.sets.losses import find_losses, find_lost_contents, warn_of_losses
from faceprep.sets.map_owner import may_write_map, refuse_other_map
from faceprep.sets.set_writer import Classes, OutPart, SetNames, SetWriter
from faceprep.steps.list_options import origin_options
from faceprep.steps.listed_set import ListedSet, names_below, read_listed, read_paths
from faceprep.steps.resolve_plan import Destinations, Row, resolve
from faceprep.steps.undo_plan import carry_faces, write_undo
from faceprep.tables.plan import PLAN, UNDO, digest_of, write_plan

PLAN_PART = ".plan"
_WRITER_PART, _LOST = "writer", ".lost"
ORIGIN = "origin"
"""The name of the set that restored images come from."""
_OF_CLASS = ("cls", "json")
_SHARD = 2048
PLACE = "place"
"""The stage of the shards that place images."""


@dataclass(frozen=True)
class PlacingOptions:
    """The options of the commands that carry out a plan."""

    mode: str = option(
        COPY,
        "Place images in DST as a copy, as a hardlink that shares its bytes with SRC, or as a "
        "symlink to the path in SRC.",
        choices=PLACING_MODES,
    )

    def __post_init__(self) -> None:
        if self.mode not in PLACING_MODES:
            raise OptionError("--mode", expected=", ".join(PLACING_MODES), found=repr(self.mode))

    def writes_file(self, output: Path) -> bool:
        return is_container_name(output)


@dataclass(frozen=True)
class Target:
    """Where the `n` rows of a run go; `are_files` says that they come from files of a folder."""

    output: str
    mode: str
    n: int
    are_files: bool

    @property
    def is_container(self) -> bool:
        """Return whether the output is a container and not a folder."""
        return is_container_name(Path(self.output))

    @property
    def are_placed(self) -> bool:
        """Return whether files are copied or linked to files."""
        return self.are_files and not self.is_container


def choose_target(
    output: Path, mode: str, listed: ListedSet, n: int, origin: Path | None = None
) -> Target:
    """Return where the images of a set, and those restored from `origin`, go.

    Raises OptionError for a mode that cannot be, SourceError for names that the output cannot hold.
    """
    is_here = not is_remote(listed.path)
    are_files = listed.is_folder and (origin is None or kind_of(origin) == FolderSet.kind)
    target = Target(str(output), mode, n, are_files)
    if mode != COPY and not (target.are_placed and is_here):
        raise OptionError(
            f"--mode {mode}: only files can be linked",
            expected="a folder on a disk as SRC and as DST",
            found=f"{listed.kind} to {output.name}",
            remedy="Leave out --mode.",
        )
    writer = find_writer(output) or FolderWriter
    if target.is_container:
        if not writer.takes_new_names:
            raise OptionError(
                f"a plan gives images new names, which a {output.suffix} cannot hold",
                found=output.name,
                remedy="Write a folder, and convert it.",
            )
        names = _names_of(listed.listing.prefixed_paths(""), listed.is_folder)
        if losses := find_losses(names, writer):
            raise SourceError(
                f"{writer.kind} cannot hold {list_words(losses)}",
                path=listed.path,
                remedy=f"{suggest_containers(names)}.",
            )
    warn_of_losses(listed.path, writer.kind, find_lost_contents(listed, writer))
    return target


def _names_of(paths: Iterable[str], have_suffix: bool) -> SetNames:
    keys = pack_texts(paths)
    identities = sorted({identity_of(key) for key in keys} - {"."})
    return SetNames(len(keys), lambda start, stop: keys[start:stop], identities, have_suffix)


def plan_path(output: Path, name: str = PLAN) -> Path:
    """Return where the plan or the undo plan of an output lies: in a folder, or beside a file.

    >>> str(plan_path(Path("out"))), str(plan_path(Path("a/out.tar"), UNDO))
    ('out/plan.jsonl', 'a/out.undo.jsonl')
    """
    if is_container_name(output):
        return output.with_name(f"{output.stem}.{name}")
    return output / name


def output_files(output: Path, names: Sequence[str]) -> list[str] | None:
    """Return the names of the output files; None for a folder. `names` are those of its plans.

    Raises OutputError where the class map of another output is in the way.
    """
    writer = find_writer(output)
    if not is_container_name(output) or not writer:
        return None
    files = [plan_path(output, name).name for name in names]
    if UNDO in names:
        refuse_other_map(output)
        files += [output.name, *writer(output, Classes.of([]), {}).side_files(1)]
    return files


# What a plan judges


def plan_header(
    command: str, source: Path, fingerprint: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the header line of a plan about the images below `source`."""
    return {
        "command": command,
        "source": full_path(source),
        "fingerprint": fingerprint,
        "options": dict(options),
    }


def check_fingerprint(plan: Path, header: Mapping[str, Any], source: Path, found: str) -> None:
    """Raise SourceError if the images have changed since the plan was made."""
    before = header.get("fingerprint")
    if before == found:
        return
    then, now = str(before).partition(" ")[0], found.partition(" ")[0]
    if then != now:
        how = f"{then} images when the plan was made", now
    else:
        how = (
            "the images as they were when the plan was made",
            f"{now} as before, with other names, sizes or times",
        )
    raise SourceError(
        f"{source} has changed since this plan was made",
        path=plan,
        expected=how[0],
        found=how[1],
        remedy="Make the plan again, or put the images back.",
    )


# Where images go


def place_shards(source: str, target: Target) -> list[Shard]:
    """Cut the rows of `Destinations` into shards; `source` is the set that they come from."""
    shards = cut_evenly(target.n, _SHARD, source, stage=PLACE, id_format="{stage}-{n:06d}")
    return [replace(shard, payload=target) for shard in shards]


def write_rows(
    destinations: Destinations,
    shards: Sequence[Shard],
    open_part: Callable[[str], AbstractContextManager[BinaryIO]],
) -> None:
    """Write the rows of every shard, and the settings of the writer where files are not placed.

    `open_part` opens the file of a shard's id, or of `_WRITER_PART`.
    """
    for shard in shards:
        with open_part(shard.id) as file:
            file.write(json.dumps(list(destinations.rows(shard.start, shard.stop))).encode())
    target: Target = shards[0].payload
    if not target.are_placed:
        writer = find_writer(Path(target.output)) or FolderWriter
        rows = destinations.rows(0, target.n)
        names = _names_of((row.into for row in rows if row.into), target.are_files)
        with open_part(_WRITER_PART) as file:
            file.write(describe_writer(writer, names))


def load_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Load the rows that `write_rows` wrote for one shard."""
    return [Row(*row) for row in json.loads(storage.read_bytes(path))]


PartPath = Callable[[str], Path]
"""The path of what `write_rows` wrote under a name."""


def place_rows(shard: Shard, sink: Sink, path_of: PartPath) -> Iterator[Outcome]:
    """Bring the images of a shard to their places.

    One Outcome each: ok, dropped, or the reason why it is not placed.
    """
    target: Target = shard.payload
    rows = load_rows(path_of(shard.id))
    if target.are_placed:
        return _place_files(rows, shard.source, target.mode, sink)
    return _write_samples(rows, shard, sink, path_of)


def _place_files(rows: Sequence[Row], source: str, mode: str, sink: Sink) -> Iterator[Outcome]:
    for path, into, origin in rows:
        if not into:
            yield Outcome(path, DROPPED)
            continue
        try:
            sink.place(into, f"{origin or source}/{path}", mode)
        except SourceError as error:
            yield Outcome(path, "unreadable", str(error))
        else:
            yield Outcome(path)


def _write_samples(
    rows: Sequence[Row], shard: Shard, sink: Sink, path_of: PartPath
) -> Iterator[Outcome]:
    writer, part = _open_writer(shard, path_of)
    kept = [row for row in rows if row.into]
    samples = map(_rename, kept, _read_rows(rows, shard, sink))
    outcomes = writer.write(samples, part, sink)
    lost: Counter[str] = Counter()
    for row in rows:
        if not row.into:
            yield Outcome(row.path, DROPPED)
            continue
        outcome = next(outcomes)
        lost[identity_of(row.into)] += outcome.is_failure
        yield outcome._replace(key=row.path)
    deque(outcomes, maxlen=0)  # lets the writer end its part
    sink.open_part(_LOST).write(json.dumps(lost).encode())


def _open_writer(shard: Shard, path_of: PartPath) -> tuple[SetWriter, OutPart]:
    target: Target = shard.payload
    output = Path(target.output)
    writer = load_writer(output, path_of(_WRITER_PART))
    is_whole = writer.parts_are_files and len(shard) == target.n
    return writer, OutPart(output.name, shard.start, shard.stop, target.n, is_whole)


def _read_rows(rows: Sequence[Row], shard: Shard, sink: Sink) -> Iterator[Sample | Outcome]:
    """Yield the images of the rows that go somewhere, those of the set first."""
    places = [i for i, row in enumerate(rows, shard.start) if row.into and not row.origin]
    yield from read_listed(sink.scratch, places)
    restored = [row for row in rows if row.into and row.origin]
    if restored:
        yield from read_paths(sink.scratch, ORIGIN, [row.path for row in restored])


def _rename(row: Row, sample: Sample | Outcome) -> Sample | Outcome:
    """Give a sample its new key; what states its class is that of its old identity."""
    if isinstance(sample, Outcome):
        return sample
    identity = identity_of(row.into)
    if identity == ".":
        identity = ""
    if identity != sample.identity:
        sample = sample._replace(labels=(), extra=_without_class(sample.extra))
    return sample._replace(key=row.into, identity=identity)


def _without_class(extra: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the other files of a sample in a .tar that do not state its class."""
    return {name: data for name, data in extra.items() if "/" not in name and name not in _OF_CLASS}


# Planned and placed in one run


def write_decided(
    sink: Sink,
    header: Mapping[str, Any],
    decisions: Sequence[Decision],
    listing: Listing,
    shards: Sequence[Shard],
) -> None:
    """Write, as parts of the deciding shard, the plan and the rows of every one of `shards`."""
    with sink.open_part(PLAN_PART) as file:
        write_plan(file, dict(header) | {"digest": digest_of(decisions)}, decisions)
    destinations = resolve(header, decisions, listing)
    if shards:
        write_rows(destinations, shards, lambda name: sink.open_part(f".{name}"))


def place_planned(decided: str, shard: Shard, sink: Sink) -> Iterator[Outcome]:
    """Place the rows that the shard with the id `decided` left for `shard`."""
    return place_rows(shard, sink, _parts_of(decided, sink))


def finish_plan(
    decided: str, shards: Sequence[Shard], sink: Sink, command: str, output: Path
) -> None:
    """Write the plan of the shard with the id `decided`, and the undo plan if `shards` placed
    images.
    """
    name = plan_path(output).name
    with sink.open(name) as file:
        storage.append_file(sink.part_path(decided, PLAN_PART), file)
    if shards:
        finish_placing(shards, _parts_of(decided, sink), sink, command, output)


def _parts_of(decided: str, sink: Sink) -> PartPath:
    return lambda name: sink.part_path(decided, f".{name}")


def finish_placing(
    shards: Sequence[Shard], path_of: PartPath, sink: Sink, command: str, output: Path
) -> None:
    """Join a container, and write the undo plan and the table of faces."""

    def rows() -> Iterator[Row]:
        return (row for shard in shards for row in load_rows(path_of(shard.id)))

    target: Target = shards[0].payload
    source = Path(shards[0].source)
    if target.is_container:
        _join_container(shards, path_of, sink, rows())
    with sink.open(plan_path(output, UNDO).name) as file:
        header = plan_header(command, output, "", {}) | origin_options(names_below(sink.scratch))
        write_undo(file, header, source, output, rows)
    if target.are_placed:
        carry_faces(sink, source, rows())


def _join_container(
    shards: Sequence[Shard], path_of: PartPath, sink: Sink, rows: Iterable[Row]
) -> None:
    target: Target = shards[0].payload
    writer = load_writer(Path(target.output), path_of(_WRITER_PART))
    parts = [(shard.id, _open_writer(shard, path_of)[1]) for shard in shards]
    if not parts[0][1].is_whole:
        writer.join(Path(target.output).name, parts, sink)
    counts = Counter(identity_of(row.into) for row in rows if row.into)
    lost = class_map.count_lost(sink.part_path(shard.id, _LOST) for shard in shards)
    names = writer.classes.names
    class_map.warn_of_empty([name for name in names if 0 < counts[name] == lost[name]])
    counts.subtract(lost)
    if may_write_map(Path(target.output), names):
        sink.write(writer.class_map, class_map.encode(names, [counts[name] for name in names]))
