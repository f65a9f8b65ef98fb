"""A local worker as its driver sees it: start, shards, messages, death.

Each worker is a clean Python process: it inherits nothing that the driver has open or running
(threads, handles, GPUs, a script without a main guard). It is a new process, or a fork of the
driver where that is as clean (`fork`). Inside, it runs `worker_process.serve`.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, Pipe
from typing import NamedTuple, cast

from faceprep.core.cpu import number_of, share_of
from faceprep.core.errors import FaceprepError, OptionError
from faceprep.core.items import CRASHED, NO_MEMORY, TIMED_OUT, Board, Care, share_board
from faceprep.core.os_errors import as_error
from faceprep.core.types import Shard, ShardReport, ShardWork
from faceprep.run.fork import Copy, is_clean
from faceprep.run.worker_process import IN_A_MODULE, READY, serve

log = logging.getLogger("faceprep")
_N_STARTS = 3
_PATIENCE = 5.0
_STDERR = 2
_BOOT = (
    "import sys; sys.path[:] = sys.argv[3:]; from faceprep.run.worker_process import serve; "
    "serve(*sys.argv[1:3])"
)
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


class Death(NamedTuple):
    """The end of a worker: its current item, if any, and what happened to it."""

    reason: str
    item: str = ""
    status: str = CRASHED


class Worker:
    """A worker as its driver sees it: a process, the shard that it holds, and the pipe to it."""

    connection: Connection

    def __init__(self, work: ShardWork, number: int, n_cores: int) -> None:
        self._work, self._number, self.n_cores = work, number, n_cores
        self._process: subprocess.Popen[bytes] | Copy | None = None
        self._open = ExitStack()
        self._n_starts = 0
        self.shard: Shard | None = None
        self.care = Care()
        self._is_loaded = False
        self._board: Board | None = None
        self._late = ""

    def start(self) -> None:
        """Start a process unless there is one. Raises FaceprepError."""
        if self._process is not None:
            return
        self._n_starts += 1
        try:
            ours, theirs = Pipe()
            self.connection = self._open.enter_context(ours)
            self._board, board = self._open.enter_context(share_board())
            with theirs, _hold_ctrl_c_back():
                own = share_of(self.n_cores) | number_of(self._number) | board
                self._process = _start(theirs.fileno(), _ONE_THREAD | os.environ | own)
        except OSError as error:
            if error.filename:  # that of Python itself
                raise as_error(FaceprepError, "start a worker", error.filename, error) from error
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise FaceprepError(
                f"cannot start a worker: {reason}",
                remedy="Use fewer --workers, or raise the limits on processes (ulimit -u) and "
                "open files (ulimit -n).",
            ) from error
        self._is_loaded = False

    def load(self) -> None:
        """Send the job to the process, which imports it and warms it up. Raises OptionError."""
        if not self._is_loaded:
            self._is_loaded = True
            try:
                self._send((self._work, log.getEffectiveLevel()))
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise OptionError(
                    f"the job cannot be sent to workers: {error}", remedy=IN_A_MODULE
                ) from error

    def give(self, shard: Shard, care: Care) -> None:
        self.load()
        self.shard, self.care = shard, care
        self._send((shard, care, self.n_cores))

    def renew_item(self) -> None:
        """Start the time of the current item again."""
        if self._board is not None:
            self._board.renew()

    def end_if_late(self, item_timeout: float) -> None:
        """Kill the process if its current item takes too long; `take` finds it dead."""
        if self._process is None or self._board is None or self._late:
            return
        item, seconds = self._board.read()
        if item and seconds > item_timeout:
            self._late = f"took longer than {item_timeout:g} s"
            self._process.kill()

    def _send(self, message: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it is dead, and `take` reports it
            self.connection.send(message)

    def take(self) -> ShardReport | Death | None:
        """Return the report of the shard, or the death of the worker; None for a log record.

        A new process replaces a dead one. Raises the FaceprepError that the worker sends.
        """
        try:
            news = self.connection.recv()
        except (EOFError, OSError):
            return self._replace()
        if isinstance(news, FaceprepError):
            raise news
        if isinstance(news, logging.LogRecord):
            log.handle(news)
            return None
        if news == READY:
            self._n_starts = 0
            return None
        self.shard = None
        return cast(ShardReport, news)

    def _replace(self) -> Death | None:
        death = self._end()
        was_ready, shard = not self._n_starts, cast(Shard, self.shard)
        if self._n_starts == _N_STARTS:
            raise FaceprepError(
                f"cannot start a worker: {death.reason}",
                remedy="Use fewer --workers, or --runner serial.",
            )
        self._process = self.shard = None
        self.start()
        if was_ready:
            return death
        self.give(shard, self.care)
        return None

    def _end(self) -> Death:
        """Return what became of the process, whose end of the pipe is closed."""
        item = self._board.read()[0] if self._board else ""
        process = cast("subprocess.Popen[bytes] | Copy", self._process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        self.kill()
        self.wait()
        late, self._late = self._late, ""
        if late:
            return Death(late, item, TIMED_OUT)
        status = cast(int, process.returncode)
        if status == -signal.SIGKILL:
            return Death(_describe_end(status), item, NO_MEMORY)  # as if memory ran out
        return Death(_describe_end(status), item)

    def kill(self) -> None:
        self._open.close()
        if self._process:
            self._process.kill()

    def wait(self) -> None:
        if self._process:
            self._process.wait()


def _describe_end(status: int) -> str:
    """Describe the end of a process by its status, which is below zero for a signal."""
    if status >= 0:
        return f"the worker ended with status {status}"
    names = {number.value: number.name for number in signal.Signals}
    return f"the worker was killed by {names.get(-status, f'signal {-status}')}"


def _start(pipe: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | Copy:
    """Start a process that serves `pipe`. Raises OSError."""
    driver = str(os.getpid())
    if is_clean():
        return Copy(partial(serve, str(pipe), driver), pipe, environment)
    paths = [path for path in sys.path if isinstance(path, str)]
    return subprocess.Popen(
        [sys.executable, "-u", "-P", "-c", _BOOT, str(pipe), driver, *paths],
        stdin=subprocess.DEVNULL,
        stdout=_STDERR,
        pass_fds=[pipe],
        env=environment,
    )


@contextmanager
def _hold_ctrl_c_back() -> Iterator[None]:
    """Hold Ctrl-C back while a process starts: the new process never gets it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
