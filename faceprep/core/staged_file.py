"""A buffered file that is being written, before it gets its name."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import Any, cast

from faceprep.core.errors import OutputError
from faceprep.core.os_errors import as_error, guard
from faceprep.core.types import Buffer

_CREATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
_BUFFER = 256 << 10
_BEGUN = 16 << 20
"""Bytes after which the disk begins with a durable file, so that little is left at its end."""


def write_all(fd: int, data: Buffer) -> None:
    """Write all of `data` to a descriptor; every byte goes to the disk through this call."""
    n_written = os.write(fd, data)
    if n_written != len(data):
        view = memoryview(data)
        while n_written < len(view):
            n_written += os.write(fd, view[n_written:])


class _RawFile(io.RawIOBase):
    """A descriptor behind a buffer. Its errors are OutputErrors that name the final file."""

    def __init__(self, fd: int, final: str, durable: bool) -> None:
        self._fd, self._final, self._durable = fd, final, durable
        self._dropped = False
        self._n_waiting = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self._dropped:
            try:
                write_all(self._fd, data)
            except OSError as error:
                raise as_error(OutputError, "write", self._final, error) from error
            self._n_waiting += len(data)
            if self._durable and self._n_waiting >= _BEGUN:
                self._begin_on_disk()
        return len(data)

    def _begin_on_disk(self) -> None:
        """Let the system begin to write the last bytes to the disk, while more are made."""
        n_bytes, self._n_waiting = self._n_waiting, 0
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):  # only a hint: `fsync` reports errors
                start = max(self.tell() - n_bytes, 0)
                os.posix_fadvise(self._fd, start, n_bytes, os.POSIX_FADV_DONTNEED)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._fd, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def fileno(self) -> int:
        return self._fd

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self._fd, size)
        return size

    def drop(self) -> None:
        """Ignore what is still buffered: the file is not wanted any more."""
        self._dropped = True

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._fd)


class StagedFile(io.BufferedWriter):
    """A buffered file at `path`. If it is `durable`, `close` waits until the disk has the bytes."""

    def __init__(self, path: str, final: str, durable: bool) -> None:
        self.path, self._final, self._durable = path, final, durable
        with guard("create", final):
            fd = os.open(path, _CREATE, 0o666)
        self._bare = _RawFile(fd, final, durable)
        super().__init__(cast(io.RawIOBase, self._bare), _BUFFER)

    def close(self) -> None:
        if self.closed:
            return
        try:
            self.flush()
            if self._durable:
                with guard("write", self._final):
                    os.fsync(self.fileno())
        except BaseException:
            self.discard()  # or its finalizer would try to write again
            raise
        super().close()

    def __del__(self) -> None:
        """Drop what nobody has closed: a finalizer that writes may fail where nobody sees it."""
        if hasattr(self, "_bare"):  # it could be created
            self.discard()

    def discard(self) -> None:
        self._bare.drop()
        super().close()
