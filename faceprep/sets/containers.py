"""Opens any container as a set of images."""

from __future__ import annotations

import os
from pathlib import Path

from faceprep.core import registry
from faceprep.core.errors import SourceError
from faceprep.sets import kinds
from faceprep.sets.image_set import ImageSet
from faceprep.sets.set_index import RELATIVE_TO, IndexWriter, SetIndex, has_index

SET = "set"
"""The usual name of the set of a run in its scratch folder."""


def index_set(
    path: Path, scratch: Path, name: str = SET, relative_to: Path | None = None
) -> ImageSet:
    """Build the index of the set at `path` in the run's folder, and open it.

    The relative names of a list lie below `relative_to`, or else below the list's folder. Raises
    SourceError.
    """
    path = Path(os.path.abspath(path))
    kind = kind_of(path)
    container = registry.load(registry.CONTAINERS, kind)
    folder = scratch / name
    if not has_index(folder):
        index = IndexWriter(folder)
        given = _given_facts(relative_to)
        index.facts = dict(given)
        container.build_index(path, index)
        index.facts = {"path": str(path), "kind": kind} | given | index.facts
        index.close()
    found = open_set(scratch, name)
    if not len(found):
        expected = "SRC/IDENTITY/IMAGE.jpg (or .png …), or another set of images"
        raise SourceError("no images in it", path=path, expected=expected)
    return found


def _given_facts(relative_to: Path | None) -> dict[str, str]:
    if relative_to is None:
        return {}
    if not relative_to.is_dir():
        raise SourceError("no such folder", path=relative_to, remedy="Check --relative-to.")
    return {RELATIVE_TO: os.path.abspath(relative_to)}


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
