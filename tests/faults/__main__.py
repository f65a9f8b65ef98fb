"""Disturb the commands of faceprep at every change of a file, and print what was found.

python -m tests.faults                                 every point of every case
python -m tests.faults rec2folder apply --sample 50    50 points of each of two cases
python -m tests.faults apply --point kill@37           one point again
python -m tests.faults --runner processes              with worker processes
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from tests.faults.cases import CASES, Case
from tests.faults.harness import Trial, open_harness
from tests.faults.injection import compiler
from tests.faults.points import Point, choose_points

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
    "--point", "texts", multiple=True, help="Try this point, such as EIO@12. May be repeated."
)
def main(
    names: Sequence[str], sample: int | None, turn: int, runner: str, texts: Sequence[str]
) -> None:
    """Disturb commands at every change of a file; exit with 1 when one does not stand it."""
    if compiler() is None:
        raise click.ClickException("a C compiler is needed, cc, gcc or clang")
    wanted = [Point.parse(text) for text in texts]
    n_found = 0
    click.echo(f"{'case':24}{'points':>8}{'tried':>8}{'faults':>8}{'seconds':>9}")
    for name in names or CASES:
        case = CASES[name]
        if runner != "serial" and not case.is_run:
            continue
        n_found += _disturb(name, case, (runner, wanted, sample or case.slow or None, turn))
    click.echo(f"{n_found} faults found")
    sys.exit(1 if n_found else 0)


def _disturb(name: str, case: Case, how: tuple[str, list[Point], int | None, int]) -> int:
    """Try the points of one case and print its row. Return how many faults were found."""
    runner, wanted, n, turn = how
    started = time.monotonic()
    memory = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=memory) as folder,
        open_harness(Path(folder).resolve()) as harness,
    ):
        trial = Trial(harness, case, runner)
        chosen = wanted or choose_points(trial.points, n, turn)
        for point in chosen:
            trial.try_point(point)
    seconds = time.monotonic() - started
    counts = (len(trial.points), trial.n_tried, len(trial.findings))
    note = "" if len(chosen) in (len(trial.points), len(wanted)) else "  sampled"
    click.echo(f"{name:24}" + "".join(f"{count:8}" for count in counts) + f"{seconds:9.1f}{note}")
    for finding in trial.findings:
        click.echo(f"    {finding}")
    return len(trial.findings)


if __name__ == "__main__":
    main()
