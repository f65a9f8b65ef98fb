"""Progress on stderr: inputs done, rate, time left and failures.

A terminal gets one line that is redrawn; a log gets a new line now and then.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Protocol

import click

from faceprep.cli.summary import noun_of
from faceprep.core.text import count_noun, format_clock
from faceprep.core.types import ShardReport, Stage, count_failures
from faceprep.run.drive import Progress

EVERY_S = 30.0
"""Least seconds between two lines of a log."""
_LINE_SHARE = 1 / 20
"""Least time between two lines of a log, as a share of the time since the start."""
_BEAT_S = 1.0
_WAIT_S = 3.0
"""Seconds after which a step without a count is shown."""
_AT_WORK = "in unfinished shards"


class _Display(Protocol):
    """A place that shows progress; `counts` are further numbers by name."""

    def update(self, n: int, total: int, counts: Mapping[str, int]) -> None:
        """Show that `n` more of `total` are done."""
        ...

    def beat(self, counts: Mapping[str, int]) -> None:
        """Show that time has passed."""
        ...

    def close(self) -> None: ...


class _Bar:
    """A tqdm line, redrawn each second so that its clock advances."""

    def __init__(self, name: str, total: int, n_done: int, unit: str) -> None:
        self._bar = _open_line(
            total=total, initial=n_done, unit=unit, desc=name or None, unit_scale=total > 100_000
        )

    def update(self, n: int, total: int, counts: Mapping[str, int]) -> None:
        self._bar.total = total
        self._set_counts(counts)
        self._bar.update(n)

    def beat(self, counts: Mapping[str, int]) -> None:
        self._set_counts(counts)
        self._bar.refresh()

    def _set_counts(self, counts: Mapping[str, int]) -> None:
        postfix = ", ".join(f"{name.replace(' ', '_')}={n:,}" for name, n in counts.items())
        self._bar.set_postfix_str(postfix, refresh=False)

    def close(self) -> None:
        self._bar.close()


def _open_line(**options: Any) -> Any:
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # tqdm then starts no thread
    return tqdm(dynamic_ncols=True, **options)


class _Lines:
    """Plain lines for a log file, few enough to keep the log readable."""

    def __init__(self, name: str, total: int, n_done: int, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._n_before = self._n = n_done
        self._began = self._last = time.monotonic()

    def update(self, n: int, total: int, counts: Mapping[str, int]) -> None:
        self._n, self._total = self._n + n, total
        self.beat(counts)

    def beat(self, counts: Mapping[str, int]) -> None:
        now = time.monotonic()
        if now - self._last < max(EVERY_S, (now - self._began) * _LINE_SHARE):
            return
        self._last = now
        others = [f"{n:,} {name}" for name, n in counts.items()]
        click.echo(f"faceprep: {', '.join([self._line(now - self._began), *others])}", err=True)

    def close(self) -> None:
        return

    def _line(self, seconds: float) -> str:
        n_new = self._n - self._n_before
        line = f"{self._n:,} of {count_noun(self._total, noun_of(self._unit))}"
        if self._name:
            line = f"{self._name}: {line}"
        if not n_new:
            return f"{line}, {format_clock(seconds)} so far"
        left = format_clock(seconds * (self._total - self._n) / n_new)
        return f"{line}, {n_new / seconds:,.3g} a second, {left} left"


class _LiveDisplay:
    """A display with a thread that updates its clock while no shard ends.

    `count_begun` returns the number of inputs that are done in unfinished shards.
    """

    def __init__(self, display: _Display, count_begun: Callable[[], int]) -> None:
        self._display, self._count_begun = display, count_begun
        self._counts: dict[str, int] = {}
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def update(self, n: int, total: int, **counts: int) -> None:
        with self._lock:
            self._counts = counts
            self._display.update(n, total, counts)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._display.close()

    def _beat(self) -> None:
        with suppress(OSError, ValueError):  # stderr may be closed before the run ends
            while not self._over.wait(min(_BEAT_S, EVERY_S)):
                n_begun = self._count_begun()
                with self._lock:
                    counts = dict(self._counts)
                    if n_begun:
                        counts[_AT_WORK] = n_begun
                    self._display.beat(counts)


def _open_display(name: str, total: int, n_done: int, unit: str) -> _Display:
    if _can_redraw():
        return _Bar(name, total, n_done, unit)
    return _Lines(name, total, n_done, unit)


@contextmanager
def waiting_line(doing: str) -> Iterator[None]:
    """Show `doing`, and for how long, if the block takes more than a few seconds."""
    over = threading.Event()
    thread = threading.Thread(target=_show_wait, args=(doing, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _show_wait(doing: str, over: threading.Event) -> None:
    began = time.monotonic()

    def text() -> str:
        return f"{doing}, {format_clock(time.monotonic() - began)} so far"

    if over.wait(_WAIT_S):
        return
    with suppress(OSError, ValueError):  # stderr may be closed before the step ends
        if _can_redraw():
            _redraw(text, over)
        else:
            _repeat(text, over)


def _redraw(text: Callable[[], str], over: threading.Event) -> None:
    """Show `text` as a line of a terminal, and remove it at the end."""
    with _open_line(bar_format="{desc}", leave=False) as line:
        line.set_description_str(text())
        while not over.wait(_BEAT_S):
            line.set_description_str(text())


def _repeat(text: Callable[[], str], over: threading.Event) -> None:
    """Write `text` to a log now and then, less often the longer it takes."""
    began, pause = time.monotonic(), 0.0
    while not over.wait(pause):
        click.echo(f"faceprep: {text()}", err=True)
        pause = max(EVERY_S, (time.monotonic() - began) * _LINE_SHARE)


def _can_redraw() -> bool:
    """Return whether stderr is a terminal that states its width; some in containers do not."""
    return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0


@contextmanager
def counting_bar(quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows progress; it takes the number done and the total."""
    displays: list[_LiveDisplay] = []
    waiting = ExitStack()
    n_before = 0

    def report(n_done: int, total: int) -> None:
        nonlocal n_before
        if not displays and not quiet:
            waiting.close()
            displays.append(_LiveDisplay(_open_display("", total, 0, "item"), lambda: 0))
        for display in displays:
            display.update(n_done - n_before, total)
        n_before = n_done

    if not quiet:
        waiting.enter_context(waiting_line("preparing"))
    try:
        yield report
    finally:
        waiting.close()
        for display in displays:
            display.close()


