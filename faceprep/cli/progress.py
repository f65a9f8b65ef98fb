"""The line on stderr: done, rate, time left, failures; silent when stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from faceprep.run.engine import Progress
from faceprep.types import Outcome, ShardReport, Stage


@contextmanager
def counting_bar() -> Iterator[Callable[[int, int], None]]:
    """A tqdm bar that is told (done, of how many)."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def tell(n_done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(_tqdm(total=total, disable=not sys.stderr.isatty())))
            bars[0].total = total
            bars[0].update(n_done - bars[0].n)

        yield tell


def progress_bar() -> Progress:
    """A tqdm bar for the engine."""
    bar = _Bar()
    return Progress(bar.start, bar.step, bar.stop)


class _Bar:
    def __init__(self) -> None:
        self._bar: Any = None
        self._n_failed = 0
        self._sizes: dict[str, int] = {}

    def start(self, stage: Stage, n_done: int, unit: str) -> None:
        if not sys.stderr.isatty():
            return
        self._sizes = {shard.id: len(shard) for shard in stage.shards}
        total = sum(self._sizes.values())
        self._bar = _tqdm(total=total, initial=n_done, unit=unit, desc=stage.name, unit_scale=total > 100_000)

    def step(self, report: ShardReport) -> None:
        if self._bar is not None:
            self._n_failed += sum(n for status, n in report.by_status.items() if Outcome("", status).is_failure)
            self._bar.set_postfix(failed=self._n_failed, refresh=False)
            self._bar.update(self._sizes[report.shard_id])

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _tqdm(**options: Any) -> Any:
    """Loaded when it is needed, and without its monitoring thread."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0
    return tqdm(**options)
