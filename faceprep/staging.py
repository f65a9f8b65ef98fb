"""All files of one shard, or none: how a shard's output comes to stand under its names.

Small files are written without a name (Linux's O_TMPFILE) and get it when they are whole; a log of the names is
written before, so that `recover` can take them back. Large files, and small ones where the file system knows no
nameless files, wait under numbers in the shard's own folder and are moved when all are whole. In between lies the
shard's ledger page: a commit that was cut short is undone before the page is written and finished after it.

Nameless files matter for speed: a file system lays a file near the folder that it is created in, and a single
staging folder would have to take them all.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from faceprep.errors import OutputError
from faceprep.storage import (
    StagedFile,
    as_error,
    guard,
    make_folder,
    move,
    read_bytes,
    remove_file,
    remove_outputs,
    remove_tree,
    size_of,
    write_all,
    write_file,
)
from faceprep.types import Buffer

_PAGE = "commit"
_LOG = "names"
_N_PENDING = 64
_PENDING_BYTES = 4 << 20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_NAMELESS = getattr(os, "O_TMPFILE", 0)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


class Staging:
    """The files of one shard below `root`; `folder`, on the same file system, is the shard's own.

    `names` are the files in the order of writing, relative to `root`, and `sizes` their bytes: lists of plain values,
    which go to the ledger twice as fast as a list of pairs.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = os.fspath(root), os.fspath(folder)
        recover_shard(root, folder, None)
        make_folder(folder)
        with guard("open", root):
            self._root_fd = os.open(root, os.O_RDONLY)
        self._log_fd = -1
        self.names: list[str] = []
        self.sizes: list[int] = []
        self._open: dict[int, StagedFile] = {}
        self._pending: list[Buffer] = []
        self._n_pending_bytes = 0
        self._nameless = bool(_NAMELESS) and os.path.isdir("/proc/self/fd")

    def write(self, name: str, data: Buffer) -> None:
        """Stage a small file; `data` must stay as it is until the commit."""
        size = len(data)
        self._pending.append(data)
        self.names.append(name)
        self.sizes.append(size)
        self._n_pending_bytes += size
        if len(self._pending) == _N_PENDING or self._n_pending_bytes >= _PENDING_BYTES:
            self._write_pending()

    def _write_pending(self) -> None:
        pending, self._pending, self._n_pending_bytes = self._pending, [], 0
        if not pending:
            return
        first = len(self.names) - len(pending)
        names = self.names[first:]
        check_names(names)
        if self._nameless:
            self._nameless = self._knows_nameless_files(names[0])
        with guard("write", self._root):
            if self._nameless:
                self._write_nameless(names, pending)
            else:
                for number, data in enumerate(pending, first):
                    _write_file(os.open(f"{self._folder}/{number}", _CREATE, 0o666), data)

    def _knows_nameless_files(self, name: str) -> bool:
        """Whether the file system can do it; asked with the first file only."""
        if self._log_fd >= 0:
            return True
        parent = os.path.dirname(f"{self._root}/{name}")
        make_folder(parent)
        try:
            os.close(os.open(parent, os.O_WRONLY | _NAMELESS))
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
            raise as_error(OutputError, "write", parent, error) from error
        return True

    def _write_nameless(self, names: Sequence[str], pending: Sequence[Buffer]) -> None:
        """Write the files, log their names, then give them."""
        fds: list[int] = []
        try:
            for name, data in zip(names, pending, strict=True):
                parent = name.rpartition("/")[0] or "."
                try:
                    fd = os.open(parent, os.O_WRONLY | _NAMELESS, 0o666, dir_fd=self._root_fd)
                except FileNotFoundError:
                    make_folder(f"{self._root}/{parent}")
                    fd = os.open(parent, os.O_WRONLY | _NAMELESS, 0o666, dir_fd=self._root_fd)
                fds.append(fd)
                write_all(fd, data)
            self._log(names)
            for name, fd in zip(names, fds, strict=True):
                try:
                    self._name(fd, name)
                except FileExistsError:  # of a shard that is done again
                    os.unlink(name, dir_fd=self._root_fd)
                    self._name(fd, name)
                except FileNotFoundError:  # another shard took its files back and left the folder empty
                    make_folder(os.path.dirname(f"{self._root}/{name}"))
                    self._name(fd, name)
        finally:
            for fd in fds:
                os.close(fd)

    def _name(self, fd: int, name: str) -> None:
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=self._root_fd, follow_symlinks=True)

    def _log(self, names: Sequence[str]) -> None:
        if self._log_fd < 0:
            self._log_fd = os.open(f"{self._folder}/{_LOG}", _CREATE | os.O_APPEND, 0o666)
        write_all(self._log_fd, json.dumps(names).encode() + b"\n")

    def open(self, name: str, durable: bool = True) -> BinaryIO:
        """Stage a large file; it may stay open until the commit."""
        check_name(name)
        self._write_pending()
        number = len(self.names)
        self.names.append(name)
        self.sizes.append(0)
        self._open[number] = StagedFile(f"{self._folder}/{number}", f"{self._root}/{name}", durable)
        return cast(BinaryIO, self._open[number])

    def commit(self, lines: Sequence[Any], target: Path) -> None:
        """Name all files and put the ledger page at `target`: [names, sizes], then one JSON value a line."""
        for number, file in self._open.items():
            file.close()
            with guard("look at", self.names[number]):
                self.sizes[number] = os.stat(f"{self._folder}/{number}").st_size
        check_distinct(self.names)
        self._write_pending()
        text = "".join(json.dumps(line) + "\n" for line in ([self.names, self.sizes], *lines))
        write_file(f"{self._folder}/{_PAGE}", text.encode(), durable=False)
        self._close()
        recover_shard(Path(self._root), Path(self._folder), target)

    def discard(self) -> None:
        """Leave no trace; a commit that has its page is left for `recover_shard` to finish."""
        for file in self._open.values():
            if not file.closed:
                file.discard()
        self._close()
        if not os.path.exists(f"{self._folder}/{_PAGE}"):
            recover_shard(Path(self._root), Path(self._folder), None)

    def _close(self) -> None:
        for fd in (self._root_fd, self._log_fd):
            if fd >= 0:
                os.close(fd)
        self._root_fd = self._log_fd = -1


