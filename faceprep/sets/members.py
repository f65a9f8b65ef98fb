"""Members of archives and folders: names that stay inside the set, and what is skipped."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from faceprep.core import registry, storage
from faceprep.core.errors import SourceError
from faceprep.core.names import family_of, output_of, suffix_of
from faceprep.core.paths import is_folder
from faceprep.core.text import list_words
from faceprep.sets.class_map import name_for

_N_NAMED = 3
_SETS = (".rec", ".tar", *registry.CONTAINERS["tfrecord"].suffixes)
"""Suffixes of files that are a set beside another one; a .parquet may be a table about it."""
_NUMBERED = re.compile(r"(?P<name>.*?)\d{4,}(?P<suffix>\.\w+)", re.DOTALL)
"""The name of a shard as WebDataset's ShardWriter and other programs number them."""

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

    With `sets_alone`, warn only of other sets. Otherwise, warn of numbered shards that may belong
    to several sets, and where `source` is only one of several.
    """
    names = {file.name for file in files}
    if not is_folder(source):
        if not sets_alone:
            _hint_at_series(source)
        return
    folders, there = storage.list_folder(source)
    series: dict[str, str] = {}
    for name in filter(_series_of, sorted(names)):
        series.setdefault(_series_of(name), name)
    if len(series) > 1 and not sets_alone:
        log.warning(
            "%s: shards with several names are read as one set: %s",
            source,
            list_words(list(series.values())),
        )
    maps = {name_for(Path(output)) for output in set(map(output_of, names))}
    skipped = SkippedFiles()
    for name in sorted([*folders, *set(there).difference(names, maps)]):
        if not sets_alone:
            skipped.add("not shards", name)
        elif suffix_of(name) in _SETS:
            skipped.add("other sets in this folder", name)
    skipped.warn(source)


def _hint_at_series(path: Path) -> None:
    """Warn where a file is one of several numbered ones, which their folder stands for."""
    series, names = _series_of(path.name), list[str]()
    with suppress(SourceError):  # a file can be read in a folder that cannot be listed
        names = storage.list_folder(path.parent)[1] if series else []
    n = sum(_series_of(name) == series for name in names)
    if n > 1:
        log.warning(
            "%s: one of %d numbered files, and only this one is read. Name their folder for all of "
            "them.",
            path,
            n,
        )


def _series_of(name: str) -> str:
    """Return the name of a numbered shard without its number; empty for another file.

    >>> _series_of("train-000012.tar"), _series_of("a-00001-of-00002.tar"), _series_of("a1.tar")
    ('train-.tar', '', '')
    """
    match = _NUMBERED.fullmatch(name)
    return match["name"] + match["suffix"] if match and not family_of(name) else ""
