"""Carries out plans, for `apply` and for the commands that plan and place in one run.

Target         where the images go: a folder, or a container by its suffix (in `placed_samples`)
resolve        decisions and a listing -> where every image goes (in `resolve_plan`)
write_rows     the same, cut as `place_shards` cuts the work, for workers to look up
place_rows     images to their places: files copied or linked, or samples to a writer
finish_placing joins a container, and writes the plan that turns the output back

A command that plans and places in one go has a stage `DECIDE` with one shard, which calls
`write_decided`, and a stage `PLACE` with `place_shards`, which call `place_planned`. `finish_plan`
ends it.
"""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from faceprep.core import storage
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io.image_bytes import UNREADABLE
from faceprep.core.options import option
from faceprep.core.paths import full_path
from faceprep.core.shards import cut_evenly
from faceprep.core.text import list_words
from faceprep.core.types import (
    ACCEPTED,
    COPY,
    DROPPED,
    HARDLINK,
    PLACING_MODES,
    Decision,
    Outcome,
    Shard,
    Sink,
)
from faceprep.core.urls import is_remote, url_of
from faceprep.sets.containers import (
    describe_container,
    find_writer,
    is_container_name,
    kind_of,
    suggest_containers,
)
from faceprep.sets.folder import FolderSet, FolderWriter
from faceprep.sets.losses import find_losses, find_lost_contents, warn_of_losses
from faceprep.sets.map_owner import refuse_other_map
from faceprep.sets.set_writer import Classes, SetNames
from faceprep.steps.destinations import Destinations, Row
from faceprep.steps.list_options import origin_options
from faceprep.steps.listed_set import OF_FOLDER, ListedSet, load_listed, names_below
from faceprep.steps.placed_samples import (
    WRITER_PART,
    PartPath,
    Target,
    describe_target,
    join_container,
    load_lost,
    load_rows,
    names_of,
    write_samples,
)
from faceprep.steps.resolve_plan import resolve
from faceprep.steps.undo_plan import OutputNames, carry_faces, write_undo
from faceprep.tables.plan import PLAN, UNDO, digest_of, write_plan

log = logging.getLogger("faceprep")
PLAN_PART = ".plan"
_SHARD = 2048
DECIDE, PLACE = "decide", "place"
"""The stages of the one shard that decides, and of the shards that place images."""


@dataclass(frozen=True)
class PlacingOptions:
    """The options of the commands that carry out a plan."""

    mode: str = option(
        COPY,
        "Place images in DST as a copy, as a hardlink that shares its bytes with the source, or as "
        "a symlink to the source.",
        choices=PLACING_MODES,
    )

    def writes_file(self, output: Path) -> bool:
        return is_container_name(output)


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
            found=f"{listed.kind} as SRC and {output.name} as DST",
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
        names = names_of(listed.listing.prefixed_paths(""), listed.is_folder)
        if listed.kind == writer.kind and not names.are_number_keys and not writer.can.text_keys:
            join = f"faceprep convert {shlex.quote(listed.path)} NAME{output.suffix}"
            raise SourceError(
                f"a plan cannot make one {output.suffix} of the parts of a set",
                path=listed.path,
                remedy=f"Join them first: {join}.",
            )
        _refuse_lost_names(names, output, listed.path)
    lost = find_lost_contents(listed, writer)
    warn_of_losses(listed.path, describe_container(output), lost)
    return target


def _refuse_lost_names(names: SetNames, output: Path, source: str, of_plan: str = "") -> None:
    """Raise SourceError for names that a container cannot hold: those of a set, or `of_plan`."""
    losses = find_losses(names, find_writer(output) or FolderWriter)
    if losses:
        raise SourceError(
            f"{describe_container(output)} cannot hold {list_words(losses)}{of_plan}",
            path=source,
            remedy=f"{suggest_containers(names)}.",
        )


class PlacedSize(NamedTuple):
    """Estimates of the files and bytes that images add to the output, and of the bytes of parts."""

    n_files: int = 0
    n_bytes: int = 0
    n_part_bytes: int = 0