def progress_bar(quiet: bool = False) -> Progress:
    """Return callbacks for the engine that show the progress of each stage."""
    if quiet:
        return Progress()
    stages = _StageDisplay()
    return Progress(stages.start, stages.step, stages.stop, stages.watch, waiting_line)


class _StageDisplay:
    """A display that is opened and closed with each stage of a run.

    A stage without inputs, such as a computation over all of them, shows its time alone.
    """

    def __init__(self) -> None:
        self._display: _LiveDisplay | None = None
        self._waiting = ExitStack()
        self._n_failed = 0
        self._sizes: dict[str, int] = {}
        self._total = 0
        self._count_begun: Callable[[], int] = lambda: 0

    def watch(self, count_begun: Callable[[], int]) -> None:
        self._count_begun = count_begun

    def start(self, stage: Stage, n_done: int, unit: str) -> None:
        self._sizes = {shard.id: len(shard) for shard in stage.shards}
        self._total = sum(self._sizes.values())
        if not self._total:
            self._waiting.enter_context(waiting_line(stage.name))
            return
        display = _open_display(stage.name, self._total, n_done, unit)
        self._display = _LiveDisplay(display, self._count_begun)

    def step(self, report: ShardReport) -> None:
        self._n_failed += count_failures(report.by_status)
        if self._display is not None:
            self._display.update(self._sizes[report.shard_id], self._total, failed=self._n_failed)

    def stop(self) -> None:
        self._waiting.close()
        if self._display is not None:
            self._display.close()
            self._display = None
