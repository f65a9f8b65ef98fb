"""Members of archives and folders: names that stay inside the set, and what is skipped."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from faceprep.core import registry, storage
from faceprep.core.errors import SourceError
from faceprep.core.names import output_of, suffix_of
from faceprep.core.paths import is_folder
from faceprep.sets.class_map import name_for

_N_NAMED = 3
_SETS = (".rec", ".tar", *registry.CONTAINERS["tfrecord"].suffixes)
"""Suffixes of files that are a set beside another one; a .parquet may be a table about it."""

log = logging.getLogger("faceprep")


def read_path(name: str) -> str:
    """Return the path of a member without `./` and empty parts.

    Raises SourceError for one that leads out of the set.

    >>> read_path("./a//b.jpg")
    'a/b.jpg'
    """
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise SourceError(
            f"the member {name!r} leads out of the set",
            expected="names such as IDENTITY/NAME.jpg",
            remedy="Make the file again with other names.",
        )
    return "/".join(part for part in parts if part not in ("", "."))


class SkippedFiles:
    """Counts of files by the reason why they are skipped, with the first names.

    >>> skipped = SkippedFiles()
    >>> skipped.add("not images", "a.txt")
    >>> skipped.lines()
    ['1 skipped, not images: a.txt']
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Count one file."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        names = self._names.setdefault(reason, [])
        if len(names) < _N_NAMED:
            names.append(name.encode("utf-8", "backslashreplace").decode())

    def lines(self) -> list[str]:
        """Return one line for each reason."""
        lines = []
        for reason, n in self._counts.items():
            names = ", ".join(self._names[reason])
            if n > _N_NAMED:
                names += " …"
            lines.append(f"{n:,} skipped, {reason}: {names}")
        return lines

    def warn(self, path: str | os.PathLike[str]) -> None:
        """Log the lines as warnings about the container at `path`."""
        for line in self.lines():
            log.warning("%s: %s", os.fspath(path), line)


def warn_of_others(source: Path, files: Iterable[Path], sets_alone: bool = False) -> None:
    """Warn of what the folder `source` holds besides the files of a set and their class maps.

    With `sets_alone`, warn only of other sets.
    """
    if not is_folder(source):
        return
    folders, there = storage.list_folder(source)
    names = {file.name for file in files}
    maps = {name_for(Path(output)) for output in set(map(output_of, names))}
    skipped = SkippedFiles()
    for name in sorted([*folders, *set(there).difference(names, maps)]):
        if not sets_alone:
            skipped.add("not shards", name)
        elif suffix_of(name) in _SETS:
            skipped.add("other sets in this folder", name)
    skipped.warn(source)
