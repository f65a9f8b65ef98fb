"""Questions about paths on the disk and in object stores: what is there, and its full name.

Use these in place of the methods of `Path` and `os.path` for every path that a user may name.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

from faceprep.core import stores
from faceprep.core.errors import SourceError
from faceprep.core.os_errors import as_error
from faceprep.core.urls import is_remote, url_of

_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)


class State(NamedTuple):
    """What a path leads to: its mode as `os.stat` has it, its bytes, the time of its last change.

    The time is in nanoseconds. An object has a number for its entity tag instead.
    """

    mode: int
    n_bytes: int
    changed: int


def look_at(path: str | os.PathLike[str]) -> State:
    """Return what `path` leads to, links followed. Raises OSError."""
    if is_remote(path):
        entry = stores.look_at(path)
        mode = stat.S_IFREG
        if entry.is_folder:
            mode = stat.S_IFDIR
        return State(mode, entry.size, stores.tag_number(entry.tag))
    found = os.stat(path)
    return State(found.st_mode, found.st_size, found.st_mtime_ns)


def find(path: str | os.PathLike[str]) -> State | None:
    """Return what `path` leads to, links followed; None for nothing.

    Raises SourceError for an error of the disk, which does not prove that nothing is there.
    """
    try:
        return look_at(path)
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise as_error(SourceError, "look at", path, error) from error
    except ValueError:  # a NUL in the name
        return None


def exists(path: str | os.PathLike[str]) -> bool:
    """Return whether there is something at `path`. Raises SourceError if the disk fails."""
    return _mode_of(path) != 0


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` is a folder, or a prefix. Raises SourceError if the disk fails."""
    return stat.S_ISDIR(_mode_of(path))


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` is a file or an object. Raises SourceError if the disk fails."""
    return stat.S_ISREG(_mode_of(path))


def _mode_of(path: str | os.PathLike[str]) -> int:
    """Return the mode of what is at `path`; 0 for nothing. Raises SourceError."""
    found = find(path)
    return found.mode if found else 0


def is_present(path: str | os.PathLike[str]) -> bool:
    """Return whether a name on the disk is taken, even by a link that leads nowhere.

    Raises SourceError if the disk fails.
    """
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno in _NOTHING:
            return False
        raise as_error(SourceError, "look at", path, error) from error
    return True


def full_path(path: str | os.PathLike[str]) -> str:
    """Return the absolute path, or the full name of an object."""
    return url_of(path) if is_remote(path) else os.path.abspath(path)


def own_name(path: str | os.PathLike[str]) -> str:
    """Return the name of what is at a path, also where the path ends in `.` or `..`.

    >>> own_name("a/b/"), own_name("a/b/.."), own_name("/")
    ('b', 'a', '')
    """
    return os.path.basename(full_path(path))


def is_full(path: str) -> bool:
    """Return whether `path` is absolute, or the name of an object.

    >>> is_full("/a"), is_full("s3://b/a"), is_full("a")
    (True, True, False)
    """
    return os.path.isabs(path) or is_remote(path)


def join(folder: Path, name: str) -> Path:
    """Return the path of `name`, which lies in `folder` unless it is a full path.

    >>> join(Path("a"), "b").as_posix(), join(Path("a"), "s3://b/c").as_posix()
    ('a/b', 's3:/b/c')
    """
    return Path(name) if is_remote(name) else folder / name


def real_path(path: str | os.PathLike[str]) -> str:
    """Return the absolute path without links, or the full name of an object."""
    return url_of(path) if is_remote(path) else os.path.realpath(path)


def are_same(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Return whether two paths that exist lead to the same file, folder or object."""
    if is_remote(a) or is_remote(b):
        return url_of(a) == url_of(b)
    return os.path.samefile(a, b)
