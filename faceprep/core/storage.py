"""Access to the disk and to object stores: read, list, and commit by rename.

With `staging`, `locks` and `output_tree` it is the only place that touches the disk, and it alone
reads from `stores`. A file is either complete under its name or not there. An `OSError` leaves this
module as an `OutputError` or a `SourceError` that names the file and says what to do.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from faceprep.core import input_faults, stores
from faceprep.core.errors import OutputError, SourceError
from faceprep.core.named_file import NamedFile
from faceprep.core.os_errors import NAME_A_FILE, as_error, guard, refuse_foreign_name
from faceprep.core.paths import find, is_folder
from faceprep.core.staged_file import StagedFile
from faceprep.core.types import Buffer
from faceprep.core.urls import is_remote, url_of

NOT_A_FILE = -(1 << 16)
"""Size that `file_size` returns for what is not a regular file."""
_IN_KERNEL = 64 << 20
_PIECE = 256 << 10  # stays in the processor's cache: pieces of 4 MiB took twice as long to copy


# Reading


def open_regular(path: str | os.PathLike[str]) -> int:
    """Return a descriptor of a regular file for reading.

    A pipe would wait for a writer, and a device may have no end. Raises OSError, and SourceError
    for what is neither a file nor a folder.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        kind = os.fstat(fd).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(kind):
            raise SourceError("cannot read: not a regular file", path=path, remedy=NAME_A_FILE)
    except BaseException:
        os.close(fd)
        raise
    return fd


class ByteSource:
    """A file or object read at offsets. Use it in one process; never share it over a fork.

    Pages are read, not mapped: a fault of the disk is an error here, not a signal that kills the
    process. Several threads may read a file, but not an object.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self._object = url_of(path), None
        with guard("open", path, SourceError):
            if is_remote(path):
                self._object = stores.ObjectReader(path)
                self.size = self._object.size
                return
            self._fd = open_regular(self.path)
            self.size = os.fstat(self._fd).st_size

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """Read `n_bytes` bytes from `offset`; fewer only at the end of the file.

        Raises SourceError.
        """
        try:
            if self._object is not None:
                return self._object.read_at(offset, n_bytes)
            data = os.pread(self._fd, n_bytes, offset)
            while len(data) < n_bytes and offset + len(data) < self.size:
                more = os.pread(self._fd, n_bytes - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise as_error(
                SourceError, f"read {n_bytes} bytes at offset {offset}", self.path, error
            ) from error
        return data

    def announce(self, offset: int, n_bytes: int) -> None:
        """Let the system fetch bytes that are read soon; the disk then serves many at a time."""
        if self._object is None and hasattr(os, "posix_fadvise"):
            with suppress(OSError):  # only a hint: the read itself reports errors
                os.posix_fadvise(self._fd, offset, n_bytes, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        if self._object is None:
            os.close(self._fd)

    def __enter__(self) -> ByteSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_regular(path: str | os.PathLike[str]) -> None:
    """Check that `path` is a file or an object that can be opened. Raises SourceError."""
    with guard("read", path, SourceError):
        if is_remote(path):
            stores.ObjectReader(path)
        else:
            os.close(open_regular(path))


def open_for_library(path: str | os.PathLike[str]) -> str | BinaryIO:
    """Return what a library opens by itself without waiting: the path, or an object as a file.

    Raises SourceError.
    """
    check_regular(path)
    return open_source(path) if is_remote(path) else os.fspath(path)


def read_bytes(path: str | os.PathLike[str], limit: int | None = None) -> bytes:
    """Read the whole file, or its first `limit` bytes. Raises SourceError."""
    if is_remote(path):
        with guard("read", path, SourceError):
            return stores.read(path, 0, limit)
    return read_dated(path, limit)[0]


def read_dated(path: str | os.PathLike[str], limit: int | None = None) -> tuple[bytes, int | None]:
    """Read a file as `read_bytes` does, with the time of its last change in nanoseconds.

    There is no time for an object. Raises SourceError.
    """
    if is_remote(path):
        with guard("read", path, SourceError):
            return stores.read(path, 0, limit), None
    try:
        fd = open_regular(path)
        try:
            state = os.fstat(fd)
            size = state.st_size if limit is None else limit
            data = os.read(fd, size)
            while len(data) < size and (more := os.read(fd, size - len(data))):
                data += more
        finally:
            os.close(fd)
    except OSError as error:
        raise as_error(SourceError, "read", path, error) from error
    return data, state.st_mtime_ns


def dated_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return (bytes, time of the last change in nanoseconds) of a file. Raises SourceError.

    An object has a number for its entity tag instead of a time.
    """
    with guard("look at", path, SourceError):
        state = input_faults.look_at(path)
    return state.n_bytes, state.changed


