"""Checks that a run writes over no file that another run, or a person, has made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from faceprep.core import storage
from faceprep.core.errors import OutputError
from faceprep.core.output_tree import is_within
from faceprep.core.paths import full_path, is_folder, real_path
from faceprep.core.shards import even_bounds
from faceprep.core.state_file import STATE, load_run
from faceprep.core.types import Request, Work
from faceprep.sets.class_map import name_for
from faceprep.sets.map_owner import other_map

_NAMES = 1 << 16
"""Names of a list that are looked at at once."""


class OutputPlace(NamedTuple):
    """The folder `root` of output files. `has` returns whether there is one of a name.

    `states` is the folder of the records of all runs whose outputs are files here.
    """

    root: Path
    states: Path
    has: Callable[[str], bool]

    def find_owners(self, names: set[str], output: str) -> dict[str, str]:
        """Return, by the name of a file, the output of a run other than `output` that wrote it."""
        if not names or not is_folder(self.states):
            return {}
        others = (each for each in storage.list_folder(self.states)[0] if each != output)
        written = ((each, load_run(self.states / each).get("files") or ()) for each in others)
        return {name: each for each, files in written for name in names.intersection(files)}


def refuse_foreign_outputs(
    request: Request,
    work: Work,
    folders: Sequence[Path],
    place: OutputPlace,
    before: Mapping[str, Any] | None,
) -> None:
    """Refuse files in the place of the output that no earlier run made.

    `before` is the record of the earlier run.
    """
    if work.files is not None:
        _refuse_to_remove_input(request, work, place.root, before or {})
        _refuse_to_write_over(request, work.files, place, before)
    elif before is None:
        _refuse_foreign_files(folders)


def _refuse_foreign_files(folders: Sequence[Path]) -> None:
    """Refuse folders that are not empty, for a run that needs them for itself."""
    for folder in folders:
        names = sum(storage.list_folder(folder), []) if is_folder(folder) else []
        for name in sorted(set(names) - {STATE})[:1]:
            raise OutputError(
                f"the output folder is not empty: it has {name!r}",
                path=folder,
                expected="a new or empty folder, or one that this command began",
            )


def _refuse_to_remove_input(
    request: Request, work: Work, root: Path, before: Mapping[str, Any]
) -> None:
    """Refuse to start again where files that the earlier run made are the input of this one."""
    if before.get("sources") == [full_path(source) for source in request.sources]:
        return
    shards = (shard for stage in work.stages for shard in stage.shards)
    read = {Path(shard.source) for shard in shards if shard.source}
    inputs = set(map(real_path, read.union(request.sources, work.made_from)))
    for name in before.get("files") or ():
        path = real_path(root / name)
        if any(is_within(path, source) for source in inputs):
            raise OutputError(
                "is part of the input",
                path=root / name,
                found=f"an earlier output of {request.output}",
                remedy="Choose another output.",
            )


def refuse_to_remove_images(scratch: Path, folders: Sequence[Path], output: Path) -> None:
    """Refuse to start again in `folders` with images of a list, whose index is in `scratch`."""
    from faceprep.sets.containers import SET, open_set
    from faceprep.sets.list_set import ListSet

    if not is_folder(scratch / SET):
        return
    with open_set(scratch) as images:
        if not isinstance(images, ListSet):
            return
        filled = [each for folder in folders for each in (full_path(folder), real_path(folder))]
        for start, stop in even_bounds(len(images), _NAMES):
            for key in images.keys(start, stop):
                path = os.path.normpath(os.path.join(images.root, key))
                if any(is_within(path, folder) for folder in filled):
                    raise OutputError(
                        "the output would overwrite the input",
                        path=output,
                        found=f"the image {path}",
                        remedy="Choose another output.",
                    )


def _refuse_to_write_over(
    request: Request, files: Sequence[str], place: OutputPlace, before: Mapping[str, Any] | None
) -> None:
    """Refuse to overwrite files that this run did not make, and any class map of that kind.

    On a disk, `map_owner` has refused or shared such a map, but no job looks into a store.
    """
    ours = set((before or {}).get("files") or ())
    found = [name for name in files if name not in ours and place.has(name)]
    owners = place.find_owners(set(found) - {request.output.name}, request.output.name)
    for name in found:
        path = real_path(place.root / name)
        if any(is_within(path, real_path(source)) for source in request.sources):
            raise OutputError(
                "is part of the input", path=place.root / name, remedy="Choose another output."
            )
        if name in owners:
            raise OutputError(
                f"belongs to {owners[name]}, which another run wrote",
                path=place.root / name,
                remedy="Choose an output of another name.",
            )
        if name == name_for(request.output):
            raise other_map(place.root / name)
        if not request.overwrite:
            raise OutputError(
                "exists already",
                path=place.root / name,
                remedy="Choose another output, or use --overwrite to replace it.",
            )
