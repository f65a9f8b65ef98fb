"""Opens any container as a set of images, and finds the writer of any container."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path

from faceprep.core import registry, storage
from faceprep.core.errors import SourceError
from faceprep.sets.folder import FolderSet
from faceprep.sets.image_set import ImageSet
from faceprep.sets.set_index import IndexWriter, SetIndex
from faceprep.sets.set_writer import Classes, SetNames, SetWriter

SET = "set"
"""The usual name of the set of a run in its scratch folder."""


def index_set(path: Path, scratch: Path, name: str = SET, may_be_empty: bool = False) -> ImageSet:
    """Build the index of the set at `path` in the run's folder, and open it. Raises SourceError.

    An index of an earlier start is built again, as the set may have changed.
    """
    path = Path(os.path.abspath(path))
    kind = kind_of(path)
    container = registry.load(registry.CONTAINERS, kind)
    folder = scratch / name
    index = IndexWriter(folder)
    container.build_index(path, index)
    index.facts = {"path": str(path), "kind": kind} | index.facts
    index.close()
    found = open_set(scratch, name)
    if not len(found) and not may_be_empty:
        expected = "SRC/IDENTITY/IMAGE.jpg (or .png …), or another set of images"
        raise SourceError("no images in it", path=path, expected=expected)
    return found


def open_set(scratch: Path, name: str = SET) -> ImageSet:
    """Open a set whose index is in the run's folder; workers do."""
    index = SetIndex(scratch / name)
    container = registry.load(registry.CONTAINERS, index.facts["kind"])
    found: ImageSet = container(index.facts["path"], index)
    return found


def kind_of(path: Path) -> str:
    """Return the name of the container at `path`. Raises SourceError."""
    if not path.exists():
        raise SourceError("no such file or folder", path=path, remedy="Check the path.")
    if path.is_dir():
        names = storage.list_folder(path)[1]
        for kind, entry in registry.CONTAINERS.items():
            is_such = entry.suffixes and entry.in_folders and _holds(names, entry.suffixes)
            if is_such and _is_kind(kind, path):
                return kind
        return FolderSet.kind
    suffix = path.suffix.lower()
    kinds = [kind for kind, entry in registry.CONTAINERS.items() if suffix in entry.suffixes]
    for kind in kinds:
        if len(kinds) == 1 or registry.load(registry.CONTAINERS, kind).is_kind(path):
            return kind
    expected = "a folder, or " + " ".join(
        suffix for entry in registry.CONTAINERS.values() for suffix in entry.suffixes
    )
    raise SourceError("not a set of images", path=path, expected=expected, found=suffix or "a file")


def _is_kind(kind: str, path: Path) -> bool:
    """Return whether a folder is such a container; a damaged table beside images is none."""
    container: type[ImageSet] = registry.load(registry.CONTAINERS, kind)
    try:
        return container.is_kind(path)
    except SourceError:
        return False


def _holds(names: list[str], suffixes: tuple[str, ...]) -> bool:
    return any(name.lower().endswith(suffixes) for name in names)


# Writing


def find_writer(output: Path) -> type[SetWriter] | None:
    """Return the writer for the suffix of `output`; None for a suffix that no container has."""
    suffix = output.suffix.lower()
    for kind, entry in registry.CONTAINERS.items():
        if entry.writer and (suffix in entry.suffixes or not suffix and kind == FolderSet.kind):
            writer: type[SetWriter] = registry.load_target(entry.writer)
            return writer
    return None


def is_container_name(output: Path) -> bool:
    """Return whether `output` names a container that is one file or several, not a folder."""
    return bool(output.suffix) and find_writer(output) is not None


def describe_writer(writer: type[SetWriter], names: SetNames) -> bytes:
    """Return what `load_writer` needs to write a set with these names. Raises SourceError."""
    about = {"settings": writer.choose_settings(names), "identities": list(names.identities)}
    return json.dumps(about).encode()


@lru_cache(maxsize=1)
def load_writer(output: Path, path: Path) -> SetWriter:
    """Return a writer from what `describe_writer` left at `path`; a process loads it once."""
    about = json.loads(storage.read_bytes(path))
    writer = find_writer(output)
    if writer is None:
        raise ValueError(output)
    return writer(output, Classes.of(about["identities"]), about["settings"])
