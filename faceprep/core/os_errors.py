"""Errors of the operating system as one clear line: what, where, why, and what to do."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from faceprep.core import passing_faults, stores
from faceprep.core.errors import (
    BadName,
    FaceprepError,
    NameTooLong,
    OptionError,
    OutputError,
    SourceError,
)
from faceprep.core.store_errors import StoreError
from faceprep.core.suggest import did_you_mean
from faceprep.core.urls import find_foreign_name, is_remote, url_of

NAME_A_FILE = "Name a file."
_MOST_NAMES = 10_000
"""The most names in a folder that are compared with a misspelt one."""
_LONGEST_NAME, _LONGEST_PATH = 255, 4095
"""Bytes of a name, and of a path, that Linux accepts."""
_NO_FAULTS = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
"""Error numbers that report what is at a path. They do not mean that the disk failed."""
_NAME_ERRORS: dict[int, type[OutputError]] = {
    errno.ENAMETOOLONG: NameTooLong,
    errno.EILSEQ: BadName,
    errno.EINVAL: BadName,
}
"""Errors of writing that are about the name: exFAT takes no colon, other systems only UTF-8."""
_REMEDIES = {
    errno.ENOSPC: "Free some space, then start the same command again to resume.",
    errno.EDQUOT: "Your quota is used up: free some space, then start the same command again.",
    errno.EACCES: "Check its permissions.",
    errno.EPERM: "Check its permissions.",
    errno.EROFS: "It is mounted read-only.",
    errno.EFBIG: "Raise the limit on file size (ulimit -f), then start the same command again.",
    errno.EMFILE: "Raise the limit on open files (ulimit -n), or use fewer --workers.",
    errno.EIO: "The disk reports a fault: check it, then start the same command again.",
    errno.ENOENT: "Check the path.",
    errno.EISDIR: NAME_A_FILE,
    errno.ENOTDIR: "A part of the path is a file.",
    errno.ENAMETOOLONG: "Give the input, or the output, a shorter name.",
    errno.EEXIST: "A file is in the way.",
    errno.EXDEV: "Hard links cannot cross file systems: copy, or use symbolic links.",
    errno.EMLINK: "The file has the most hard links that its file system allows: copy, or use "
    "symbolic links.",
}


def as_error(
    kind: type[FaceprepError], doing: str, path: str | os.PathLike[str], error: OSError
) -> FaceprepError:
    """Return `error` as one line: what could not be done, where, why, and what to do."""
    passing_faults.note_errno(error.errno)
    if kind is OutputError:
        kind = _NAME_ERRORS.get(error.errno or 0, kind)
    if isinstance(error, StoreError):
        return kind(f"cannot {doing}: {error.reason}", path=path, remedy=error.remedy)
    reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
    limit = _measure_name(path) if error.errno == errno.ENAMETOOLONG else {}
    remedy = _REMEDIES.get(error.errno or 0)
    return kind(f"cannot {doing}: {reason}", path=path, remedy=remedy, **limit)


def _measure_name(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the limit that a path exceeds, and its length, as fields of an error.

    A file system may have limits of its own, which are lower. Then return nothing.
    """
    whole = os.fsencode(path)
    longest = max(map(len, whole.split(b"/")))
    if longest > _LONGEST_NAME:
        return {"expected": f"names of up to {_LONGEST_NAME} bytes", "found": f"one of {longest:,}"}
    if len(whole) > _LONGEST_PATH:
        return {"expected": f"up to {_LONGEST_PATH:,} bytes", "found": f"{len(whole):,}"}
    return {}


@contextmanager
def guard(
    doing: str, path: str | os.PathLike[str], kind: type[FaceprepError] = OutputError
) -> Iterator[None]:
    """Turn an `OSError` inside the block into one clear line about `path`."""
    try:
        yield
    except OSError as error:
        raise as_error(kind, doing, path, error) from error


def refuse_foreign_name(path: str | os.PathLike[str]) -> None:
    """Raise OptionError for a name with a scheme that faceprep neither reads nor writes."""
    if foreign := find_foreign_name(path):
        raise OptionError("cannot be read or written", **foreign._asdict())


@contextmanager
def name_faults(place: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an `OSError` that nothing inside the block has handled into one clear line.

    It is about the path that the error names, else about `place`.
    """
    try:
        yield
    except OSError as error:
        raise unforeseen(error, place) from error


def unforeseen(error: OSError, place: str | os.PathLike[str] = "") -> FaceprepError:
    """Return one line for an error that nothing has handled, about the path that it names."""
    path = error.filename if isinstance(error.filename, str | bytes) else place
    doing = "use this path" if error.errno == errno.ENAMETOOLONG else "go on"
    return as_error(FaceprepError, doing, os.fsdecode(path), error)


def is_fault(error: FaceprepError) -> bool:
    """Return whether a disk or a store failed, and not just the lookup of a path."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno not in _NO_FAULTS


class SuppressDamage:
    """Suppresses the SourceError of a missing or damaged input, but not that of a failing disk."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        return isinstance(error, SourceError) and not is_fault(error)


def missing_source(path: str | os.PathLike[str]) -> SourceError:
    """Return the error of a source that does not exist, with the shards that were written for it.

    With --shards, the output OUT.tar is OUT-00000-of-00002.tar and so on; each stands for all.
    Raises OptionError where the name has a foreign scheme.
    """
    refuse_foreign_name(path)
    problem, remedy = "no such file or folder", ""
    if is_remote(path):
        with guard("look at", path, SourceError):
            problem, remedy = stores.explain_missing(path)
    shard = _find_shard(Path(path))
    if not shard:
        remedy = remedy or _similar_path(Path(path)) or "Check the path."
        return SourceError(problem, path=path, remedy=remedy)
    return SourceError(
        problem,
        path=path,
        expected="one of its shards, which stands for all of them",
        found=shard,
        remedy="Name that one.",
    )


def _find_shard(path: Path) -> str:
    """Return the first of the shards that --shards wrote for a missing output; empty without."""
    if not path.suffix:
        return ""
    folder = path.parent
    pattern = f"{glob.escape(path.stem)}-00000-of-[0-9]*{glob.escape(path.suffix)}"
    with suppress(OSError):
        names = stores.list_prefix(folder) if is_remote(folder) else os.listdir(folder)
        if shards := sorted(fnmatch.filter(names, pattern)):
            return str(url_of(folder / shards[0]))
    return ""


def _similar_path(path: Path) -> str:
    """Return a question that names the paths spelt much like a missing one; empty without any."""
    missing = path
    while not os.path.lexists(missing.parent) and missing.parent != missing:
        missing = missing.parent
    try:
        with os.scandir(missing.parent) as entries:
            names = [entry.name for entry in islice(entries, _MOST_NAMES)]
    except OSError:
        return ""
    return did_you_mean(missing.name, names, str(missing.parent / "_")[:-1])
