"""All files of one shard, or none: how a shard's output comes to stand under its names.

    STATE/staging/SHARD/d0, d1 …   folders of the output, in the order in which they are named
    STATE/staging/SHARD/names      what was put into folders that were there before
    STATE/staging/SHARD/commit     the shard's ledger page, once everything is whole

A folder that the output does not have yet is filled here and moved as a whole: one rename for all
its files. Into a folder that is there, small files are written without a name (Linux's O_TMPFILE)
and named when they are whole, after a log of the names, so that `recover_shard` can take them back.
Large files, and small ones where the file system knows no nameless files, are moved from here one
by one. In between lies the page: a commit that was cut short is undone before the page is written
and finished after it.

A file system lays a file near the folder that it is created in, which is why there is no single
folder for all.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from faceprep.core.errors import OutputError
from faceprep.core.storage import (
    StagedFile,
    as_error,
    dated_size,
    guard,
    make_folder,
    move,
    read_bytes,
    read_dated,
    remove_file,
    remove_outputs,
    remove_tree,
    rename,
    size_of,
    write_all,
    write_file,
)
from faceprep.core.types import COPY, SYMLINK, Buffer

_PAGE = "commit"
_LOG = "names"
_N_PENDING = 64
_PENDING_BYTES = 4 << 20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_NAMELESS = getattr(os, "O_TMPFILE", 0)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
_IN_THE_WAY = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY)


class Link(NamedTuple):
    """A further name for the file at the absolute `path`."""

    path: str
    symbolic: bool

    def make(self, name: str, folder: int) -> None:
        """At `name`, relative to the open `folder`. Raises OSError."""
        if self.symbolic:
            os.symlink(self.path, name, dir_fd=folder)
        else:
            os.link(self.path, name, dst_dir_fd=folder, follow_symlinks=True)


class Staging:
    """The files of one shard below `root`; `state`, on the same file system, is the shard's own
    folder.

    `names` are the files in the order of writing, relative to `root`, and `sizes` their bytes:
    lists of plain values, which go to the ledger twice as fast as a list of pairs.
    """

    def __init__(self, root: Path, state: Path) -> None:
        self._root, self._state = os.fspath(root), os.fspath(state)
        recover_shard(root, state, None)
        make_folder(state)
        self.names: list[str] = []
        self.sizes: list[int] = []
        self._numbers: dict[str, int] = {}
        self._folder: str | None = None
        self._folder_fd = -1
        self._files: dict[int, StagedFile] = {}
        self._nameless = _NamelessFiles(self._root, self._state)

    def write(self, name: str, data: Buffer, time: int | None = None) -> None:
        """Stage a small file; `data` must stay as it is until the commit. `time` of its last
        change in nanoseconds.
        """
        self.write_many([name], [data], time)

    def write_many(
        self, names: Sequence[str], contents: Sequence[Buffer], time: int | None = None
    ) -> None:
        """As many `write`s, with less work for each; `time` is that of all."""
        check_names(names)
        for name, data in zip(names, contents, strict=True):
            folder, _, base = name.rpartition("/")
            try:
                if folder != self._folder:
                    self._enter(folder)
                if self._folder_fd < 0:
                    self._nameless.write(name, data, time)
                    continue
                fd = os.open(base, _CREATE, 0o666, dir_fd=self._folder_fd)
                try:
                    write_all(fd, data)
                    if time is not None:
                        os.utime(fd, ns=(time, time))
                finally:
                    os.close(fd)
            except OSError as error:
                raise as_error(OutputError, "write", f"{self._root}/{name}", error) from error
        self.names += names
        self.sizes += map(len, contents)

    def place(self, name: str, path: str, mode: str) -> None:
        """Stage the file at the absolute `path`: a copy with its time, or a link. Raises
        SourceError, OutputError.
        """
        if mode == COPY:
            data, time = read_dated(path)
            self.write(name, data, time)
            return
        size, _ = dated_size(path)
        check_name(name)
        folder, _, base = name.rpartition("/")
        link = Link(path, mode == SYMLINK)
        with guard("link to", f"{self._root}/{name}"):
            if folder != self._folder:
                self._enter(folder)
            if self._folder_fd >= 0:
                link.make(base, self._folder_fd)
            else:
                self._nameless.link(name, link)
        self.names.append(name)
        self.sizes.append(size)

    def _enter(self, folder: str) -> None:
        """Where the next files go: into a folder here, or without a name into the one that is
        there.
        """
        self._leave()
        number = self._numbers.setdefault(folder, len(self._numbers))
        here = f"{self._state}/d{number}"
        if (
            not os.path.isdir(here)
            and os.path.lexists(f"{self._root}/{folder}")
            and self._nameless.are_known(folder)
        ):
            self._folder = folder
            return
        self._make(here, folder)
        self._folder_fd = os.open(here, os.O_RDONLY)
        self._folder = folder

    def _make(self, here: str, folder: str) -> None:
        """A folder here and, before anything depends on it, those above its final place."""
        if not os.path.isdir(here):
            make_folder(os.path.dirname(f"{self._root}/{folder}"))
            os.mkdir(here)

    def _leave(self) -> None:
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
        self._folder, self._folder_fd = None, -1

    def open(self, name: str, durable: bool = True) -> BinaryIO:
        """Stage a large file; it may stay open until the commit."""
        check_name(name)
        folder, _, base = name.rpartition("/")
        here = f"{self._state}/d{self._numbers.setdefault(folder, len(self._numbers))}"
        with guard("write", f"{self._root}/{name}"):
            self._make(here, folder)
        if folder == self._folder:
            self._leave()
        file = StagedFile(f"{here}/{base}", f"{self._root}/{name}", durable)
        self._files[len(self.names)] = file
        self.names.append(name)
        self.sizes.append(0)
        return cast(BinaryIO, file)

    def commit(self, lines: Sequence[Any], target: Path) -> None:
        """Name all files and put the ledger page at `target`: [names, sizes], then one JSON
        value a line.
        """
        for number, file in self._files.items():
            file.close()
            with guard("look at", self.names[number]):
                self.sizes[number] = os.stat(file.path).st_size
        check_distinct(self.names)
        self._nameless.flush()
        text = "".join(json.dumps(line) + "\n" for line in ([self.names, self.sizes], *lines))
        write_file(f"{self._state}/{_PAGE}", text.encode(), durable=False)
        self._close()
        _finish(self._root, self._state, self._numbers, target)

    def discard(self) -> None:
        """Leave no trace; a commit that has its page is left for `recover_shard` to finish."""
        for file in self._files.values():
            if not file.closed:
                file.discard()
        self._close()
        if not os.path.exists(f"{self._state}/{_PAGE}"):
            recover_shard(Path(self._root), Path(self._state), None)

    def _close(self) -> None:
        self._leave()
        self._nameless.close()


class _NamelessFiles:
    """Small files for folders below `root` that are there: written, their names logged in
    `state`, then named.
    """

    def __init__(self, root: str, state: str) -> None:
        self._root, self._state = root, state
        with guard("open", root):
            self._root_fd = os.open(root, os.O_RDONLY)
        self._log_fd = -1
        self._pending: list[tuple[str, Buffer | Link, int | None]] = []
        self._n_bytes = 0
        self._known = None if _NAMELESS and os.path.isdir("/proc/self/fd") else False

    def are_known(self, folder: str) -> bool:
        """Whether the file system has them; asked once. Raises OSError when `folder` is none,
        or may not be used.
        """
        if self._known is None:
            try:
                os.close(os.open(folder or ".", os.O_WRONLY | _NAMELESS, dir_fd=self._root_fd))
                self._known = True
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._known = False
        return self._known

    def link(self, name: str, link: Link) -> None:
        self._add(name, link, 0)

    def write(self, name: str, data: Buffer, time: int | None) -> None:
        self._add(name, data, len(data), time)

    def _add(
        self, name: str, content: Buffer | Link, n_bytes: int, time: int | None = None
    ) -> None:
        self._pending.append((name, content, time))
        self._n_bytes += n_bytes
        if len(self._pending) == _N_PENDING or self._n_bytes >= _PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the files, log their names, then give them. Raises OutputError."""
        pending, self._pending, self._n_bytes = self._pending, [], 0
        if not pending:
            return
        names = [name for name, *_ in pending]
        check_names(names)
        links: list[Link | int] = []
        with guard("write", self._root):
            try:
                for name, content, time in pending:
                    if isinstance(content, Link):
                        links.append(content)
                        continue
                    fd = self._create(name.rpartition("/")[0] or ".")
                    links.append(fd)
                    write_all(fd, content)
                    if time is not None:
                        os.utime(fd, ns=(time, time))
                self._log(names)
                for name, link in zip(names, links, strict=True):
                    self._give(link, name)
            finally:
                for link in links:
                    if isinstance(link, int):
                        os.close(link)

    def _create(self, folder: str) -> int:
        try:
            return os.open(folder, os.O_WRONLY | _NAMELESS, 0o666, dir_fd=self._root_fd)
        except FileNotFoundError:  # another shard took its files back and removed the folder
            make_folder(f"{self._root}/{folder}")
            return os.open(folder, os.O_WRONLY | _NAMELESS, 0o666, dir_fd=self._root_fd)

    def _give(self, link: Link | int, name: str) -> None:
        """`link`: to another file, or the descriptor of a nameless one."""
        if isinstance(link, int):
            link = Link(f"/proc/self/fd/{link}", symbolic=False)
        try:
            link.make(name, self._root_fd)
        except FileExistsError:  # of a shard that is done again
            os.unlink(name, dir_fd=self._root_fd)
            link.make(name, self._root_fd)
        except FileNotFoundError:
            make_folder(os.path.dirname(f"{self._root}/{name}"))
            link.make(name, self._root_fd)

    def _log(self, names: Sequence[str]) -> None:
        if self._log_fd < 0:
            self._log_fd = os.open(f"{self._state}/{_LOG}", _CREATE | os.O_APPEND, 0o666)
        write_all(self._log_fd, json.dumps(names).encode() + b"\n")

    def close(self) -> None:
        for fd in (self._root_fd, self._log_fd):
            if fd >= 0:
                os.close(fd)
        self._root_fd = self._log_fd = -1


