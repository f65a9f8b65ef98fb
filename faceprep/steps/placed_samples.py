"""The container or the folder that a plan writes, where images are written and not linked.

Every worker writes the images of its rows as a part, and the parts are joined at the end. The
classes keep the numbers that the set states, where it states those of all identities.
"""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceprep.core import storage
from faceprep.core.io.columns import pack_strings
from faceprep.core.names import identity_of
from faceprep.core.types import DROPPED, Outcome, Shard, Sink
from faceprep.sets import class_map
from faceprep.sets.class_numbers import NumberCheck, find_stated_classes, warn_of_changes
from faceprep.sets.containers import (
    describe_writer,
    find_writer,
    is_container_name,
    load_writer,
    open_set,
)
from faceprep.sets.folder import FolderWriter
from faceprep.sets.image_set import Sample
from faceprep.sets.map_owner import write_map
from faceprep.sets.set_writer import OutPart, SetNames, SetWriter
from faceprep.steps.destinations import Row
from faceprep.steps.listed_set import read_paths

WRITER_PART = "writer"
"""The name under which `describe_target` is written."""
ORIGIN = "origin"
"""The name of the set that restored images come from."""
_LOST, _NUMBERS = ".lost", ".numbers"
_OF_CLASS = ("cls", "json")


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


def names_of(paths: Iterable[str], have_suffix: bool) -> SetNames:
    """Return the names of images at these paths IDENTITY/NAME, as they are to be written."""
    keys = pack_strings(paths)
    identities = sorted({identity_of(key) for key in keys} - {"."})
    return SetNames(len(keys), lambda start, stop: keys[start:stop], identities, have_suffix)


def load_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Load the rows that `write_rows` wrote for one shard."""
    return [Row(*row) for row in json.loads(storage.read_bytes(path))]


PartPath = Callable[[str], Path]
"""The path of what `write_rows` wrote under a name."""


def describe_target(target: Target, names: SetNames, scratch: Path) -> bytes:
    """Return what `load_writer` needs to write images of these names.

    The class numbers are those that the set of the run states, if it states them for all
    identities.
    """
    writer = find_writer(Path(target.output)) or FolderWriter
    return describe_writer(writer, names, _find_stated(writer, names, scratch))


def _find_stated(writer: type[SetWriter], names: SetNames, scratch: Path) -> Sequence[str]:
    """Return the names of the classes by number, empty if they follow from the identities."""
    if not writer.takes_numbers:
        return ()
    with open_set(scratch) as images:
        stated = find_stated_classes(images)
    return stated if set(stated).issuperset(names.identities) else ()


def write_samples(
    rows: Sequence[Row], shard: Shard, sink: Sink, path_of: PartPath
) -> Iterator[Outcome]:
    """Write the images of a shard that stay to its part of the output; one Outcome per row."""
    writer, part = _open_writer(shard, path_of)
    kept = [row for row in rows if row.into]
    check = NumberCheck(writer.classes)
    samples = check.watch(map(_rename, kept, _read_rows(kept, sink.scratch)))
    outcomes = writer.write(samples, part, sink)
    lost: list[str] = []
    for row in rows:
        if not row.into:
            yield Outcome(row.path, DROPPED)
            continue
        outcome = next(outcomes)
        if outcome.is_failure:
            lost.append(row.into)
        yield outcome._replace(key=row.path)
    deque(outcomes, maxlen=0)  # lets the writer end its part
    sink.open_part(_LOST).write(json.dumps(lost).encode())
    sink.open_part(_NUMBERS).write(check.to_json())


def _open_writer(shard: Shard, path_of: PartPath) -> tuple[SetWriter, OutPart]:
    target: Target = shard.payload
    output = Path(target.output)
    writer = load_writer(output, path_of(WRITER_PART))
    is_whole = writer.parts_are_files and len(shard) == target.n
    return writer, OutPart(output.name, shard.start, shard.stop, target.n, is_whole)


def _read_rows(rows: Sequence[Row], scratch: Path) -> Iterator[Sample | Outcome]:
    """Yield the images of the rows, from the set or from that of restored images."""
    others = read_paths(scratch, ORIGIN, [row.path for row in rows if row.origin])
    with open_set(scratch) as images:
        own = images.read([row.place for row in rows if not row.origin])
        for row in rows:
            yield next(others if row.origin else own)


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


def load_lost(shards: Sequence[Shard], sink: Sink) -> list[str]:
    """Return where the images that `write_samples` could not write were to go."""
    parts = (json.loads(storage.read_bytes(sink.part_path(shard.id, _LOST))) for shard in shards)
    return [into for part in parts for into in part]


def join_container(
    shards: Sequence[Shard],
    path_of: PartPath,
    sink: Sink,
    rows: Iterable[Row],
    lost_paths: Iterable[str],
) -> SetWriter:
    """Join the parts of a container, write its class map, and warn of lost or changed classes.

    Return the writer of the container. `lost_paths` are those of `load_lost`.
    """
    target: Target = shards[0].payload
    output = Path(target.output)
    writer = load_writer(output, path_of(WRITER_PART))
    parts = [(shard.id, _open_writer(shard, path_of)[1]) for shard in shards]
    if not parts[0][1].is_whole:
        writer.join(output.name, parts, sink)
    counts, before = Counter[str](), set[str]()
    for row in rows:
        before.add(identity_of(row.path))
        if row.into:
            counts[identity_of(row.into)] += 1
    lost = Counter(map(identity_of, lost_paths))
    names = writer.classes.names
    class_map.warn_of_empty([name for name in names if 0 < counts[name] == lost[name]])
    emptied = [name for name in names if name in before and not counts[name]]
    class_map.warn_of_empty(emptied, why="whose images were all moved or dropped")
    counts.subtract(lost)
    if writer.class_map in writer.side_files(1):
        write_map(sink, output, names, [counts[name] for name in names])
    found = [storage.read_bytes(sink.part_path(shard.id, _NUMBERS)) for shard in shards]
    warn_of_changes(found, shards[0].source, output)
    return writer
