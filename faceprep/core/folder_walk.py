"""A walk over a tree of folders that enters each real folder once, whatever links lead to it."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

from faceprep.core import input_faults, storage
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import UNREADABLE
from faceprep.core.os_errors import guard
from faceprep.core.output_tree import is_within
from faceprep.core.paths import real_path
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome
from faceprep.core.urls import is_remote

log = logging.getLogger("faceprep")
_AHEAD = 64
"""Folders of a store that are listed before they are entered."""


class Folder(NamedTuple):
    """A folder below the root, the names of its files, and those that begin with a dot."""

    name: str
    files: list[str]
    hidden: list[str]


def walk_folders(root: str | os.PathLike[str]) -> Iterator[Folder]:
    """Yield the folders below `root`, unsorted; `root` itself is ``""``.

    A folder whose name begins with a dot is not entered. Links are followed after all real folders,
    in the order of their names, and only to folders that were not entered yet. A folder below
    `root` that cannot be listed, and a link without a suffix that leads nowhere, is lost: an
    outcome for whom `input_faults.watch` lets watch. Raises SourceError where nobody watches, and
    about `root`.
    """
    walk = _Walk(os.fspath(root))
    links = yield from walk.enter("", real_path(root))
    while links:
        following: list[str] = []
        for name in sorted(links):
            target = walk.new_target(name)
            if target is not None:
                following += yield from walk.enter(name, target)
        links = following
    if walk.n_skipped:
        what = count_noun(walk.n_skipped, "link")
        log.warning("%s: %s skipped: they lead to folders that are in the set already", root, what)


class _Walk:
    """The folders that a walk has entered: whole trees, known by their topmost real folder."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._tops: set[str] = set()
        self.n_skipped = 0

    def enter(self, top: str, real: str) -> Generator[Folder, None, list[str]]:
        """Yield `top` and the real folders below it; return the links. `real` is its real path."""
        self._tops.add(real)
        waiting, links, listed = [(top, real)], [], set[str]()
        while waiting:
            if waiting[-1][0] not in listed:
                listed = {name for name, _ in waiting[-_AHEAD:]}
                storage.list_ahead([os.path.join(self._root, name) for name in listed])
            name, real = waiting.pop()
            folders, files, hidden = self._list(name)
            yield Folder(name, files, hidden)
            for folder in folders:
                below = f"{name}/{folder}" if name else folder
                if os.path.islink(os.path.join(self._root, below)):
                    links.append(below)
                elif os.path.join(real, folder) not in self._tops:
                    waiting.append((below, os.path.join(real, folder)))
        return links

    def _list(self, name: str) -> tuple[list[str], list[str], list[str]]:
        """Return the names of folders, files and hidden ones; empty lists for a lost folder."""
        path = os.path.join(self._root, name)
        try:
            with guard("list", path, SourceError):
                input_faults.replay(path)
            folders, files, hidden = storage.list_entries(path)
        except SourceError as error:
            if name and not is_remote(path) and _lose(path, error):
                return [], [], []
            raise
        sound = [file for file in files if "." in file or not _is_lost(path, file)]
        return folders, sound, hidden

    def new_target(self, link: str) -> str | None:
        """Return the real path of the folder behind a link, or None if it is not to be entered.

        A link to a folder that contains it loses nothing; other skipped links are counted.
        """
        path = os.path.join(self._root, link)
        target = real_path(path)
        around = real_path(os.path.dirname(path))
        if is_within(around, target):
            return None
        if self._is_entered(target):
            self.n_skipped += 1
            return None
        return target

    def _is_entered(self, target: str) -> bool:
        """Return whether the walk has entered the real folder; it enters no hidden ones."""
        folder = Path(target)
        while True:
            if str(folder) in self._tops:
                return True
            if folder.name.startswith(".") or folder == folder.parent:
                return False
            folder = folder.parent


def _lose(path: str, error: SourceError) -> bool:
    """Note a folder that cannot be listed; return False if its error has to stop the walk."""
    number = getattr(error.__cause__, "errno", None)
    outcome = Outcome(path, UNREADABLE, str(error), "folder")
    return input_faults.lose_folder(outcome, number)


def _is_lost(folder: str, file: str) -> bool:
    """Return whether a file is a link to a folder, perhaps, that is not there now."""
    path = os.path.join(folder, file)
    if not os.path.islink(path):
        return False
    try:
        with guard("follow the link", path, SourceError):
            input_faults.look_at(path)
    except SourceError as error:
        return _lose(path, error)
    return False
