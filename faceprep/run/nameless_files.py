"""Small files for existing folders, written without a name and named when they are complete."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from faceprep.core.os_errors import guard
from faceprep.core.output_tree import check_names, open_folder
from faceprep.core.storage import write_all
from faceprep.core.types import Buffer

LOG = "names"
CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
_N_PENDING = 64
_PENDING_BYTES = 4 << 20
_NAMELESS = getattr(os, "O_TMPFILE", 0)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


class Link(NamedTuple):
    """A new name for the file at the absolute `path`."""

    path: str
    symbolic: bool

    def make(self, name: str, folder: int) -> None:
        """Create the name `name` relative to the open `folder`. Raises OSError."""
        if self.symbolic:
            os.symlink(self.path, name, dir_fd=folder)
        else:
            os.link(self.path, name, dst_dir_fd=folder, follow_symlinks=True)


class NamelessFiles:
    """Small files for existing folders below `root`.

    They are written, their names are logged in `state`, and then they are named.
    """

    def __init__(self, root: str, state: str, tops: Sequence[str]) -> None:
        self._root, self._state, self._tops = root, state, tops
        self._log_fd = -1
        self._pending: list[tuple[str, Buffer | Link, int | None]] = []
        self._n_bytes = 0
        self._known = None if _NAMELESS and os.path.isdir("/proc/self/fd") else False

    def are_known(self, folder: str) -> bool:
        """Return whether the file system supports nameless files; it is asked once.

        Raises OSError when `folder` is not a folder or may not be used.
        """
        if self._known is None:
            try:
                with open_folder(self._root, folder, self._tops) as fd:
                    os.close(os.open(".", os.O_WRONLY | _NAMELESS, dir_fd=fd))
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
        """Write the files, log their names, then name them. Raises OutputError."""
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
                    fd = self._create(name.rpartition("/")[0])
                    links.append(fd)
                    write_all(fd, content)
                    if time is not None:
                        os.utime(fd, ns=(time, time))
                self._log(names)
                self._give_all(links, names)
            finally:
                for link in links:
                    if isinstance(link, int):
                        os.close(link)

    def _create(self, folder: str) -> int:
        """Create a nameless file; make the folder again if another shard has removed it."""
        with open_folder(self._root, folder, self._tops, make=True) as fd:
            return os.open(".", os.O_WRONLY | _NAMELESS, 0o666, dir_fd=fd)

    def _give_all(self, links: Sequence[Link | int], names: Sequence[str]) -> None:
        """Name all files; each is a link, or the descriptor of a nameless file."""
        for link, name in zip(links, names, strict=True):
            if isinstance(link, int):
                link = Link(f"/proc/self/fd/{link}", symbolic=False)
            folder, _, base = name.rpartition("/")
            with open_folder(self._root, folder, self._tops, make=True) as fd:
                try:
                    link.make(base, fd)
                except FileExistsError:  # of a shard that is done again
                    os.unlink(base, dir_fd=fd)
                    link.make(base, fd)

    def _log(self, names: Sequence[str]) -> None:
        if self._log_fd < 0:
            self._log_fd = os.open(f"{self._state}/{LOG}", CREATE | os.O_APPEND, 0o666)
        write_all(self._log_fd, json.dumps(names).encode() + b"\n")

    def close(self) -> None:
        if self._log_fd >= 0:
            os.close(self._log_fd)
        self._log_fd = -1
