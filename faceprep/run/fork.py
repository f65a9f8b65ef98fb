"""A worker that is a fork of the driver: as clean as a new Python process, but started at once.

A fork is clean while the driver has one thread and has not loaded NumPy. Without NumPy, none of our
code decodes, detects or embeds, so no library holds threads or a GPU that a copy would lack. The
copy closes whatever the driver has open, including its lock, and has a `__main__` of its own.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import NoReturn

_THREADS, _OPEN = "/proc/self/task", "/proc/self/fd"
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_NAP_S = 0.01


def is_clean() -> bool:
    """Return whether a fork of this process is as good as a new one; always False outside Linux."""
    streams = (sys.stdin, sys.stdout, sys.stderr)  # None: another file may have its number
    may_be = sys.platform == "linux" and None not in streams and "numpy" not in sys.modules
    return may_be and len(os.listdir(_THREADS)) == 1


class Copy:
    """A fork of this process that calls `serve` and ends, with the methods of `subprocess.Popen`.

    `environment` is set in it. It keeps `pipe` and stderr open, and its stdout goes to stderr.
    """

    def __init__(
        self, serve: Callable[[], None], pipe: int, environment: Mapping[str, str]
    ) -> None:
        self.returncode: int | None = None
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or the copy would print it again
        self._pid = os.fork()
        if not self._pid:
            _live(serve, pipe, environment)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it has ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        started = time.monotonic()
        while self.returncode is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG if timeout is not None else 0)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif timeout is not None:
                if time.monotonic() - started > timeout:
                    raise subprocess.TimeoutExpired("a worker", timeout)
                time.sleep(_NAP_S)

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self._pid, signal.SIGKILL)


def _live(serve: Callable[[], None], pipe: int, environment: Mapping[str, str]) -> NoReturn:
    """Run the fork to its end; it never returns to the work of the driver."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, _STDIN)
        os.dup2(_STDERR, _STDOUT)
        stream = io.BufferedWriter(io.FileIO(_STDERR, "w", closefd=False))
        sys.stdout = sys.stderr = io.TextIOWrapper(
            stream, errors="backslashreplace", line_buffering=True
        )
        for fd in map(int, os.listdir(_OPEN)):
            if fd > _STDERR and fd != pipe:
                with suppress(OSError):  # the listing itself held this one
                    os.close(fd)
        os.environ.update(environment)
        sys.modules["__main__"] = ModuleType("__main__")
        serve()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
