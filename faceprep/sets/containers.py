"""Opens any container as a set of images, and finds the writer of any container."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from faceprep.core import registry, storage
from faceprep.core.errors import SourceError
from faceprep.core.names import sort_names
from faceprep.core.paths import full_path, is_folder
from faceprep.core.types import Outcome
from faceprep.sets import kinds
from faceprep.sets.folder import FolderSet, FolderWriter
from faceprep.sets.image_set import ImageSet
from faceprep.sets.losses import find_losses
from faceprep.sets.set_index import RELATIVE_TO, IndexWriter, SetIndex
from faceprep.sets.set_writer import Classes, SetNames, SetWriter

SET = "set"
"""The usual name of the set of a run in its scratch folder."""


def index_set(
    path: Path,
    scratch: Path,
    name: str = SET,
    relative_to: Path | None = None,
    may_be_empty: bool = False,
) -> ImageSet:
    """Build the index of the set at `path` in the run's folder, and open it.

    The files that a list or a .parquet names lie below `relative_to`, or else below its own folder.
    An index of an earlier start is built again, as the set may have changed. Raises SourceError.
    """
    path = Path(full_path(path))
    kind = kind_of(path)
    container = registry.load(registry.CONTAINERS, kind)
    folder = scratch / name
    index = IndexWriter(folder)
    given = _given_facts(kind, relative_to)
    index.facts = dict(given)
    container.build_index(path, index)
    index.facts = {"path": full_path(path), "kind": kind} | given | index.facts
    index.close()
    found = open_set(scratch, name)
    if not len(found) and not may_be_empty:
        expected = "another set of images"
        if is_folder(path):
            expected = f"SRC/IDENTITY/IMAGE.jpg (or .png …), or {expected}"
        raise SourceError("no images in it", path=path, expected=expected)
    return found


def _given_facts(kind: str, relative_to: Path | None) -> dict[str, str]:
    if relative_to is None or kind not in registry.NAMING_KINDS:
        return {}
    if not is_folder(relative_to):
        raise SourceError("no such folder", path=relative_to, remedy="Check --relative-to.")
    return {RELATIVE_TO: full_path(relative_to)}


def open_set(scratch: Path, name: str = SET) -> ImageSet:
    """Open a set whose index is in the run's folder; workers do."""
    index = SetIndex(scratch / name)
    container = registry.load(registry.CONTAINERS, index.facts["kind"])
    found: ImageSet = container(index.facts["path"], index)
    return found


def kind_of(path: Path) -> str:
    """Return the name of the container at `path`.

    Raises SourceError where there is none; it names what is there instead.
    """
    kind = kinds.find_container(path)
    if not kind:
        raise kinds.not_a_set(path)
    return kind


def faults_after(images: ImageSet, stop: int) -> Iterator[Outcome]:
    """Yield the faults of the container itself with its last images, those before `stop`."""
    if stop == len(images):
        yield from images.faults()


# Writing


def find_writer(output: Path) -> type[SetWriter] | None:
    """Return the writer for the suffix of `output`; None for a suffix that no container has."""
    suffix = output.suffix.lower()
    for kind, entry in registry.CONTAINERS.items():
        if entry.writer and (suffix in entry.suffixes or not suffix and kind == FolderSet.kind):
            writer: type[SetWriter] = registry.load_target(entry.writer)
            return writer
    return None


def suggest_containers(names: SetNames) -> str:
    """Return a sentence, without its full stop, about the containers that can hold a set.

    Lists of files are left out. Empty where no container can hold it.
    """
    if names.kind == registry.PAIRS_KIND:
        return "Run faceprep bin2folder"
    folder, suffixes = "", list[str]()
    for kind, entry in registry.CONTAINERS.items():
        if not entry.writer:
            continue
        writer: type[SetWriter] = registry.load_target(entry.writer)
        if not writer.takes_new_names or find_losses(names, writer):
            continue
        if kind == FolderSet.kind:
            folder = "a folder"
        else:
            suffixes.append(entry.suffixes[0])
    able = " or ".join(filter(None, (folder, " ".join(suffixes))))
    return able and f"Write {able}"


def is_container_name(output: Path) -> bool:
    """Return whether `output` names a container that is one file or several, not a folder."""
    return bool(output.suffix) and find_writer(output) is not None


def describe_container(output: Path) -> str:
    """Return the container of `output` with its article, for messages.

    >>> describe_container(Path("train.rec")), describe_container(Path("folders"))
    ('a .rec', 'a folder')
    """
    return f"a {output.suffix}" if is_container_name(output) else "a folder"


def describe_writer(writer: type[SetWriter], names: SetNames, classes: Sequence[str] = ()) -> bytes:
    """Return what `load_writer` needs to write a set with these names. Raises SourceError.

    `classes` are the names of the classes by number, unless these follow from the identities.
    """
    about = {
        "settings": writer.choose_settings(names),
        "classes": list(classes) or sort_names(names.identities),
    }
    return json.dumps(about).encode()


def load_writer(output: Path, path: Path) -> SetWriter:
    """Return a writer from what `describe_writer` left at `path`; a process loads it once.

    A suffix that no container has means a folder.
    """
    return _load_writer(output, path, storage.fingerprint_of(path))


@lru_cache(maxsize=1)
def _load_writer(output: Path, path: Path, state: str) -> SetWriter:
    """Load a writer, as long as `state` names the state of its description."""
    about = json.loads(storage.read_bytes(path))
    writer = find_writer(output) or FolderWriter
    return writer(output, Classes.in_order(about["classes"]), about["settings"])
