"""Standard streams that are closed, full or no longer read.

A closed stream is opened on the null device, so that no output takes its descriptor and receives
what libraries print. A message that cannot be written never stops a run. A result that cannot be
written is an error; where its reader has gone away, as `head` does, only the exit status says so.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from faceprep.core.errors import OutputError
from faceprep.core.os_errors import as_error

_STDOUT, _STDERR = 1, 2
_ENCODING = "utf-8"


def secure_streams() -> None:
    """Make the process's own streams safe. Streams that a caller has replaced stay as they are."""
    _open_closed()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _wrap(_STDOUT, sys.stdout.encoding if sys.stdout else _ENCODING)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _wrap(_STDERR, sys.stderr.encoding if sys.stderr else _ENCODING)


def _open_closed() -> None:
    """Open each closed one of the first three descriptors on the null device."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)


def _wrap(fd: int, encoding: str) -> io.TextIOWrapper:
    raw = io.BufferedWriter(_Stream(fd))
    return io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True)


class _Stream(io.RawIOBase):
    """Standard output or standard error; it is dropped once it cannot be written."""

    def __init__(self, fd: int) -> None:
        self._fd, self._is_gone = fd, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: Any, /) -> int:
        """Write `data`, or drop it.

        The first time that a result is lost, raises OutputError, or SystemExit without a reader.
        """
        n = len(memoryview(data))
        if self._is_gone:
            return n
        try:
            return os.write(self._fd, data)
        except OSError as error:
            self._is_gone = True
            if self._fd == _STDERR:
                return n
            if isinstance(error, BrokenPipeError):
                raise SystemExit(1) from error
            raise as_error(OutputError, "write", "standard output", error) from error
