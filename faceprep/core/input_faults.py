"""Inputs that cannot be looked at while a run is planned, and the replay of such faults.

A file without a size stays an input, and reading it names it. So does one that cannot be opened,
or that ends the process that examines it. A folder that cannot be listed is an outcome of its own.
All are noted. The next start can plan with the same faults once more: if that gives the earlier
plan, nothing but these faults has changed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from faceprep.core import paths
from faceprep.core.errors import FaceprepError, SourceError
from faceprep.core.os_errors import as_error, is_fault
from faceprep.core.types import Outcome
from faceprep.core.urls import is_remote

_MOST_FAULTS = 10_000
"""Faults that are noted at most, so that the record of a run stays small."""
_OPEN = "open "
"""What precedes the path of an input that could be looked at, but not opened or read."""
_EXAMINE = "examine "
"""What precedes the path of an input that ended the process that examined it."""


class Watch:
    """The faults that planning meets; `replayed` are those of an earlier run, path to errno."""

    def __init__(self, replayed: Mapping[str, int]) -> None:
        self._replayed = replayed
        self.lost: dict[str, Outcome] = {}
        """One outcome for each folder that could not be listed, by its path."""
        self._met: dict[str, int] = {}
        self._are_too_many = False

    @property
    def met(self) -> Mapping[str, int]:
        """Return the errno of each path that could not be looked at; empty if they are too many.

        `open ` precedes a path that could only not be opened or read, and `examine ` one that ended
        the process that examined it.
        """
        return {} if self._are_too_many else self._met

    def replay(self, path: str | os.PathLike[str], doing: str = "") -> None:
        """Raise OSError if the earlier run could not look at `path`."""
        if self._replayed:
            number = self._replayed.get(doing + paths.full_path(path))
            if number is not None:
                raise OSError(number, os.strerror(number))

    def note(self, path: str | os.PathLike[str], number: int | None, doing: str = "") -> None:
        """Note the error of an input that could not be looked at."""
        if len(self._met) >= _MOST_FAULTS:
            self._are_too_many = True
        else:
            self._met[doing + paths.full_path(path)] = number or errno.EIO


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watch(replayed: Mapping[str, int] | None = None) -> Iterator[Watch]:
    """Yield the faults that this thread meets in the block.

    Those in `replayed` are met even where they have been repaired.
    """
    found = Watch(replayed or {})
    token = _watch.set(found)
    try:
        yield found
    finally:
        _watch.reset(token)


@contextmanager
def refuse() -> Iterator[None]:
    """Raise SourceError for a fault that this thread meets in the block.

    Use it where nothing may be missing, such as in the fingerprint of an output.
    """
    with watch() as faults:
        yield
    for path, number in faults.met.items():
        raise error_of(path, number)


def have_passed(met: Iterable[str]) -> bool:
    """Return whether one of these faults, keys of `Watch.met`, is not met any more."""
    return not all(map(_is_met, met))


def _is_met(fault: str) -> bool:
    if fault.startswith(_EXAMINE):  # only another examination could tell
        return True
    path = fault.removeprefix(_OPEN)
    try:
        mode = paths.look_at(path).mode
        if is_remote(path):
            return False
        if stat.S_ISDIR(mode):
            os.scandir(path).close()
        elif path != fault and stat.S_ISREG(mode):
            os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return True
    return False


def error_of(fault: str, number: int) -> FaceprepError:
    """Return the error of a fault, a key of `Watch.met`."""
    if fault.startswith(_EXAMINE):
        return SourceError(
            "crashed the program that examined it, or took too long",
            path=fault.removeprefix(_EXAMINE),
            remedy="Start the same command again. If it is only slow, raise --item-timeout.",
        )
    cause = OSError(number, os.strerror(number))
    path = fault.removeprefix(_OPEN)
    doing = "look at" if path == fault else "open"
    error = as_error(SourceError, doing, path, cause)
    error.__cause__ = cause
    return error


def look_at(path: str | os.PathLike[str]) -> paths.State:
    """Return what an input leads to, and note the fault where there is one. Raises OSError."""
    watching = _watch.get()
    if watching is None:
        return paths.look_at(path)
    try:
        watching.replay(path)
        return paths.look_at(path)
    except OSError as error:
        watching.note(path, error.errno)
        raise


def replay(path: str | os.PathLike[str]) -> None:
    """Raise OSError if the earlier run that is replayed could not look at or list `path`."""
    watching = _watch.get()
    if watching is not None:
        watching.replay(path)


def replay_opening(path: str) -> None:
    """Raise OSError if the earlier run that is replayed could not look at, open or read `path`.

    It is raised for an input that ended the process that examined it as well.
    """
    watching = _watch.get()
    if watching is not None:
        for doing in ("", _OPEN, _EXAMINE):
            watching.replay(path, doing)


def note_opening(path: str, number: int) -> None:
    """Note the errno of an input that could not be opened or read."""
    watching = _watch.get()
    if watching is not None:
        watching.note(path, number, _OPEN)


def note_examination(path: str) -> None:
    """Note an input that ended the process that examined it."""
    watching = _watch.get()
    if watching is not None:
        watching.note(path, errno.EIO, _EXAMINE)


def errno_of(error: FaceprepError) -> int:
    """Return the errno of a fault of a disk or a store; 0 where the input itself is at fault."""
    if not is_fault(error):
        return 0
    return getattr(error.__cause__, "errno", None) or errno.EIO


def lose_folder(outcome: Outcome, number: int | None) -> bool:
    """Note the outcome of a folder, whose key is its path, and the error that listing it gave.

    Return False where nobody watches, so that the error has to stop the work.
    """
    watching = _watch.get()
    if watching is None:
        return False
    watching.lost[outcome.key] = outcome
    watching.note(outcome.key, number)
    return True
