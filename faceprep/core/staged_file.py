"""A buffered file that is being written, before it gets its name."""

from __future__ import annotations

import io
import os
from typing import Any, cast

from faceprep.core.errors import OutputError
from faceprep.core.os_errors import as_error, guard
from faceprep.core.types import Buffer

_CREATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
_BUFFER = 256 << 10


def write_all(fd: int, data: Buffer) -> None:
    """Write all of `data` to a descriptor; every byte goes to the disk through this call."""
    n_written = os.write(fd, data)
    if n_written != len(data):
        view = memoryview(data)
        while n_written < len(view):
            n_written += os.write(fd, view[n_written:])


class _RawFile(io.RawIOBase):
    """A descriptor behind a buffer. Its errors are OutputErrors that name the final file."""

    def __init__(self, path: str, final: str) -> None:
        self._final = final
        self._dropped = False
        with guard("create", final):
            self._fd = os.open(path, _CREATE, 0o666)

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
        return len(data)

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
        super().__init__(cast(io.RawIOBase, _RawFile(path, final)), _BUFFER)

    def close(self) -> None:
        if not self.closed:
            self.flush()
            if self._durable:
                with guard("write", self._final):
                    os.fsync(self.fileno())
            super().close()

    def discard(self) -> None:
        cast(_RawFile, self.raw).drop()
        super().close()