def recover_shard(root: Path, state: Path, target: Path | None) -> None:
    """Bring what a shard left in `state` to an end, wherever it stopped.

    With its page, the commit is finished and the page put at `target`; without, its files are taken
    back.
    """
    outputs = _json_lines(state / _PAGE, most=1) if target else []
    if outputs and target:
        names: list[str] = outputs[0][0]
        check_names(names)
        folders = dict.fromkeys(name.rpartition("/")[0] for name in names)
        _finish(
            os.fspath(root),
            os.fspath(state),
            {folder: i for i, folder in enumerate(folders)},
            target,
        )
    else:
        names = [name for line in _json_lines(state / _LOG) for name in line]
        check_names(names)
        remove_outputs(root, names)
        remove_tree(state)


def _finish(root: str, state: str, numbers: Mapping[str, int], target: Path) -> None:
    """A commit from its page on: the numbered folders to their places, the page to `target`,
    nothing left here.
    """
    with guard("list", state):
        waiting = set(os.listdir(state))
    for folder, number in numbers.items():
        if f"d{number}" in waiting:
            _put(f"{state}/d{number}", f"{root}/{folder}")
    remove_file(Path(state, _LOG))  # before the page goes: from here on nothing must be taken back
    move(f"{state}/{_PAGE}", target)
    remove_tree(Path(state))


def _put(source: str, target: str) -> None:
    """Move a folder to its place; where there is one, its files one by one."""
    try:
        rename(source, target)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise as_error(OutputError, "move into place", target, error) from error
        for name in os.listdir(source):
            move(f"{source}/{name}", f"{target}/{name}")


def _json_lines(path: Path, most: int | None = None) -> list[Any]:
    """The lines up to the first that is not whole: nothing had been done yet with that one.
    None: no such file.
    """
    lines: list[Any] = []
    if size_of(path) is not None:
        with suppress(ValueError):
            for line in read_bytes(path).split(b"\n")[:-1][:most]:
                lines.append(json.loads(line))
    return lines


def check_name(name: str) -> None:
    """Refuse a name that would leave the output folder.

    >>> check_name("../b.jpg")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.OutputError: '../b.jpg' would leave the output folder; ...
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

    >>> check_distinct(["a/1.jpg", "a/1.jpg"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.OutputError: two outputs want the name 'a/1.jpg'; ...
    """
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise OutputError(f"two outputs want the name {twice!r}; nothing of the shard was written")