def _write_file(fd: int, data: Buffer) -> None:
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def recover_shard(root: Path, folder: Path, target: Path | None) -> None:
    """Bring what a shard left in `folder` to an end, wherever it stopped.

    With its page, the commit is finished and the page put at `target`; without, its files are taken back.
    """
    page, log = folder / _PAGE, folder / _LOG
    outputs = _json_lines(page, most=1) if target else []
    if outputs and target:
        waiting = set(os.listdir(folder))
        for number, name in enumerate(outputs[0][0]):
            if str(number) in waiting:
                check_name(name)
                move(f"{folder}/{number}", f"{root}/{name}")
        remove_file(log)  # before the page goes: from here on nothing must be taken back
        move(page, target)
    else:
        names = [name for line in _json_lines(log) for name in line]
        for name in names:
            check_name(name)
        remove_outputs(root, names)
    remove_tree(folder)


def _json_lines(path: Path, most: int | None = None) -> list[Any]:
    """The lines up to the first that is not whole: nothing had been done yet with that one. None: no such file."""
    lines: list[Any] = []
    if size_of(path) is not None:
        with suppress(ValueError):
            for line in read_bytes(path).split(b"\n")[:-1][:most]:
                lines.append(json.loads(line))
    return lines


def check_name(name: str) -> None:
    """Refuse a name that would leave the output folder.

    >>> check_name("../b.jpg")
    Traceback (most recent call last):
    faceprep.errors.OutputError: '../b.jpg' would leave the output folder; nothing was written there
    """
    if name.startswith("/") or "\0" in name or ".." in name and ".." in name.split("/"):
        raise OutputError(f"{name!r} would leave the output folder; nothing was written there")


def check_names(names: Sequence[str]) -> None:
    """`check_name` for many; what is not suspicious as a whole needs no look at each."""
    text = "\n".join(names)
    if ".." in text or "\0" in text or text.startswith("/") or "\n/" in text:
        for name in names:
            check_name(name)


def check_distinct(names: Sequence[str]) -> None:
    """Refuse names that would overwrite each other.

    >>> check_distinct(["a/1.jpg", "a/1.jpg"])
    Traceback (most recent call last):
    faceprep.errors.OutputError: two outputs want the name 'a/1.jpg'; nothing of the shard was written
    """
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise OutputError(f"two outputs want the name {twice!r}; nothing of the shard was written")
