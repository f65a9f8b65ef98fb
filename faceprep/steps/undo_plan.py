"""Plans that turn an output back into its source, and tables of faces that follow the images."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from faceprep.core import input_faults, storage
from faceprep.core.errors import SourceError
from faceprep.core.os_errors import SuppressDamage
from faceprep.core.paths import full_path, is_folder
from faceprep.core.types import DROP, RENAME, RESTORE, Decision, Sink
from faceprep.sets.folder import find_identities
from faceprep.sets.listing import list_images
from faceprep.sets.set_writer import SetWriter
from faceprep.steps.destinations import PLACE, Row
from faceprep.steps.listed_set import fingerprint_of
from faceprep.tables.plan import write_plan

log = logging.getLogger("faceprep")


def carry_faces(sink: Sink, source: Path, rows: Iterable[Row]) -> None:
    """Write the table of faces of the placed images under their new names, if `source` has one.

    That of a part of an output lies above it.
    """
    from faceprep.tables.faces import (
        FACES_TABLE,
        FacesWriter,
        find_faces_table,
        read_face_tables,
        rename_outputs,
    )

    found = find_faces_table(source)
    if found is None:
        return
    try:
        next(read_face_tables(found[0]), None)
    except SourceError as error:
        log.warning("the table of faces is not copied along: %s", error)
        return
    names: dict[str, dict[str, str]] = {os.fspath(source): {}}
    for row in rows:
        if row.into:
            names.setdefault(row.origin or os.fspath(source), {})[row.path] = row.into
    with sink.open(FACES_TABLE) as file, FacesWriter(file) as writer:
        for folder, renamed in names.items():
            if here := find_faces_table(Path(folder)):
                outputs = {f"{here[1]}{name}": into for name, into in renamed.items()}
                for table in read_face_tables(here[0]):
                    writer.add_table(rename_outputs(table, outputs))


# Undo


def write_undo(
    file: BinaryIO,
    header: Mapping[str, Any],
    source: Path,
    names: OutputNames,
    rows: Callable[[], Iterable[Row]],
) -> None:
    """Write the plan that turns an output, where `rows` were placed, back into `source`.

    `header` is that of a plan about the output. Images that were dropped or could not be placed are
    restored from `source`, if they still exist.
    """
    if names.fingerprint:
        about = dict(header) | {"fingerprint": names.fingerprint}
    else:
        about = {name: value for name, value in header.items() if name != "fingerprint"}
    names.expect(sum(bool(row.into) for row in rows()))
    write_plan(file, about | {"origin": full_path(source)}, _undo_all(rows(), source, names))


class OutputNames:
    """The names that images have in an output: a container that `writer` wrote, or a folder.

    `are_placed`: images of a folder were placed there as files, which keep their names. `lost` are
    the paths of the images that could not be written to a container.
    """

    def __init__(
        self, output: Path, writer: SetWriter | None, are_placed: bool, lost: Iterable[str]
    ) -> None:
        self._output, self._writer, self._lost = output, writer, frozenset(lost)
        self._suffixes: dict[str, str] = {}
        self._all_there = False
        self.fingerprint = ""
        self._n = 0
        if self._writer is None:
            listing = list_images(find_identities(output)) if is_folder(output) else list_images([])
            with input_faults.refuse():
                self.fingerprint, self._n = fingerprint_of(output, listing), len(listing)
            if not are_placed:
                paths = (path.rpartition(".") for path in listing.prefixed_paths(""))
                self._suffixes = {stem: f".{suffix}" for stem, _, suffix in paths}

    def expect(self, n: int) -> None:
        """Note how many images were placed: if all are there, none needs to be looked for."""
        self._all_there = self._n == n

    def is_there(self, into: str) -> bool:
        """Return whether an image was placed."""
        if self._writer or self._all_there:
            return into not in self._lost
        return storage.size_of(f"{self._output}/{self.name(into)}") is not None

    def name(self, path: str, into: str = "") -> str:
        """Return the name that the image which goes `into` has or had in the output."""
        if self._writer:
            return self._writer.read_back(path)
        return path + self._suffixes.get(into or path, "")


def _undo_all(rows: Iterable[Row], source: Path, names: OutputNames) -> Iterator[Decision]:
    """Yield the decisions that undo `rows`.

    `place` counts the images of the source, and those of the output that are dropped.
    """
    place = 0
    for path, into, origin, _ in rows:
        is_there = bool(into) and names.is_there(into)
        if origin and is_there:
            yield Decision(DROP, names.name(into))
        elif not origin and not is_there:
            evidence = {PLACE: place} | evidence_of(f"{source}/{path}")
            yield Decision(RESTORE, path, names.name(path), evidence=evidence)
        elif not origin and into != path:
            yield Decision(RENAME, names.name(into), names.name(path, into))
        place += is_there or not origin


def evidence_of(path: str) -> dict[str, int]:
    """Return the state of an image that may be restored; empty when it no longer exists.

    Raises SourceError for a fault of the disk.
    """
    with SuppressDamage():
        size, time = storage.dated_size(path)
        return {"bytes": size, "changed_ns": time}
    return {}
