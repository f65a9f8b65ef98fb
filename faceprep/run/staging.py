"""All files of one shard, or none: how a shard's output comes to stand under its names.

    STATE/staging/SHARD/d0, d1 …   folders of the output, numbered in the order of their first use
    STATE/staging/SHARD/names      what was put into folders that were there before
    STATE/staging/SHARD/commit     the shard's ledger page, once everything is whole
    TOP/.faceprep/beside/SHARD/d2  the same for a folder beside the output

A folder that the output does not have yet is filled here and moved as a whole: one rename for all
its files. In an existing folder, small files are written without a name (Linux's O_TMPFILE)
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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from faceprep.core.errors import OutputError
from faceprep.core.os_errors import as_error, guard
from faceprep.core.output_tree import (
    check_distinct,
    check_name,
    check_names,
    open_folder,
    remove_outputs,
)
from faceprep.core.storage import (
    StagedFile,
    dated_size,
    make_folder,
    move,
    read_bytes,
    read_dated,
    remove_file,
    remove_tree,
    size_of,
    write_all,
    write_file,
)
from faceprep.core.types import COPY, SYMLINK, Buffer
from faceprep.run.nameless_files import CREATE, LOG, Link, NamelessFiles

BESIDE = ".faceprep/beside"
_PAGE = "commit"
_IN_THE_WAY = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY)


class Staging:
    """The staged files of one shard below `root`.

    `state`, on the same file system, is the folder of the shard. `names` are the files in the order
    of writing, relative to `root`, and `sizes` their bytes. They are lists of plain values, which
    go to the ledger twice as fast as a list of pairs.
    """

    def __init__(self, root: Path, state: Path, tops: Sequence[str] = ()) -> None:
        self._root, self._state, self._tops = os.fspath(root), os.fspath(state), tops
        self._places = _staging_places(self._root, self._state, tops)
        recover_shard(root, state, None, tops)
        make_folder(state)
        self.names: list[str] = []
        self.sizes: list[int] = []
        self._numbers: dict[str, int] = {}
        self._folder: str | None = None
        self._folder_fd = -1
        self._files: dict[int, StagedFile] = {}
        self._nameless = NamelessFiles(self._root, self._state, tops)

    def write(self, name: str, data: Buffer, time: int | None = None) -> None:
        """Stage a small file. `data` must not change until the commit.

        `time` is the time of its last change in nanoseconds.
        """
        self.write_many([name], [data], time)

    def write_many(
        self, names: Sequence[str], contents: Sequence[Buffer], time: int | None = None
    ) -> None:
        """Stage several small files at less cost per file; `time` is that of all."""
        check_names(names)
        for name, data in zip(names, contents, strict=True):
            folder, _, base = name.rpartition("/")
            try:
                if folder != self._folder:
                    self._enter(folder)
                if self._folder_fd < 0:
                    self._nameless.write(name, data, time)
                    continue
                fd = os.open(base, CREATE, 0o666, dir_fd=self._folder_fd)
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
        """Stage the file at the absolute `path` as a copy with its time, or as a link.

        Raises SourceError, OutputError.
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
        """Choose where the next files go: a folder here, or nameless into an existing folder."""
        self._leave()
        number = self._numbers.setdefault(folder, len(self._numbers))
        here = f"{self._place(folder)}/d{number}"
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
        """Make a folder here, and first the parents of its final place."""
        if os.path.isdir(here):
            return
        make_folder(os.path.dirname(here))
        exists = os.path.lexists(f"{self._root}/{folder}")
        parent = folder if exists else folder.rpartition("/")[0]
        with open_folder(self._root, parent, self._tops, make=True):
            os.mkdir(here)

    def _place(self, folder: str) -> str:
        return self._places.get(folder.partition("/")[0], self._state)

    def _leave(self) -> None:
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
        self._folder, self._folder_fd = None, -1

    def open(self, name: str, durable: bool = True) -> BinaryIO:
        """Stage a large file; it may stay open until the commit."""
        check_name(name)
        folder, _, base = name.rpartition("/")
        number = self._numbers.setdefault(folder, len(self._numbers))
        here = f"{self._place(folder)}/d{number}"
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
        """Name all files and put the ledger page at `target`.

        The page begins with [names, sizes]; one JSON value on a line follows for each of `lines`.
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
        _finish(self._root, self._state, self._tops, self._numbers, target)

    def discard(self) -> None:
        """Leave no trace; a commit that has its page is left for `recover_shard` to finish."""
        for file in self._files.values():
            if not file.closed:
                file.discard()
        self._close()
        if not os.path.exists(f"{self._state}/{_PAGE}"):
            recover_shard(Path(self._root), Path(self._state), None, self._tops)

    def _close(self) -> None:
        self._leave()
        self._nameless.close()


def _staging_places(root: str, state: str, tops: Sequence[str]) -> dict[str, str]:
    """Return the staging folders of the `tops` after the first.

    Each may be on a disk of its own.
    """
    shard = os.path.basename(state)
    return {top: f"{root}/{top}/{BESIDE}/{shard}" for top in tops[1:]}


def recover_shard(root: Path, state: Path, target: Path | None, tops: Sequence[str] = ()) -> None:
    """Finish or undo what a shard left in `state`, wherever it stopped.

    With its page, the commit is finished and the page put at `target`. Without, its files are
    removed.
    """
    try:
        outputs = _json_lines(state / _PAGE, most=1) if target else []
        has_page = bool(outputs)
        names = outputs[0][0] if has_page else sum(_json_lines(state / LOG), [])
        check_names(names)
    except (TypeError, LookupError) as error:
        raise OutputError(
            "the state of a shard is damaged", path=state, remedy="Start again with --overwrite."
        ) from error
    if has_page and target:
        folders = dict.fromkeys(name.rpartition("/")[0] for name in names)
        numbers = {folder: i for i, folder in enumerate(folders)}
        _finish(os.fspath(root), os.fspath(state), tops, numbers, target)
    else:
        remove_outputs(root, names, tops)
        _remove_staging(os.fspath(root), os.fspath(state), tops)


def abandon_shard(root: Path, state: Path, tops: Sequence[str] = ()) -> None:
    """Remove what a shard left in `state`, even where its state is damaged."""
    names: list[Any] = []
    for line in _json_lines(state / _PAGE, most=1):
        if isinstance(line, list) and line and isinstance(line[0], list):
            names += line[0]
    for line in _json_lines(state / LOG):
        if isinstance(line, list):
            names += line
    remove_outputs(root, names, tops)
    _remove_staging(os.fspath(root), os.fspath(state), tops)


def _finish(
    root: str, state: str, tops: Sequence[str], numbers: Mapping[str, int], target: Path
) -> None:
    """Finish a commit that has its page.

    Move the numbered folders into place and the page to `target`.
    """
    places = _staging_places(root, state, tops)
    for folder, number in numbers.items():
        here = f"{places.get(folder.partition('/')[0], state)}/d{number}"
        if os.path.isdir(here):
            with guard("move into place", f"{root}/{folder}"):
                _put(here, root, folder, tops)
    remove_file(Path(state, LOG))  # before the page goes: from here on nothing must be taken back
    move(f"{state}/{_PAGE}", target)
    _remove_staging(root, state, tops)


def _put(source: str, root: str, folder: str, tops: Sequence[str]) -> None:
    """Move a folder into place; where one exists, move the files one by one.

    The root and the tops are never replaced: each may be a mount. Raises OSError, LinkError.
    """
    parent, _, base = folder.rpartition("/")
    if base and folder not in tops:
        with open_folder(root, parent, tops, make=True) as fd:
            try:
                os.rename(source, base, dst_dir_fd=fd)
                return
            except OSError as error:
                if error.errno not in _IN_THE_WAY:
                    raise
    with open_folder(root, folder, tops, make=True) as fd:
        for name in os.listdir(source):
            os.rename(f"{source}/{name}", name, dst_dir_fd=fd)


def _remove_staging(root: str, state: str, tops: Sequence[str]) -> None:
    for place in (*_staging_places(root, state, tops).values(), state):
        remove_tree(Path(place))


def _json_lines(path: Path, most: int | None = None) -> list[Any]:
    """Return the values of the complete lines, or an empty list if the file does not exist.

    A line is written before the work that it describes, so an incomplete one describes none.
    """
    lines: list[Any] = []
    if size_of(path) is not None:
        with suppress(ValueError):
            for line in read_bytes(path).split(b"\n")[:-1][:most]:
                lines.append(json.loads(line))
    return lines
