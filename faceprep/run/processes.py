"""Shards spread over processes of this machine.

Each worker holds one shard at a time, so the death of a worker (out of memory, a crash in a decoder, kill -9)
costs that shard and nothing else. The shard is tried once more in a new worker; the second death makes it a
failed shard with the signal as its reason. Workers die with the driver and ignore Ctrl-C, which is its business.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import cast

from faceprep.errors import FaceprepError
from faceprep.types import Shard, ShardReport, ShardWork

_N_TRIES = 2
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ProcessRunner:
    """Up to `n_workers` shards at a time, each in a process of its own."""

    n_workers: int

    def __call__(self, work: ShardWork, shards: Iterable[Shard]) -> Generator[ShardReport, None, None]:
        waiting = deque(shards)
        n_deaths: dict[str, int] = {}
        context = _context(work)
        workers = [_Worker(context, work) for _ in range(min(self.n_workers, len(waiting)))]
        try:
            for worker in workers:
                worker.give(waiting.popleft())
            while busy := [worker for worker in workers if worker.shard]:
                ready = wait([worker.connection for worker in busy])
                for worker in [worker for worker in busy if worker.connection in ready]:
                    shard, result = worker.take()
                    if result is None:
                        n_deaths[shard.id] = n_deaths.get(shard.id, 0) + 1
                        reason = worker.restart()
                        if n_deaths[shard.id] < _N_TRIES:
                            waiting.append(shard)
                        else:
                            n_inputs = max(len(shard), 1)
                            yield ShardReport(shard.id, n_inputs, {"crashed": n_inputs}, crash=reason)
                    elif isinstance(result, FaceprepError):
                        raise result
                    else:
                        yield result
                    if waiting:
                        worker.give(waiting.popleft())
        finally:
            for worker in workers:
                worker.stop()


@dataclass
class _Worker:
    context: BaseContext
    work: ShardWork
    shard: Shard | None = None
    process: BaseProcess = field(init=False)
    connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        self.connection, theirs = self.context.Pipe()
        self.process = self.context.Process(target=_serve, args=(theirs, self.work, os.getpid()), daemon=True)  # type: ignore[attr-defined]
        self.process.start()
        theirs.close()

    def give(self, shard: Shard) -> None:
        self.shard = shard
        with suppress(OSError):  # it is dead: `take` finds out
            self.connection.send(shard)

    def take(self) -> tuple[Shard, ShardReport | FaceprepError | None]:
        """The shard at hand and what came of it; None when the worker is dead."""
        shard, self.shard = cast(Shard, self.shard), None
        try:
            return shard, self.connection.recv()
        except (EOFError, OSError):
            return shard, None

    def restart(self) -> str:
        """Put a new process in the place of the dead one and say how that died."""
        self.process.join()
        code = self.process.exitcode or 0
        self.stop()
        self.__post_init__()
        if code < 0:
            return f"the worker was killed by {signal.Signals(-code).name}"
        return f"the worker ended with status {code}"

    def stop(self) -> None:
        self.connection.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.process.close()


def _context(work: ShardWork) -> BaseContext:
    """Clean processes: nothing that the driver has open or running (threads, handles, GPUs) goes along."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, type(work).__module__, type(getattr(work, "job", work)).__module__])
    return context


def _serve(connection: Connection, work: ShardWork, driver: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent()
    while True:
        try:
            shard = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send(work(shard))
        except FaceprepError as error:
            connection.send(error)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends; elsewhere the closed pipe ends it after its shard."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
