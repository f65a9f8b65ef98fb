"""Run candidates in turn, several times, and print medians side by side."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

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
    title: str, n_items: int, candidates: dict[str, Candidate], repeats: int = 3
) -> dict[str, float]:
    """Median seconds of each candidate, taken in turn so that a noisy minute hits them all.

    A candidate that returns a number has timed itself (to leave its preparation out). The first is
    the yardstick. The seconds of the processor, preparation and child processes included, depend
    less on what else the machine does.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    busy: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, candidate in candidates.items():
            started, used = time.perf_counter(), _processor_seconds()
            own = candidate()
            seconds[name].append(own if own is not None else time.perf_counter() - started)
            busy[name].append(_processor_seconds() - used)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    base = next(iter(medians.values()))
    print(f"\n{title}: {n_items:,} items, median of {repeats}")
    print(f"{'':44s}{'seconds':>9s}{'a second':>12s}{'ratio':>8s}{'CPU':>9s}   runs")
    for name, median in medians.items():
        runs = " ".join(f"{run:.2f}" for run in seconds[name])
        rate, ratio, used = n_items / median, base / median, statistics.median(busy[name])
        print(f"{name:44s}{median:9.2f}{rate:12,.0f}{ratio:8.2f}{used:9.2f}   {runs}", flush=True)
    return medians


def _processor_seconds() -> float:
    """Return the seconds of the processor that this process and its ended children took."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
