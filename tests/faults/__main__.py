"""Disturb the commands of faceprep at every change of a file, and print what was found.

python -m tests.faults                                 every point of every case
python -m tests.faults --reads                         at every read instead
python -m tests.faults rec2folder apply --sample 50    50 points of each of two cases
python -m tests.faults apply --point kill@37           one point again
python -m tests.faults --runner processes              with worker processes
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path

import click

from tests.faults.cases import CASES
from tests.faults.harness import SCENES, Trial, open_harness
from tests.faults.injection import compiler
from tests.faults.points import Point
from tests.turns import choose_points

_IN_MEMORY = Path("/dev/shm")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(CASES)), metavar="[CASE]...")
@click.option(
    "--sample", type=click.IntRange(1), help="Try so many points of each case.  [default: all]"
)
@click.option("--turn", default=0, help="Take other points of the sample.", show_default=True)
@click.option(
    "--runner", type=click.Choice(["serial", "processes"]), default="serial", show_default=True
)
@click.option(
    "--reads",
    "scenes",
    flag_value=SCENES,
    type=click.UNPROCESSED,
    default=("",),
    help="Disturb reads instead of changes.",
)
@click.option(
    "--point", "texts", multiple=True, help="Try this point, such as EIO@12. May be repeated."
)
def main(
    names: Sequence[str],
    sample: int | None,
    turn: int,
    runner: str,
    scenes: Sequence[str],
    texts: Sequence[str],
) -> None:
    """Disturb commands at every change of a file, or every read; exit with 1 when one fails."""
    if compiler() is None:
        raise click.ClickException("a C compiler is needed, cc, gcc or clang")
    wanted = [Point.parse(text) for text in texts]
    click.echo(f"{'case':32}{'points':>7}{'tried':>7}{'faults':>7}{'seconds':>9}")
    chosen = [name for name in names or CASES if runner == "serial" or CASES[name].is_run]
    n_tried = n_found = 0
    for name, scene in product(chosen, scenes):
        n = sample or CASES[name].slow or None
        choose = partial(choose_points, n=n, turn=turn)
        trial = _disturb(name, scene, runner, (lambda points: wanted) if wanted else choose)
        n_tried, n_found = n_tried + trial.n_tried, n_found + len(trial.findings)
    click.echo(f"{n_tried:,} points tried, {n_found:,} faults found")
    sys.exit(1 if n_found else 0)


def _disturb(
    name: str, scene: str, runner: str, choose: Callable[[list[Point]], list[Point]]
) -> Trial:
    """Try the points of one case and print its row."""
    started = time.monotonic()
    memory = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=memory))
        harness = stack.enter_context(open_harness(Path(folder).resolve()))
        trial = Trial(harness, CASES[name], runner, scene)
        chosen = choose(trial.points)
        for point in chosen:
            trial.try_point(point)
    _print_row(f"{name} {scene}", trial, len(chosen), time.monotonic() - started)
    return trial


def _print_row(name: str, trial: Trial, n_chosen: int, seconds: float) -> None:
    counts = (len(trial.points), trial.n_tried, len(trial.findings))
    note = "  sampled" if n_chosen < len(trial.points) else ""
    columns = "".join(f"{count:7}" for count in counts)
    click.echo(f"{name:32}{columns}{seconds:9.1f}{note}")
    for finding in trial.findings:
        click.echo(f"    {finding}")


if __name__ == "__main__":
    main()