def size_placed(output: Path, mode: str, n: int, n_bytes: int) -> PlacedSize:
    """Estimate what `n` images of `n_bytes` add to the output.

    The files that it has with any number of images are not counted.
    """
    writer = find_writer(output)
    if is_container_name(output) and writer:
        n_written = n_bytes + n * writer.overhead
        return PlacedSize(0, n_written, n_written)
    return PlacedSize(n * (mode != HARDLINK), n_bytes * (mode == COPY))


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
    how = "the images as they were when the plan was made"
    if OF_FOLDER not in found or OF_FOLDER not in str(before):
        found = "files of other names, sizes or times"
    elif then != now:
        how, found = f"{then} images when the plan was made", now
    else:
        found = f"{now} as before, with other names, sizes or times"
    raise SourceError(
        f"{url_of(source)} has changed since this plan was made",
        path=plan,
        expected=how,
        found=found,
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
    scratch: Path,
    open_part: Callable[[str], AbstractContextManager[BinaryIO]],
) -> None:
    """Write the rows of every shard, and the settings of the writer where files are not placed.

    The index of the set is below `scratch`. `open_part` opens the file of a shard's id, or of
    `WRITER_PART`. Raises SourceError for new names that a container cannot hold.
    """
    for shard in shards:
        with open_part(shard.id) as file:
            file.write(json.dumps(list(destinations.rows(shard.start, shard.stop))).encode())
    target: Target = shards[0].payload
    if not target.are_placed:
        rows = destinations.rows(0, target.n)
        names = names_of((row.into for row in rows if row.into), target.are_files)
        if target.is_container:
            new = sorted(set(names.identities).difference(destinations.listing.identities))
            of_plan = f", such as {new[0]!r} of the plan" if new else " of the plan"
            _refuse_lost_names(names, Path(target.output), shards[0].source, of_plan)
        with open_part(WRITER_PART) as file:
            before = names_of(destinations.listing.prefixed_paths(""), target.are_files)
            file.write(describe_target(target, replace(names, before=before), scratch))


def place_rows(shard: Shard, sink: Sink, path_of: PartPath) -> Iterator[Outcome]:
    """Bring the images of a shard to their places.

    One Outcome each: ok, dropped, or the reason why it is not placed.
    """
    target: Target = shard.payload
    rows = load_rows(path_of(shard.id))
    if target.are_placed:
        return _place_files(rows, shard.source, target.mode, sink)
    return write_samples(rows, shard, sink, path_of)


def _place_files(rows: Sequence[Row], source: str, mode: str, sink: Sink) -> Iterator[Outcome]:
    for path, into, origin, _ in rows:
        if not into:
            yield Outcome(path, DROPPED)
            continue
        try:
            sink.place(into, f"{origin or source}/{path}", mode)
        except SourceError as error:
            yield Outcome(path, UNREADABLE, str(error))
        else:
            yield Outcome(path)


# Planned and placed in one run


def write_decided(
    sink: Sink,
    header: Mapping[str, Any],
    decisions: Sequence[Decision],
    unreadable: Collection[str],
    shards: Sequence[Shard],
) -> None:
    """Write, as parts of the deciding shard, the plan and the rows of every one of `shards`.

    The images are those of the saved listing. Warns where images are to be placed, but the
    decisions drop all of them that are not `unreadable`.
    """
    with sink.open_part(PLAN_PART) as file:
        write_plan(file, dict(header) | {"digest": digest_of(decisions)}, decisions)
    listed = load_listed(sink.scratch)
    destinations = resolve(header, decisions, listed.listing, order=listed.order)
    if shards:
        warn_of_empty(destinations, decisions, unreadable)
        write_rows(destinations, shards, sink.scratch, lambda name: sink.open_part(f".{name}"))


def warn_of_empty(
    destinations: Destinations, decisions: Sequence[Decision], unreadable: Collection[str] = ()
) -> None:
    """Warn if the decisions drop all images that are not `unreadable`."""
    if any(row.into for row in destinations.rows(0, len(destinations))):
        return
    drops = (each for each in decisions if each.verdict == ACCEPTED)
    first = next((each for each in drops if each.subject not in unreadable), None)
    if first is not None:
        log.warning(
            "all images are dropped (%s), the first one %s: %s",
            f"{len(destinations):,}",
            first.subject,
            first.reason,
        )


def place_planned(shard: Shard, sink: Sink) -> Iterator[Outcome]:
    """Place the rows that the deciding shard left for `shard`."""
    return place_rows(shard, sink, _decided_parts(sink))


def finish_plan(shards: Sequence[Shard], sink: Sink, command: str, output: Path) -> None:
    """Write the plan of the deciding shard, and the undo plan if `shards` placed images."""
    name = plan_path(output).name
    with sink.open(name) as file:
        storage.append_file(sink.part_path(DECIDE, PLAN_PART), file)
    if shards:
        finish_placing(shards, _decided_parts(sink), sink, command, output)


def _decided_parts(sink: Sink) -> PartPath:
    return lambda name: sink.part_path(DECIDE, f".{name}")


def finish_placing(
    shards: Sequence[Shard], path_of: PartPath, sink: Sink, command: str, output: Path
) -> None:
    """Join a container, and write the undo plan and the table of faces."""

    def rows() -> Iterator[Row]:
        return (row for shard in shards for row in load_rows(path_of(shard.id)))

    target: Target = shards[0].payload
    source = Path(shards[0].source)
    writer, lost = None, list[str]()
    if target.is_container:
        lost = load_lost(shards, sink)
        writer = join_container(shards, path_of, sink, rows(), lost)
    with sink.open(plan_path(output, UNDO).name) as file:
        header = plan_header(command, output, "", {}) | origin_options(names_below(sink.scratch))
        names = OutputNames(output, writer, target.are_placed, lost)
        write_undo(file, header, source, names, rows)
    if target.are_placed:
        carry_faces(sink, source, rows())
