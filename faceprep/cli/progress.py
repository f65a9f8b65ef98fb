"""The line on stderr: done, rate, time left, failures; silent when stderr is no terminal."""

from __future__ import annotations

import sys
from typing import Any

from faceprep.run.engine import Progress
from faceprep.types import Outcome, ShardReport, Stage


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
        from tqdm import tqdm

        tqdm.monitor_interval = 0
        self._sizes = {shard.id: len(shard) for shard in stage.shards}
        total = sum(self._sizes.values())
        self._bar = tqdm(total=total, initial=n_done, unit=unit, desc=stage.name, unit_scale=total > 100_000)

    def step(self, report: ShardReport) -> None:
        if self._bar is not None:
            self._n_failed += sum(n for status, n in report.by_status.items() if Outcome("", status).is_failure)
            self._bar.set_postfix(failed=self._n_failed, refresh=False)
            self._bar.update(self._sizes[report.shard_id])

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
