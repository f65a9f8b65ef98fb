"""Files and folders below the root of an output, opened relative to it and through no link.

`tops` are the folders directly below the root that a user named. They alone may be links.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from faceprep.core.errors import OutputError
from faceprep.core.os_errors import as_error
from faceprep.core.paths import full_path, is_folder, real_path
from faceprep.core.urls import url_of

_OPEN = os.O_RDONLY | os.O_DIRECTORY
_SKIPPED = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
_STILL_NEEDED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EBUSY)


class LinkError(OutputError):
    """A link inside the output that a run would have to follow."""


def is_inside(name: object, tops: Sequence[str] = ()) -> bool:
    """Return whether `name` names something below the root, in one of `tops` if there are any.

    >>> is_inside("a/b.jpg"), is_inside("../b.jpg"), is_inside("/b.jpg"), is_inside(3)
    (True, False, False, False)
    >>> is_inside("other/b.jpg", ["out"])
    False
    """
    if not isinstance(name, str) or name.startswith("/") or "\0" in name:
        return False
    parts = name.split("/")
    return ".." not in parts and (not tops or parts[0] in tops)


def check_name(name: str) -> None:
    """Refuse a name that would leave the output folder.

    >>> check_name("../b.jpg")
    Traceback (most recent call last):
    faceprep.core.errors.OutputError: '../b.jpg' would leave the output folder; nothing was written there
    """  # noqa: E501
    if not is_inside(name):
        raise OutputError(f"{name!r} would leave the output folder; nothing was written there")


def check_names(names: Sequence[str]) -> None:
    """Refuse names that would leave the output folder; look at each only where one may."""
    text = "\n".join(names)
    if ".." in text or "\0" in text or text.startswith("/") or "\n/" in text:
        for name in names:
            check_name(name)


def check_distinct(names: Sequence[str]) -> None:
    """Refuse names that would overwrite each other.

    >>> check_distinct(["a/1.jpg", "a/1.jpg"])
    Traceback (most recent call last):
    faceprep.core.errors.OutputError: two outputs have the name 'a/1.jpg'; nothing of the shard was written
    """  # noqa: E501
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise OutputError(f"two outputs have the name {twice!r}; nothing of the shard was written")


@contextmanager
def open_folder(
    root: str | os.PathLike[str], folder: str, tops: Sequence[str] = (), make: bool = False
) -> Iterator[int]:
    """Open `folder` below `root`, made where it is missing if `make`; yield its descriptor.

    Raises OSError, or LinkError when a part of it is a link.
    """
    fd = os.open(root, _OPEN)
    try:
        parts = [part for part in folder.split("/") if part not in ("", ".")]
        for depth, part in enumerate(parts):
            below = _open_part(fd, part, depth == 0 and part in tops, make)
            os.close(fd)
            fd = below
        yield fd
    except _LinkFound as link:
        raise LinkError(
            f"{link} is a link, and nothing is written or removed through a link",
            path=os.path.join(root, folder),
            remedy="Remove the link, or choose another output.",
        ) from None
    finally:
        os.close(fd)


class _LinkFound(Exception):
    """A folder name that turned out to be a link."""


def _open_part(fd: int, part: str, may_be_link: bool, make: bool) -> int:
    flags = _OPEN if may_be_link else _OPEN | os.O_NOFOLLOW
    try:
        return os.open(part, flags, dir_fd=fd)
    except FileNotFoundError:
        if not make:
            raise
        with suppress(FileExistsError):  # another worker has made it
            os.mkdir(part, dir_fd=fd)
        return os.open(part, flags, dir_fd=fd)
    except OSError:
        if not may_be_link and stat.S_ISLNK(
            os.stat(part, dir_fd=fd, follow_symlinks=False).st_mode
        ):
            raise _LinkFound(repr(part)) from None
        raise


def remove_outputs(
    root: str | os.PathLike[str], names: Sequence[str], tops: Sequence[str] = ()
) -> None:
    """Remove the named files below `root`, and the folders that they leave empty.

    Skips what is outside of `root` or behind a link. Raises OutputError.
    """
    inside = [name for name in names if is_inside(name, tops)]
    for name in inside:
        _remove(root, name, tops)
    folders = {str(parent) for name in inside for parent in Path(name).parents} - {"."}
    for folder in sorted(folders, reverse=True):
        _remove(root, folder, tops, is_folder=True)


def _remove(
    root: str | os.PathLike[str], name: str, tops: Sequence[str], is_folder: bool = False
) -> None:
    folder, _, base = name.rpartition("/")
    try:
        with suppress(LinkError), open_folder(root, folder, tops) as fd:
            if is_folder:
                os.rmdir(base, dir_fd=fd)
            else:
                os.unlink(base, dir_fd=fd)
    except OSError as error:
        if error.errno not in (_STILL_NEEDED if is_folder else _SKIPPED):
            raise as_error(OutputError, "remove", os.path.join(root, name), error) from error


def remove_empty(*folders: Path) -> None:
    """Remove each of the folders that has nothing in it."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno not in _STILL_NEEDED:
                raise as_error(OutputError, "remove", folder, error) from error


def refuse_overlap(
    source: Path, output: Path, folders: Sequence[Path] = (), is_walked: bool = True
) -> None:
    """Raise OutputError for an output over or above its source, or in one that `is_walked`.

    `folders` are those that the output fills; without them it is one file.
    """
    inside, place = real_path(source), real_path(output)
    filled = [real_path(folder) for folder in folders]
    if inside == place or any(is_within(inside, folder) for folder in filled):
        problem = "the output would overwrite the input"
    elif (
        is_walked
        and is_folder(inside)
        and any(is_within(each, inside) for each in [place, *filled])
    ):
        problem = "the output would be inside the input"
    else:
        return
    shown = url_of(source)
    if source.name in ("", ".."):
        shown = full_path(source)
    raise OutputError(
        problem, path=output, found=f"the input {shown}", remedy="Name a place outside of it."
    )


def is_within(path: str, folder: str) -> bool:
    """Return whether a resolved path, or an object, is a folder or lies in it.

    >>> is_within("/a/b", "/a"), is_within("/a", "/a"), is_within("/ab", "/a")
    (True, True, False)
    """
    path, folder = url_of(path), url_of(folder)
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
