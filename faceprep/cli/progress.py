"""Progress on stderr: done, rate, time left, failures; one line on a terminal, now and then a
line in a log.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Protocol

import click

from faceprep.core.types import Outcome, ShardReport, Stage
from faceprep.run.engine import Progress

EVERY_S = 30.0
"""Seconds between two lines of a log; longer ones in a run that takes hours."""
_OF_A_RUN = 1 / 20
_BEAT_S = 1.0
_AT_WORK = "in shards at work"


class _Shown(Protocol):
    """Where progress is shown, with counts of what else there is to say."""

    def update(self, n: int, total: int, counts: Mapping[str, int]) -> None:
        """`n` more of `total` are done."""
        ...

    def beat(self, counts: Mapping[str, int]) -> None:
        """Time has passed, nothing else perhaps."""
        ...

    def close(self) -> None: ...


class _Bar:
    """tqdm's line, drawn anew each second so that the time goes on."""

    def __init__(self, name: str, total: int, n_done: int, unit: str) -> None:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no thread of its own
        self._bar: Any = tqdm(
            total=total,
            initial=n_done,
            unit=unit,
            desc=name or None,
            unit_scale=total > 100_000,
            dynamic_ncols=True,
        )

    def update(self, n: int, total: int, counts: Mapping[str, int]) -> None:
        self._bar.total = total
        self._tell(counts)
        self._bar.update(n)

    def beat(self, counts: Mapping[str, int]) -> None:
        self._tell(counts)
        self._bar.refresh()

    def _tell(self, counts: Mapping[str, int]) -> None:
        told = ", ".join(f"{name.replace(' ', '_')}={n:,}" for name, n in counts.items())
        self._bar.set_postfix_str(told, refresh=False)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """Plain lines for a log file, seldom enough that it can be read."""

    def __init__(self, name: str, total: int, n_done: int, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._n_before = self._n = n_done
        self._began = self._last = time.monotonic()

    def update(self, n: int, total: int, counts: Mapping[str, int]) -> None:
        self._n, self._total = self._n + n, total
        self.beat(counts)

    def beat(self, counts: Mapping[str, int]) -> None:
        now = time.monotonic()
        if now - self._last >= max(EVERY_S, (now - self._began) * _OF_A_RUN):
            self._last = now
            told = [self._line(now - self._began), *(f"{n:,} {name}" for name, n in counts.items())]
            click.echo(f"faceprep: {', '.join(told)}", err=True)

    def close(self) -> None:
        return

    def _line(self, seconds: float) -> str:
        n_new = self._n - self._n_before
        line = f"{self._name}: " if self._name else ""
        line += f"{self._n:,} of {self._total:,} {self._unit}"
        if n_new:
            left = timedelta(seconds=round(seconds * (self._total - self._n) / n_new))
            line += f", {n_new / seconds:,.3g} a second, {left} left"
        else:
            line += f", {timedelta(seconds=round(seconds))} so far"
        return line


class _Display:
    """A bar or lines, and a thread that has them show life while nothing is reported."""

    def __init__(self, shown: _Shown, count: Callable[[], int]) -> None:
        self._shown, self._count, self._counts = shown, count, dict[str, int]()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def update(self, n: int, total: int, **counts: int) -> None:
        with self._lock:
            self._counts = counts
            self._shown.update(n, total, counts)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._shown.close()

    def _beat(self) -> None:
        with suppress(OSError, ValueError):  # nobody reads stderr any more
            while not self._over.wait(min(_BEAT_S, EVERY_S)):
                n_begun = self._count()
                with self._lock:
                    self._shown.beat(self._counts | ({_AT_WORK: n_begun} if n_begun else {}))


def _shown(name: str, total: int, n_done: int, unit: str) -> _Shown:
    return (_Bar if sys.stderr.isatty() else _Lines)(name, total, n_done, unit)


@contextmanager
def counting_bar(quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Shows what it is told: (done, of how many)."""
    displays: list[_Display] = []
    n_before = 0

    def tell(n_done: int, total: int) -> None:
        nonlocal n_before
        if not displays and not quiet:
            displays.append(_Display(_shown("", total, 0, "it"), lambda: 0))
        for display in displays:
            display.update(n_done - n_before, total)
        n_before = n_done

    try:
        yield tell
    finally:
        for display in displays:
            display.close()


def progress_bar(quiet: bool = False) -> Progress:
    """Shows what the engine tells."""
    if quiet:
        return Progress()
    bar = _OfStages()
    return Progress(bar.start, bar.step, bar.stop, bar.watch)


class _OfStages:
    def __init__(self) -> None:
        self._display: _Display | None = None
        self._n_failed = 0
        self._sizes: dict[str, int] = {}
        self._total = 0
        self._count: Callable[[], int] = lambda: 0

    def watch(self, count: Callable[[], int]) -> None:
        self._count = count

    def start(self, stage: Stage, n_done: int, unit: str) -> None:
        self._sizes = {shard.id: len(shard) for shard in stage.shards}
        self._total = sum(self._sizes.values())
        self._display = _Display(_shown(stage.name, self._total, n_done, unit), self._count)

    def step(self, report: ShardReport) -> None:
        self._n_failed += sum(
            n for status, n in report.by_status.items() if Outcome("", status).is_failure
        )
        if self._display is not None:
            self._display.update(self._sizes[report.shard_id], self._total, failed=self._n_failed)

    def stop(self) -> None:
        if self._display is not None:
            self._display.close()
            self._display = None
