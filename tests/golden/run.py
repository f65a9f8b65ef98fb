"""Golden run: arguments, parallel cases, recorded results and the report.

python -m tests.golden OLD_CHECKOUT NEW_CHECKOUT           compare two checkouts
python -m tests.golden OLD_CHECKOUT --record old.json      store what one checkout computes
python -m tests.golden NEW_CHECKOUT --against old.json     compare with what was stored
"""

from __future__ import annotations

import argparse
import fcntl
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from tests.golden.cases import choose
from tests.golden.compare import Difference, compare_case
from tests.golden.drive import Checkout, Result, WrongCheckout, remove, run_case
from tests.golden.inputs import digest, make_inputs
from tests.golden.intended import find_reason
from tests.golden.steps import Case

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
_SHOWN = 3
"""Differences of one kind that are shown."""

Pair = tuple[Result, Result]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the golden run; return 1 where something differs that should not, 2 on wrong usage."""
    options = _parser().parse_args(arguments)
    cases = choose(options.only)
    problem = _problem_of(options, cases)
    if problem:
        click.echo(problem, err=True)
        return 2
    if options.list:
        click.echo("\n".join(case.name for case in cases))
        return 0
    try:
        with _locked(options.work):
            return _run(options, cases)
    except (BlockingIOError, WrongCheckout) as error:
        click.echo(f"{options.work}: {error}", err=True)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("checkouts", nargs="+", type=Path, metavar="CHECKOUT", help="one or two checkouts")
    add("--only", nargs="+", default=[], metavar="NAME", help="run these cases, groups or globs")
    add("--data", type=Path, default=_DATA, metavar="FOLDER", help="take the real data from here")
    add("--record", type=Path, metavar="FILE", help="store the results of one checkout")
    add("--against", type=Path, metavar="FILE", help="compare one checkout with stored results")
    add("--workers", type=int, default=2, metavar="N", help="run N cases at a time")
    add("--keep", action="store_true", help="keep the outputs in the work folder")
    add("--text", action="store_true", help="list differences of wording as well")
    add("--list", action="store_true", help="list the cases and stop")
    default = Path(tempfile.gettempdir()) / "faceprep-golden"
    add("--work", type=Path, default=default, metavar="FOLDER", help="use this work folder")
    return parser


def _problem_of(options: argparse.Namespace, cases: list[Case]) -> str:
    """Return what is wrong with the arguments; empty where nothing is."""
    wanted = 1 if options.record or options.against or options.list else 2
    if len(options.checkouts) != wanted:
        return f"expected {wanted} checkouts, got {len(options.checkouts)}"
    if not cases:
        return "--only: no case fits"
    if not (options.data / "mxnet").is_dir():
        return f"--data: expected the folder with the real data, got {options.data}"
    return ""


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Hold the work folder, which two runs cannot share."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _run(options: argparse.Namespace, cases: list[Case]) -> int:
    began, work = time.monotonic(), options.work.resolve()
    checkouts = _prepare(options, work)
    stored = json.loads(options.against.read_text()) if options.against else None
    inputs = digest(work / "inputs")
    if stored and (stored["inputs"], stored["work"]) != (inputs, str(work)):
        click.echo("the stored results come from other inputs or another --work", err=True)
        return 2
    golden = _Golden(options, checkouts, stored)
    status = golden.run(cases)
    if options.record:
        kept = {"inputs": inputs, "work": str(work), "results": golden.results}
        options.record.write_text(json.dumps(kept, ensure_ascii=False))
    if digest(work / "inputs") != inputs:
        click.echo("DIFFERENT: a command changed its inputs")
        status = 1
    click.echo(f"{golden.summary()}; {time.monotonic() - began:.0f} s")
    return status


def _prepare(options: argparse.Namespace, work: Path) -> list[Checkout]:
    """Empty the work folder, make the inputs and check the checkouts."""
    labels = ("old", "new") if len(options.checkouts) == 2 else ("new",)
    for name in ("inputs", "run", "home", "old", "new"):
        remove(work / name)
    make_inputs(options.data.resolve(), work / "inputs")
    pairs = zip(labels, options.checkouts, strict=True)
    checkouts = [Checkout(label, root.resolve(), work) for label, root in pairs]
    for checkout in checkouts:
        checkout.check()
    return checkouts


class _Golden:
    """One run over the cases, which reports each as it ends."""

    def __init__(self, options: argparse.Namespace, checkouts: list[Checkout], stored: Any) -> None:
        self._options, self._checkouts, self._stored = options, checkouts, stored
        self._counts = {"equal": 0, "intended": 0, "DIFFERENT": 0, "recorded": 0}
        self.results: dict[str, Result] = {}

    def run(self, cases: list[Case]) -> int:
        """Run all cases, several at a time."""
        with ThreadPoolExecutor(self._options.workers) as pool:
            for case, results in zip(cases, pool.map(self._run_case, cases), strict=True):
                self._take(case, results)
        return 1 if self._counts["DIFFERENT"] else 0

    def summary(self) -> str:
        """Return how many cases came out how."""
        return ", ".join(f"{n} {name}" for name, n in self._counts.items() if n)

    def _run_case(self, case: Case) -> list[Result]:
        results = [run_case(case, checkout) for checkout in self._checkouts]
        if not self._options.keep:
            for checkout in self._checkouts:
                remove(checkout.work / checkout.label / case.folder)
        return results

    def _take(self, case: Case, results: list[Result]) -> None:
        if self._options.record:
            self.results[case.name] = results[0]
            self._counts["recorded"] += 1
            return
        if self._stored:
            before = self._stored["results"].get(case.name)
            results = [before or [], *results]
        differences = compare_case(case.name, *results)
        verdict, lines = judge(differences, self._options.text)
        self._counts[verdict] += 1
        click.echo("\n          ".join([f"{verdict:9} {case.name}", *lines]))


def judge(differences: list[Difference], with_text: bool = False) -> tuple[str, list[str]]:
    """Return equal, intended or DIFFERENT for a case, and the lines that say why."""
    reasons = [(difference, find_reason(difference)) for difference in differences]
    wrong = [difference for difference, entry in reasons if entry is None]
    known: dict[str, list[Difference]] = {}
    for difference, entry in reasons:
        if entry is not None and (with_text or not entry.is_text):
            known.setdefault(entry.why, []).append(difference)
    verdict = "DIFFERENT" if wrong else "intended" if known else "equal"
    lines = [f"DIFFERENT: {line}" for line in _fold(wrong)]
    for why, items in known.items():
        lines += [f"intended: {line} [{why}]" for line in _fold(items)]
    return verdict, lines


def _fold(differences: list[Difference]) -> list[str]:
    """Describe differences; of those alike in step, kind and family, show the first few."""
    alike: dict[tuple[int, str, str], list[Difference]] = {}
    for difference in differences:
        key = (difference.step, difference.kind, _family(difference))
        alike.setdefault(key, []).append(difference)
    lines: list[str] = []
    for (step, kind, family), items in alike.items():
        lines += [str(item) for item in items[:_SHOWN]]
        if len(items) > _SHOWN:
            lines.append(f"step {step} {kind}: {len(items) - _SHOWN} more {family}".rstrip())
    return lines


def _family(difference: Difference) -> str:
    """Return the file of a place in a file, or the suffix of a file."""
    if not difference.kind.startswith("output"):
        return ""
    file, mark, _ = difference.field.partition("::")
    return f"in {file}" if mark else Path(file).suffix
