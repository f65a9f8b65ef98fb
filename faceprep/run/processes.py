"""Shards spread over processes of this machine.

A worker (`worker`) holds one shard at a time, so its death (out of memory, a crash in a decoder,
kill -9) costs that shard and nothing else. The first workers start while the shards are still being
planned, and all serve every stage.

A shard is tried once more in a new worker. After the second death, or as soon as an item takes too
long, it is carried out one item at a time, and the items that end a worker are left out
(`core.items`). A shard that ends its worker without a current item has failed. The signal is the
reason.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any, cast

from faceprep.core.cpu import n_cores as count_cores
from faceprep.core.errors import OptionError
from faceprep.core.items import TIMED_OUT, Care
from faceprep.core.types import ITEM_TIMEOUT_S, CarryOut, Shard, ShardReport, ShardWork
from faceprep.run.shard_task import crashed
from faceprep.run.worker import Death, Worker

_N_EARLY = 4
_N_TRIES = 2
_LOOK_S = 0.5
_STOPPED_S = 2.0
"""If more seconds pass between two looks at the workers, this process was stopped meanwhile."""


@dataclass(frozen=True)
class ProcessRunner:
    """A runner of up to `n_workers` shards at a time, each in a process of its own.

    Raises OptionError for less than one worker.

    Each process imports the program's main file, so keep the work of that file behind
    `if __name__ == "__main__":`.
    """

    n_workers: int
    item_timeout: float = ITEM_TIMEOUT_S
    """Seconds after which an item that is decoded or given to a model is given up."""
    cores: int = 0
    """Cores that the workers share; 0 for all that this process may use."""

    def __post_init__(self) -> None:
        if self.n_workers < 1:
            raise OptionError("--workers", expected="1 or more", found=str(self.n_workers))

    @contextmanager
    def start(self, work: ShardWork) -> Iterator[CarryOut]:
        n_cores = self.cores or count_cores()
        workers = [
            Worker(work, number, max(1, n_cores // self.n_workers))
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
    workers: Sequence[Worker], item_timeout: float, n_cores: int, shards: Iterable[Shard]
) -> Generator[ShardReport, None, None]:
    waiting = deque((shard, Care()) for shard in shards)
    deaths: Counter[str] = Counter()
    at_once = workers[: len(waiting)]
    for worker in at_once:
        worker.start()
        worker.n_cores = max(1, n_cores // len(at_once))
        worker.give(*waiting.popleft())
    watch = _Watch(item_timeout)
    while busy := [worker for worker in workers if worker.shard is not None]:
        for worker in watch.with_news(busy):
            shard, care, news = cast(Shard, worker.shard), worker.care, worker.take()
            if isinstance(news, ShardReport):
                yield news
            elif news is not None:
                deaths[shard.id] += 1
                if len(shard) == 1:  # no other input is to blame
                    care = care._replace(is_careful=True)
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


class _Watch:
    """A watch over workers that ends those whose item takes too long.

    If this process was stopped, as by Ctrl-Z, so were the workers. The time of each item then
    starts again.
    """

    def __init__(self, item_timeout: float) -> None:
        self._item_timeout = item_timeout
        self._last_look = time.monotonic()

    def with_news(self, workers: Sequence[Worker]) -> list[Worker]:
        """Wait for news, and return the workers that have some."""
        ready: list[Any] = []
        while not ready:
            connections = [worker.connection for worker in workers]
            ready = wait(connections, min(_LOOK_S, self._item_timeout))
            now = time.monotonic()
            was_stopped = now - self._last_look > _STOPPED_S
            self._last_look = now
            for worker in workers:
                if was_stopped:
                    worker.renew_item()
                worker.end_if_late(self._item_timeout)
        return [worker for worker in workers if worker.connection in ready]
