"""Shards spread over processes of this machine.

Each worker is a clean Python: it inherits nothing that the driver has open or running (threads,
handles, GPUs, a script without a main guard). It is a new process, or a fork of the driver where
that is as clean (`fork`). It holds one shard at a time, so the death of a worker (out of memory, a
crash in a decoder, kill -9) costs that shard and nothing else. The first workers start while the
shards are still being planned, and all serve every stage. Workers die with the driver, and only the
driver handles Ctrl-C.

A shard is tried once more in a new worker. After the second death, or as soon as an item takes too
long, it is carried out one item at a time, and the items that end a worker are left out
(`core.items`). A shard that ends its worker without a current item has failed. The signal is the
reason.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NamedTuple, cast

from faceprep.core.cpu import n_cores as count_cores
from faceprep.core.cpu import number_of, share_of, take_share
from faceprep.core.errors import FaceprepError, OptionError
from faceprep.core.items import (
    CRASHED,
    NO_MEMORY,
    TIMED_OUT,
    Board,
    Care,
    begin,
    share_board,
    use_board,
)
from faceprep.core.types import ITEM_TIMEOUT_S, CarryOut, Shard, ShardReport, ShardWork
from faceprep.run.fork import Copy, is_clean
from faceprep.run.shard_task import crashed

log = logging.getLogger("faceprep")
_SENDING = threading.Lock()
_N_EARLY = 4
_N_TRIES = 2
_N_STARTS = 3
_PATIENCE = 5.0
_LOOK_S = 0.5
_STDERR = 2
_READY = "ready"
_BOOT = (
    "import sys; sys.path[:] = sys.argv[3:]; from faceprep.run.processes import serve; "
    "serve(*sys.argv[1:3])"
)
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
_IN_A_MODULE = "Define the job in a module that can be imported, or use the serial runner."
_PR_SET_PDEATHSIG = 1
_GARBAGE = 200_000


@dataclass(frozen=True)
class ProcessRunner:
    """A runner of up to `n_workers` shards at a time, each in a process of its own."""

    n_workers: int
    item_timeout: float = ITEM_TIMEOUT_S
    """Seconds after which an item that is decoded or given to a model is given up."""
    cores: int = 0
    """Cores that the workers share; 0 for all that this process may use."""

    @contextmanager
    def start(self, work: ShardWork) -> Iterator[CarryOut]:
        n_cores = self.cores or count_cores()
        workers = [
            _Worker(work, number, max(1, n_cores // self.n_workers))
            for number in range(self.n_workers)
        ]
        try:
            for worker in workers[:_N_EARLY]:
                worker.start()
            workers[0].load()
            yield partial(_carry_out, workers, self.item_timeout, n_cores)
        finally:
            for worker in workers:
                worker.kill()
            for worker in workers:
                worker.wait()


def _carry_out(
    workers: Sequence[_Worker], item_timeout: float, n_cores: int, shards: Iterable[Shard]
) -> Generator[ShardReport, None, None]:
    waiting = deque((shard, Care()) for shard in shards)
    deaths: Counter[str] = Counter()
    at_once = workers[: len(waiting)]
    for worker in at_once:
        worker.start()
        worker.n_cores = max(1, n_cores // len(at_once))
        worker.give(*waiting.popleft())
    while busy := [worker for worker in workers if worker.shard is not None]:
        for worker in _with_news(busy, item_timeout):
            shard, care, news = cast(Shard, worker.shard), worker.care, worker.take()
            if isinstance(news, ShardReport):
                yield news
            elif news is not None:
                deaths[shard.id] += 1
                next_care = _care_after(news, care, deaths[shard.id])
                if next_care is None:
                    yield crashed(shard, news.reason)
                else:
                    waiting.append((shard, next_care))
            if waiting and worker.shard is None:
                worker.give(*waiting.popleft())


def _care_after(death: Death, care: Care, n_deaths: int) -> Care | None:
    """Return the care for the next attempt at a shard whose worker has died, None for no attempt.

    The first death may have nothing to do with the shard, unless an item took too long.
    """
    if n_deaths < _N_TRIES and death.status != TIMED_OUT:
        return care
    return care.after(death.item, death.status, death.reason)


def _with_news(workers: Sequence[_Worker], item_timeout: float) -> list[_Worker]:
    """Wait for news, and return the workers that have some; end those whose item takes too long."""
    ready: list[Any] = []
    while not ready:
        ready = wait([worker.connection for worker in workers], min(_LOOK_S, item_timeout))
        for worker in workers:
            worker.end_if_late(item_timeout)
    return [worker for worker in workers if worker.connection in ready]


class Death(NamedTuple):
    """The end of a worker: its current item, if any, and what happened to it."""

    reason: str
    item: str = ""
    status: str = CRASHED


class _Worker:
    """A process, the shard that it holds, and the pipe to it."""

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
            raise FaceprepError(
                f"cannot start a worker: {error}", remedy="Use fewer --workers."
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
                    f"the job cannot be sent to workers: {error}", remedy=_IN_A_MODULE
                ) from error

    def give(self, shard: Shard, care: Care) -> None:
        self.load()
        self.shard, self.care = shard, care
        self._send((shard, care, self.n_cores))

    def end_if_late(self, item_timeout: float) -> None:
        """Kill the process if its current item takes too long; `take` finds it dead."""
        if self._process is None or self._board is None or self._late:
            return
        item, seconds = self._board.read()
        if item and seconds > item_timeout:
            self._late = f"took longer than {item_timeout:g} s"
            self._process.kill()

    def _send(self, message: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it is dead: `take` finds out
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
        if news == _READY:
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
            return Death(_describe_end(status), item, NO_MEMORY)  # as when memory runs out
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


def serve(pipe: str, driver: str) -> None:
    """Carry out the shards that come through `pipe` until the process `driver` is gone."""
    _die_with(int(driver))
    os.set_inheritable(int(pipe), False)
    with Connection(int(pipe)) as connection:
        try:
            if (first := _receive(connection)) is None:
                return
            work, level = first
            _log_through(connection, level)
            use_board()
            _warm_up(work)
            _spare_garbage_collection()
            _send(connection, _READY)
        except (ImportError, AttributeError) as error:
            _send(
                connection,
                OptionError(f"a worker cannot load the job: {error}", remedy=_IN_A_MODULE),
            )
            return
        while (given := _receive(connection)) is not None:
            shard, care, share = given
            take_share(share)
            begin(care)
            try:
                answer = work.run(shard)
            except FaceprepError as error:
                answer = error
            _send(connection, answer)


class _ToDriver(logging.Handler):
    """A log handler that sends records to the driver, which shows them as its own."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = self.format(record), None
        record.exc_info = record.exc_text = record.stack_info = None
        _send(self._connection, record)


def _log_through(connection: Connection, level: int) -> None:
    log.handlers, log.propagate = [_ToDriver(connection)], False
    log.setLevel(level)


def _warm_up(work: ShardWork) -> None:
    """Load what the shards will need, while the driver still plans.

    Errors are ignored here: they come again with a shard.
    """
    with suppress(FaceprepError):
        work.warm_up()


def _spare_garbage_collection() -> None:
    """Collect garbage less often: a shard makes many small tuples and no cycles.

    The search for cycles took 5 of the 18 µs that `rec2folder` needs per record.
    """
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def _receive(connection: Connection) -> Any:
    """Return the next message; None when the driver is gone."""
    with suppress(EOFError, ConnectionError):
        return connection.recv()
    return None


def _send(connection: Connection, message: object) -> None:
    with suppress(ConnectionError), _SENDING:
        connection.send(message)


def _die_with(driver: int) -> None:
    """Ask Linux to kill this process when its driver ends.

    Elsewhere the closed pipe ends it after its shard.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != driver:
        os._exit(1)
