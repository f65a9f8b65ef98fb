"""Run candidates in turn, several times, and show medians side by side."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping

from figures import RUNS, show_table

Candidate = Callable[[], float | None]

# pip compiles what it installs: a checkout that may not keep its bytecode would start slower than
# any peer.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def describe_options(text: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the docstring of a script as it stands."""
    return argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def side_by_side(
    title: str,
    n_items: int,
    candidates: dict[str, Candidate],
    repeats: int = 3,
    fewer: Mapping[str, int] | None = None,
) -> dict[str, float]:
    """Show the median seconds of candidates taken in turn, so that a noisy minute hits them all.

    A candidate that returns a number has timed itself (to leave its preparation out). The first is
    the yardstick. The seconds of the processor, preparation and child processes included, depend
    less on what else the machine does. `fewer` has the items of slow candidates that take a part.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    busy: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, candidate in candidates.items():
            started, used = time.perf_counter(), processor_seconds()
            own = candidate()
            seconds[name].append(own if own is not None else time.perf_counter() - started)
            busy[name].append(processor_seconds() - used)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    rates = {name: (fewer or {}).get(name, n_items) / median for name, median in medians.items()}
    base = next(iter(rates.values()))
    rows = {
        name: {
            "seconds": median,
            "a second": rates[name],
            "times as fast": rates[name] / base,
            "CPU s": statistics.median(busy[name]),
            RUNS: " ".join(f"{run:.2f}" for run in seconds[name]),
        }
        for name, median in medians.items()
    }
    for name, n in (fewer or {}).items():
        rows[name]["items"] = n
    show_table(title, rows, f"{n_items:,} items, {describe_runs(repeats)}")
    return medians


def describe_runs(repeats: int) -> str:
    """Return "once" or "median of 3"."""
    return f"median of {repeats}" if repeats > 1 else "once"


def processor_seconds() -> float:
    """Return the seconds of the processor that this process and its ended children took."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
