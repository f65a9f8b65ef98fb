"""Carries out plans, for `apply` and for the commands that plan and place in one run.

fingerprint_of   the state of the images that a plan judges
resolve          decisions and a listing -> where every image goes (in `destinations`)
write_rows       the same, cut as `place_shards` cuts the work, for workers to look up
place_rows       images to their places: a copy, or a link
write_undo       the plan that turns the output back into the source

A command that plans and places in one go has a stage with one shard that decides and calls
`write_decided`, and a stage with `place_shards` that call `place_planned`; `finish_plan` ends it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from faceprep.core import storage
from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.core.options import option
from faceprep.core.shards import cut_evenly
from faceprep.core.types import (
    COPY,
    DROP,
    DROPPED,
    PLACING_MODES,
    RENAME,
    RESTORE,
    Decision,
    Outcome,
    Shard,
    Sink,
)
from faceprep.sets.folder import FolderSet, find_identities
from faceprep.sets.image_set import ImageSet
from faceprep.sets.listing import Listing, list_images, list_set
from faceprep.steps.resolve_plan import Destinations, Row, resolve
from faceprep.tables.plan import write_plan

log = logging.getLogger("faceprep")
PLAN, UNDO = "plan.jsonl", "undo.jsonl"
PLAN_PART = ".plan"
_FACES = "faces.parquet"
_SHARD = 2048
PLACE = "place"
"""The stage of the shards that place images."""
_BATCH = 4096
_STATE = "images, names, sizes and times"


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
            raise OptionError(
                "unknown mode", expected=", ".join(PLACING_MODES), found=repr(self.mode)
            )


# What a plan judges


def fingerprint_of(root: Path, listing: Listing) -> str:
    """Return a digest of the number, names, sizes and times of the images of `listing` below
    `root`.
    """
    return survey(root, listing)[0]


def state_of(images: ImageSet) -> str:
    """Return the state of a set, which a plan about it records."""
    if images.kind == FolderSet.kind:
        return fingerprint_of(Path(images.path), list_set(images))
    return images.index.fingerprint


def survey(root: Path, listing: Listing) -> tuple[str, int]:
    """Return (`fingerprint_of` the images, their total bytes)."""
    digest, total = hashlib.sha256(), 0
    paths = listing.prefixed_paths("")
    while batch := list(islice(paths, _BATCH)):
        states = [_state_of(f"{root}/{path}") for path in batch]
        total += sum(size for size, _ in states)
        lines = (
            f"{path}\0{size} {time}\n" for path, (size, time) in zip(batch, states, strict=True)
        )
        digest.update("".join(lines).encode("utf-8", "surrogateescape"))
    return f"{len(listing):,} {_STATE} {digest.hexdigest()[:32]}", total


def _state_of(path: str) -> tuple[int, int]:
    try:
        return storage.dated_size(path)
    except SourceError:  # a link that leads nowhere
        return 0, 0


def plan_header(
    command: str, source: Path, fingerprint: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the header line of a plan about the images below `source`."""
    return {
        "command": command,
        "source": os.path.abspath(source),
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


def refuse_output_within(source: Path, output: Path) -> None:
    """Raise OutputError for an output folder inside or above its source."""
    inside, outside = os.path.realpath(source), os.path.realpath(output)
    if os.path.commonpath([inside, outside]) in (inside, outside):
        if outside != inside:
            problem = "the output would lie over the input"
        else:
            problem = "the output is the input"
        raise OutputError(
            problem, path=output, found=f"the input {source}", remedy="Name a place outside of it."
        )


# Where images go


def place_shards(source: Path, n_rows: int) -> list[Shard]:
    """Cut the rows of `Destinations` into shards; `source` is the folder of their paths."""
    folder = os.path.abspath(source)
    return cut_evenly(n_rows, _SHARD, folder, stage=PLACE, id_format="{stage}-{n:06d}")


def write_rows(
    destinations: Destinations,
    shards: Iterable[Shard],
    open_rows: Callable[[Shard], AbstractContextManager[BinaryIO]],
) -> None:
    """Write the rows of every shard to the file that `open_rows` opens for it."""
    for shard in shards:
        with open_rows(shard) as file:
            file.write(json.dumps(list(destinations.rows(shard.start, shard.stop))).encode())


def load_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Load the rows that `write_rows` wrote for one shard."""
    return [Row(*row) for row in json.loads(storage.read_bytes(path))]


def place_rows(rows: Iterable[Row], shard: Shard, sink: Sink, mode: str) -> Iterator[Outcome]:
    """Copy or link images to their places.

    One Outcome each: ok, dropped or unreadable (not placed).
    """
    for path, into, origin in rows:
        if not into:
            yield Outcome(path, DROPPED)
            continue
        try:
            sink.place(into, f"{origin or shard.source}/{path}", mode)
        except SourceError as error:
            yield Outcome(path, "unreadable", str(error))
        else:
            yield Outcome(path)


# Planned and placed in one run


def save_listing(listing: Listing, path: Path) -> None:
    """Save a listing for workers that need all of it."""
    counts = np.bincount(listing.identity_of, minlength=len(listing.identities)).tolist()
    storage.write_file(
        path, json.dumps([listing.identities, counts, listing.files]).encode(), durable=False
    )


def load_listing(path: Path) -> Listing:
    """Load the listing that `save_listing` saved."""
    identities, counts, files = json.loads(storage.read_bytes(path))
    return Listing(identities, files, np.repeat(np.arange(len(counts), dtype=np.int64), counts))


def write_decided(
    sink: Sink, header: Mapping[str, Any], decisions: Sequence[Decision], listing: Listing
) -> None:
    """Write, as parts of the deciding shard, the plan and the rows of every shard of
    `place_shards`.
    """
    with sink.open_part(PLAN_PART) as file:
        write_plan(file, header, decisions)
    destinations = resolve(header, decisions, listing)
    shards = place_shards(Path(header["source"]), len(listing))
    write_rows(destinations, shards, lambda shard: sink.open_part(_rows_part(shard)))


def place_planned(decided: str, shard: Shard, sink: Sink, mode: str) -> Iterator[Outcome]:
    """Place the rows that the shard with the id `decided` left for `shard`."""
    return place_rows(load_rows(sink.part_path(decided, _rows_part(shard))), shard, sink, mode)


def finish_plan(
    decided: str, shards: Sequence[Shard], sink: Sink, command: str, output: Path
) -> None:
    """Write the plan of the shard with the id `decided`, and the undo plan if `shards` placed
    images.
    """
    with sink.open(PLAN) as file:
        storage.append_file(sink.part_path(decided, PLAN_PART), file)
    if shards:
        finish_placing(
            shards, lambda shard: sink.part_path(decided, _rows_part(shard)), sink, command, output
        )


def _rows_part(shard: Shard) -> str:
    return f".{shard.id}"


def finish_placing(
    shards: Sequence[Shard],
    path_of: Callable[[Shard], Path],
    sink: Sink,
    command: str,
    output: Path,
) -> None:
    """Write the undo plan and the table of faces, from the rows at `path_of` each shard."""

    def rows() -> Iterator[Row]:
        return (row for shard in shards for row in load_rows(path_of(shard)))

    source = Path(shards[0].source)
    with sink.open(UNDO) as file:
        write_undo(file, command, source, output, rows)
    carry_faces(sink, source, rows())


# The table of faces


def carry_faces(sink: Sink, source: Path, rows: Iterable[Row]) -> None:
    """Write the table of faces of the placed images under their new names, if `source` has one."""
    if storage.size_of(source / _FACES) is None:
        return
    from faceprep.tables.faces import FacesWriter, read_faces, rename_outputs

    try:
        next(read_faces(source / _FACES), None)
    except SourceError as error:
        log.warning("left behind: %s", error)
        return
    names: dict[str, dict[str, str]] = {os.fspath(source): {}}
    for path, into, origin in rows:
        if into:
            names.setdefault(origin or os.fspath(source), {})[path] = into
    with sink.open(_FACES) as file, FacesWriter(file) as writer:
        for folder, renamed in names.items():
            if storage.size_of(f"{folder}/{_FACES}") is not None:
                for table in read_faces(f"{folder}/{_FACES}"):
                    writer.add_table(rename_outputs(table, renamed))


# Undo


def write_undo(
    file: BinaryIO, command: str, source: Path, output: Path, rows: Callable[[], Iterable[Row]]
) -> None:
    """Write the plan that turns `output`, where `rows` were placed, back into `source`.

    Images that were dropped or could not be placed are restored from `source`, if they still exist.
    """
    listing = list_images(find_identities(output)) if output.is_dir() else list_images([])
    header = plan_header(command, output, fingerprint_of(output, listing), {})
    all_there = len(listing) == sum(bool(row.into) for row in rows())
    decisions = (
        decision for row in rows() if (decision := _undone(row, source, output, all_there))
    )
    write_plan(file, header | {"origin": os.path.abspath(source)}, decisions)


def _undone(row: Row, source: Path, output: Path, all_there: bool) -> Decision | None:
    path, into, origin = row
    is_there = bool(into) and (all_there or storage.size_of(f"{output}/{into}") is not None)
    if origin:
        return Decision(DROP, into) if is_there else None
    if not is_there:
        return Decision(RESTORE, path, path, evidence=evidence_of(f"{source}/{path}"))
    return Decision(RENAME, into, path) if into != path else None


def evidence_of(path: str) -> dict[str, int]:
    """Return the state of an image that may be restored; empty when it no longer exists."""
    try:
        size, time = storage.dated_size(path)
    except SourceError:
        return {}
    return {"bytes": size, "changed_ns": time}