def size_of(path: str | os.PathLike[str]) -> int | None:
    """Return the number of bytes in the file, or None if it does not exist. Raises SourceError."""
    found = find(path)
    return found.n_bytes if found else None


def file_size(path: str | os.PathLike[str]) -> int:
    """Return the bytes in a regular file; `NOT_A_FILE` for a folder or pipe, -errno for nothing."""
    try:
        state = input_faults.look_at(path)
    except OSError as error:
        return -(error.errno or errno.ENOENT)
    return state.n_bytes if stat.S_ISREG(state.mode) else NOT_A_FILE


def estimate_size(paths: Iterable[str | os.PathLike[str]]) -> int:
    """Return how many bytes files have together, without those that cannot be looked at."""
    return sum(max(file_size(path), 0) for path in paths)


def open_source(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file or an object for reading. Opening and reading raise SourceError."""
    with guard("open", path, SourceError):
        if is_remote(path):
            return io.BufferedReader(stores.ObjectFile(path), _PIECE)
        return io.BufferedReader(NamedFile(path, opener=_opener))


def _opener(path: str, _: int) -> int:
    return open_regular(path)


def list_folder(path: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
    """Return (names of folders, names of files) in `path`, unsorted.

    Names that begin with a dot are left out. Links are followed. A dangling link counts as a file,
    so that reading it names it. Raises SourceError.
    """
    return list_entries(path)[:2]


def list_entries(path: str | os.PathLike[str]) -> tuple[list[str], list[str], list[str]]:
    """Return what `list_folder` does, and the names that it leaves out."""
    folders, files, hidden = list[str](), list[str](), list[str]()
    with guard("list", path, SourceError):
        if is_remote(path):
            for name, entry in stores.list_prefix(path).items():
                names = folders if entry.is_folder else files
                (hidden if name.startswith(".") else names).append(name)
            return folders, files, hidden
        with os.scandir(path) as entries:
            for each in entries:
                names = folders if _is_folder(each) else files
                (hidden if each.name.startswith(".") else names).append(each.name)
    return folders, files, hidden


def list_ahead(folders: Sequence[str | os.PathLike[str]]) -> None:
    """Say which folders will be listed soon; those of a store are listed at once, in threads."""
    remote = [folder for folder in folders if is_remote(folder)]
    if remote:
        stores.list_ahead(remote)


def file_sizes(folder: str, names: Sequence[str]) -> list[int]:
    """Return what `file_size` returns for each of several files of one folder.

    A store answers with one listing.
    """
    if is_remote(folder):
        list_ahead([folder])
    return [file_size(f"{folder}/{name}") for name in names]


def look_anew() -> None:
    """Forget what was listed in object stores; a run begins."""
    stores.forget_listings()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def fingerprint_of(*paths: str | os.PathLike[str]) -> str:
    """Return the present state of files or folders by size and time of change.

    Raises SourceError.
    """
    parts = []
    for path in paths:
        n_bytes, changed = dated_size(path)
        parts.append(f"{Path(path).name}:{n_bytes}:{changed}")
    return " ".join(parts)


# Writing


def refuse_store(
    path: str | os.PathLike[str],
    problem: str = "this output cannot be in an object store",
    remedy: str = "Name one, then upload it.",
) -> None:
    """Refuse a place in an object store that only a disk can be. Raises OutputError.

    A name with another scheme raises OptionError: no folder is made of its parts.
    """
    refuse_foreign_name(path)
    if is_remote(path):
        raise OutputError(problem, path=path, expected="a path on a disk", remedy=remedy)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make the folder and its parents where they do not exist. Raises OutputError."""
    refuse_store(path)
    with guard("make the folder", path):
        try:
            os.makedirs(path, exist_ok=True)
        except FileExistsError:  # also raised if a folder could not be looked at
            if not is_folder(path):
                raise


def remove_tree(path: Path) -> None:
    """Remove a folder that faceprep made, or the link or file in its place, if there is one."""
    with guard("remove", path):
        while path.is_dir() and not path.is_symlink():
            with suppress(FileNotFoundError):  # another process removes it too
                shutil.rmtree(path)
    remove_file(path)


def remove_file(path: Path) -> None:
    """Remove a file that faceprep made, if there is one."""
    with guard("remove", path), suppress(FileNotFoundError):
        path.lstat()  # a read-only disk refuses to remove even what is not there
        path.unlink()


def move(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Rename a file or folder, and make the target's folder if it is missing."""
    with guard("move into place", target):
        rename(source, target)


def rename(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Rename as `move` does, but raise OSError, for callers that handle it."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        make_folder(os.path.dirname(target))
        os.rename(source, target)


def keep_copy(path: Path, copy: Path) -> None:
    """Give `path` a second name, `copy`, unless that name is taken; copy where links fail."""
    with guard("keep a copy as", copy):
        if copy.exists():
            return
        try:
            os.link(path, copy)
        except OSError:
            temporary = copy.with_name(f".{copy.name}.tmp")
            try:
                shutil.copy2(path, temporary)
                os.rename(temporary, copy)
            finally:
                temporary.unlink(missing_ok=True)


class AtomicFile:
    """A file that appears under its name on a clean exit and leaves nothing behind otherwise.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> with AtomicFile(path) as file:
    ...     _ = file.write(b"whole")
    ...     path.exists()
    False
    >>> path.read_bytes()
    b'whole'
    """

    def __init__(self, path: str | os.PathLike[str], durable: bool = True) -> None:
        self._path, self._durable = Path(path), durable
        self._temporary = self._path.with_name(f".{self._path.name}.tmp")

    def __enter__(self) -> BinaryIO:
        make_folder(self._path.parent)
        self._file = StagedFile(str(self._temporary), str(self._path), self._durable)
        return cast(BinaryIO, self._file)

    def __exit__(
        self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.close()
                move(self._temporary, self._path)
        finally:
            if not self._file.closed:
                self._file.discard()
            if self._temporary.exists():
                remove_file(self._temporary)


def append_file(source: str | os.PathLike[str], target: BinaryIO) -> None:
    """Copy a whole file to the end of an open one; inside the kernel where that is possible."""
    with guard("copy", source), open_source(source) as file:
        target.flush()
        with suppress(OSError):  # the copy below continues, and raises a real error
            while os.copy_file_range(file.fileno(), target.fileno(), _IN_KERNEL):
                pass
        shutil.copyfileobj(file, target, _PIECE)


def write_file(
    path: str | os.PathLike[str], data: Buffer, durable: bool = True, keep_mode: bool = False
) -> None:
    """Write a whole small file, or nothing.

    `keep_mode` keeps the permissions of the existing file.
    """
    with guard("write", path), AtomicFile(path, durable) as file:
        if keep_mode:
            os.fchmod(file.fileno(), os.stat(path).st_mode & 0o7777)
        file.write(data)
