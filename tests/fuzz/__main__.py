"""Fuzz the parsers of faceprep, and print what ends in anything but a named error.

python -m tests.fuzz                                  1,000 mutations of each target
python -m tests.fuzz parquet npz --seconds 600        ten minutes of each of two targets
python -m tests.fuzz parquet --mutation 1234          one mutation again
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from tests.fuzz.isolation import Isolated
from tests.fuzz.targets import TARGETS


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(TARGETS)), metavar="[TARGET]...")
@click.option("--mutations", default=1000, show_default=True, help="Try so many of each target.")
@click.option("--first", default=0, show_default=True, help="Begin with this mutation.")
@click.option("--seconds", type=float, help="Try mutations for so long, of each target.")
@click.option("--mutation", "numbers", type=int, multiple=True, help="Try this one only.")
def main(
    names: Sequence[str], mutations: int, first: int, seconds: float | None, numbers: Sequence[int]
) -> None:
    """Fuzz the parsers; exit with 1 where one fails."""
    chosen: Iterable[int] = numbers or range(first, first + mutations)
    if seconds:
        chosen = itertools.count(first)
    n_found = sum(_try(name, chosen, seconds) for name in names or TARGETS)
    sys.exit(1 if n_found else 0)


def _try(name: str, numbers: Iterable[int], seconds: float | None) -> int:
    """Try mutations of one target and print its row. Return how many faults were found."""
    started = time.monotonic()
    n_tried, found = 0, {}
    with tempfile.TemporaryDirectory() as folder, Isolated(name, Path(folder)) as trial:
        for number in numbers:
            if seconds and time.monotonic() - started > seconds:
                break
            n_tried += 1
            if problem := trial.try_mutation(number):
                found.setdefault(problem, number)
    click.echo(
        f"{name:26}{n_tried:9,} tried{len(found):5} faults{time.monotonic() - started:8.1f} s"
    )
    for problem, number in found.items():
        click.echo(f"    --mutation {number}: {problem}")
    return len(found)


if __name__ == "__main__":
    main()
