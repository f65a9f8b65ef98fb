"""All files of one shard, or none: how a shard's output gets its names.

    STATE/staging/ATTEMPT/d0, d1 …   folders of the output, numbered in the order of their first use
    STATE/staging/ATTEMPT/commit     the shard's ledger page, once everything is whole
    TOP/.faceprep/beside/ATTEMPT/d2  the same for a folder beside the output

An attempt is one try at a shard, with a name of its own: a shard may be tried twice at once, if
a worker only seemed dead. The ledger page decides. It is linked to its place when all files of
the attempt are whole, and the first attempt that does so has won. Then its folders are moved into
place: a new one as a whole, with one rename, and file by file where the output has the folder.
Whoever finds a page whose attempt is still there can finish the moves, as each is made once. The
other attempts are removed.

A file system lays a file near the folder that it is created in, which is why there is no single
folder for all.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from faceprep.core.errors import MadeMeanwhile, OutputError, SourceError
from faceprep.core.os_errors import as_error, guard
from faceprep.core.output_tree import check_distinct, check_names, open_folder
from faceprep.core.paths import exists, is_folder
from faceprep.core.staged_file import StagedFile, write_all
from faceprep.core.state_file import hold_folder
from faceprep.core.storage import (
    dated_size,
    make_folder,
    move,
    read_bytes,
    read_dated,
    remove_file,
    remove_tree,
    size_of,
    write_file,
)
from faceprep.core.types import COPY, SYMLINK, Buffer

BESIDE = ".faceprep/beside"
CheckNames = Callable[[Sequence[str]], None]
_PAGE = "commit"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_KEPT_APART = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY, errno.EXDEV)
"""Errors of renaming a folder whose files can be renamed: another one is in its place, or it is in
a lower layer of an overlay (EXDEV).
"""


def new_attempt(shard_id: str) -> str:
    """Return a name for one more attempt at a shard, which no other attempt has.

    >>> shard_of(new_attempt("frames-0004"))
    'frames-0004'
    """
    return f"{shard_id}~{secrets.token_hex(4)}"


def shard_of(attempt: str) -> str:
    """Return the id of the shard that an attempt is made at."""
    return attempt.rpartition("~")[0] or attempt


class Staging:
    """The staged files of one attempt at a shard below `root`.

    `state`, on the same file system, is the folder of the attempt. `names` are the files in the
    order of writing, relative to `root`, and `sizes` their bytes. They are lists of plain values,
    which go to the ledger twice as fast as a list of pairs. `check` refuses names.
    """

    def __init__(
        self, root: Path, state: Path, tops: Sequence[str] = (), check: CheckNames = check_names
    ) -> None:
        self._root, self._state, self._tops = os.fspath(root), os.fspath(state), tops
        self._check_names = check
        self._places = _staging_places(self._root, self._state, tops)
        make_folder(state)
        self.names: list[str] = []
        self.sizes: list[int] = []
        self._numbers: dict[str, int] = {}
        self._folder: str | None = None
        self._folder_fd = -1
        self._files: dict[int, StagedFile] = {}
        self._claims: list[str] = []
        self._taken: list[str] = []

    def write(self, name: str, data: Buffer, time: int | None = None) -> None:
        """Stage a small file. `data` must not change until the commit.

        `time` is the time of its last change in nanoseconds.
        """
        self.write_many([name], [data], time)

    def write_many(
        self, names: Sequence[str], contents: Sequence[Buffer], time: int | None = None
    ) -> None:
        """Stage several small files at less cost per file; `time` is that of all."""
        self._check_names(names)
        for name, data in zip(names, contents, strict=True):
            folder, _, base = name.rpartition("/")
            try:
                if folder != self._folder:
                    self._enter(folder)
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
        """Stage the file at the absolute `path` as a copy with its time, or as a link.

        Raises SourceError, OutputError.
        """
        if mode == COPY:
            data, time = read_dated(path)
            self.write(name, data, time)
            return
        size, _ = dated_size(path)
        self._check_names([name])
        folder, _, base = name.rpartition("/")
        with guard("link to", f"{self._root}/{name}"):
            if folder != self._folder:
                self._enter(folder)
            if mode == SYMLINK:
                os.symlink(path, base, dir_fd=self._folder_fd)
            else:
                os.link(path, base, dst_dir_fd=self._folder_fd, follow_symlinks=True)
        self.names.append(name)
        self.sizes.append(size)

    def _enter(self, folder: str) -> None:
        """Choose where the next files go: a folder here, which the commit moves into place."""
        self._leave()
        here = self._make(folder)
        self._folder_fd = os.open(here, os.O_RDONLY)
        self._folder = folder

    def _make(self, folder: str) -> str:
        """Make a folder here unless it exists, and return it; refuse a place behind a link."""
        number = self._numbers.setdefault(folder, len(self._numbers))
        here = f"{self._place(folder)}/d{number}"
        if is_folder(here):
            return here
        make_folder(os.path.dirname(here))
        with suppress(FileNotFoundError), open_folder(self._root, folder, self._tops):
            pass
        os.mkdir(here)
        return here

    def _place(self, folder: str) -> str:
        return self._places.get(folder.partition("/")[0], self._state)

    def _leave(self) -> None:
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
        self._folder, self._folder_fd = None, -1

    def open(self, name: str, durable: bool = True) -> BinaryIO:
        """Stage a large file; it may stay open until the commit."""
        self._check_names([name])
        folder, _, base = name.rpartition("/")
        with guard("write", f"{self._root}/{name}"):
            here = self._make(folder)
        if folder == self._folder:
            self._leave()
        file = StagedFile(f"{here}/{base}", f"{self._root}/{name}", durable)
        self._files[len(self.names)] = file
        self.names.append(name)
        self.sizes.append(0)
        return cast(BinaryIO, file)

    def claim_last(self) -> None:
        """Let the commit refuse to replace a file that has the name of the last staged one."""
        self._claims.append(self.names[-1])

    def commit(self, lines: Sequence[Any], target: Path) -> bool:
        """Put the ledger page at `target` and name all files, unless an attempt has done it before.

        The page begins with [names, sizes]; one JSON value on a line follows for each of `lines`.
        Returns False, and leaves no trace of this attempt, where another one was first. Raises
        MadeMeanwhile for a claimed name that has a file.
        """
        for number, file in self._files.items():
            file.close()
            with guard("look at", self.names[number]):
                self.sizes[number] = os.stat(file.path).st_size
        check_distinct(self.names)
        with ExitStack() as held:
            if not all(map(self._take, self._claims)):
                held.enter_context(hold_folder(Path(self._root)))
                self._refuse_made()
            text = "".join(json.dumps(line) + "\n" for line in ([self.names, self.sizes], *lines))
            write_file(f"{self._state}/{_PAGE}", text.encode(), durable=False)
            self._leave()
            return _finish(self._root, self._state, self._tops, self._numbers, target)

    def _take(self, name: str) -> bool:
        """Link a staged file to its name, so that no other run can take it.

        Return False where the file system has no hard links.
        """
        folder, _, base = name.rpartition("/")
        here = f"{self._place(folder)}/d{self._numbers[folder]}/{base}"
        with (
            guard("move into place", f"{self._root}/{name}"),
            open_folder(self._root, folder, self._tops, make=True) as fd,
        ):
            try:
                os.link(here, base, dst_dir_fd=fd)
                self._taken.append(name)
            except FileExistsError:
                raise self._made_meanwhile(name) from None
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
        return name in self._taken

    def _refuse_made(self) -> None:
        """Raise MadeMeanwhile for a claimed name that could not be linked and has a file.

        The folder must be held until the commit is complete, so that no other run makes one.
        """
        for name in self._claims:
            if name not in self._taken and exists(f"{self._root}/{name}"):
                raise self._made_meanwhile(name)

    def _made_meanwhile(self, name: str) -> MadeMeanwhile:
        return MadeMeanwhile("another run has made it", path=f"{self._root}/{name}")

    def discard(self) -> None:
        """Leave no trace; a commit that has its page is left for `finish_attempt`."""
        for file in self._files.values():
            if not file.closed:
                file.discard()
        self._leave()
        if not exists(f"{self._state}/{_PAGE}"):
            for name in self._taken:
                remove_file(Path(f"{self._root}/{name}"))
            remove_attempt(Path(self._root), Path(self._state), self._tops)


def _staging_places(root: str, state: str, tops: Sequence[str]) -> dict[str, str]:
    """Return the staging folders of the `tops` after the first.

    Each may be on a disk of its own.
    """
    attempt = os.path.basename(state)
    return {top: f"{root}/{top}/{BESIDE}/{attempt}" for top in tops[1:]}


def finish_attempt(root: Path, state: Path, target: Path, tops: Sequence[str] = ()) -> bool:
    """Finish the commit of the attempt in `state`, if it has its page; return whether it had one.

    `target` is the place of the page. Another process may do the same at the same time.
    """
    try:
        outputs = _first_line(state / _PAGE)
        if outputs is None:
            return False
        names = outputs[0]
        check_names(names)
    except (TypeError, LookupError) as error:
        raise OutputError(
            "the state of a shard is damaged", path=state, remedy="Start again with --overwrite."
        ) from error
    folders = dict.fromkeys(name.rpartition("/")[0] for name in names)
    numbers = {folder: i for i, folder in enumerate(folders)}
    _finish(os.fspath(root), os.fspath(state), tops, numbers, target)
    return True


def _finish(
    root: str, state: str, tops: Sequence[str], numbers: Mapping[str, int], target: Path
) -> bool:
    """Finish a commit that has its page; return whether this attempt is the one that counts.

    Put the page at `target` and move the numbered folders into place, unless another attempt has
    put its page there.
    """
    is_first = _put_page(f"{state}/{_PAGE}", target)
    if is_first:
        places = _staging_places(root, state, tops)
        for folder, number in numbers.items():
            here = f"{places.get(folder.partition('/')[0], state)}/d{number}"
            if is_folder(here):
                with guard("move into place", f"{root}/{folder}"):
                    _put(here, root, folder, tops)
    remove_attempt(Path(root), Path(state), tops)
    return is_first


def _put_page(page: str, target: Path) -> bool:
    """Give the page of an attempt its place unless there is one; return whether it has it now.

    Of several processes that try at once, one succeeds. Where the file system has no hard links,
    the page is renamed.
    """
    with guard("move into place", target):
        make_folder(target.parent)
        try:
            os.link(page, target)
        except (FileExistsError, FileNotFoundError):
            with suppress(FileNotFoundError):
                return os.path.samefile(page, target)
            return False  # somebody else has finished or removed this attempt
        except OSError as error:
            if error.errno not in _NO_LINKS or target.exists():
                raise
            move(page, target)
    return True


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
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno not in _KEPT_APART:
                    raise
    with open_folder(root, folder, tops, make=True) as fd, suppress(FileNotFoundError):
        for name in os.listdir(source):
            with suppress(FileNotFoundError):  # another process finished the same commit first
                os.rename(f"{source}/{name}", name, dst_dir_fd=fd)


def remove_attempt(root: Path, state: Path, tops: Sequence[str] = ()) -> None:
    """Remove what an attempt left in `state` and in the folders beside the output."""
    beside = _staging_places(os.fspath(root), os.fspath(state), tops).values()
    for place in (*map(Path, beside), state):
        remove_tree(place)


def _first_line(path: Path) -> Any:
    """Return the value of the first line, or None where the file is missing or damaged."""
    try:
        if size_of(path) is not None:
            return json.loads(read_bytes(path).partition(b"\n")[0])
    except ValueError:
        return None
    except SourceError:
        if size_of(path) is not None:
            raise
    return None  # or another process has finished the attempt meanwhile
