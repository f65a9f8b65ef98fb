"""Driver of one checkout: runs the steps of a case and records what came of each."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.golden.edits import EDITS
from tests.golden.normalize import Names, parse_object
from tests.golden.snapshot import Entry, take_snapshot
from tests.golden.steps import Case, Step, complete

Result = list[dict[str, Any]]
_TIMEOUT_S = 240
_OPTION = re.compile(r"^ {1,4}(?:-\w, )?(--[a-z][a-z-]*)(?: / (--[a-z-]+))?", re.MULTILINE)
_COMMAND = re.compile(r"^  ([a-z][a-z0-9-]+)  ", re.MULTILINE)


class WrongCheckout(Exception):
    """A folder whose faceprep is not the one that runs."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """One checkout under test; `label` is old or new, and `work` is the work folder of the run."""

    label: str
    root: Path
    work: Path

    @property
    def names(self) -> Names:
        """Return the names that replace the paths of this run."""
        return Names({"WORK": self.work, "CHECKOUT": self.root})

    def environment(self) -> dict[str, str]:
        """Return the variables of a child process; its home and caches are in the work folder."""
        home = self.work / "home" / self.label
        home.mkdir(parents=True, exist_ok=True)
        changed = {
            "PYTHONPATH": str(self.root),
            "PYTHONPYCACHEPREFIX": str(home / "pycache"),
            "HOME": str(home),
            "COLUMNS": "100",
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        dropped = ("XDG_", "PYTHONDONTWRITEBYTECODE")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        return kept | changed

    def call(self, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run one command line in `folder`."""
        return subprocess.run(
            [sys.executable, "-m", "faceprep", *words],
            cwd=folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            encoding="utf-8",
            errors="backslashreplace",
            check=False,
        )

    def check(self) -> None:
        """Raise WrongCheckout unless Python takes faceprep from this checkout."""
        code = "import faceprep; print(faceprep.__file__)"
        told = subprocess.run(
            [sys.executable, "-c", code],
            env=self.environment(),
            cwd=self.work,
            capture_output=True,
            text=True,
            check=False,
        )
        if not Path(told.stdout.strip() or "/").is_relative_to(self.root):
            raise WrongCheckout(f"{self.root}: faceprep comes from {told.stdout or told.stderr}")


def run_case(case: Case, checkout: Checkout) -> Result:
    """Run a case in its work folder and move the folder aside afterwards."""
    folder = checkout.work / "run" / case.folder
    remove(folder)
    folder.mkdir(parents=True)
    for name, source in case.copies:
        _copy(Path(_fill(source, checkout)), folder / name)
    before = take_snapshot(folder, checkout.names)[0]
    result: Result = []
    for step in case.steps:
        record = _run_step(step, checkout, folder)
        outputs, record["state"] = take_snapshot(folder, checkout.names)
        record["outputs"] = _changes(before, outputs)
        before = outputs
        result.append(record)
    aside = checkout.work / checkout.label / case.folder
    remove(aside)
    aside.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(aside)
    return result


def remove(folder: Path) -> None:
    """Remove a folder if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _fill(words: str, checkout: Checkout) -> str:
    inputs = checkout.work / "inputs"
    filled = words.replace("{data}", str(inputs / "data"))
    return filled.replace("{made}", str(inputs / "made"))


def _run_step(step: Step, checkout: Checkout, folder: Path) -> dict[str, Any]:
    words = shlex.split(_fill(step.words, checkout))
    if step.edit:
        return _run_edit(step, words, folder)
    record: dict[str, Any] = {"words": step.words}
    try:
        done = checkout.call(complete(step, words), folder)
    except subprocess.TimeoutExpired:
        return record | {"exit": "timeout"}
    names = checkout.names
    told = parse_object(done.stdout)
    record |= {"exit": done.returncode, "json": names.scrub(told)}
    record["stderr"] = names.lines(done.stderr)
    if told is None:
        record["stdout"] = names.lines(done.stdout)
    if "--help" in words:
        record["names"] = _named_in_help(done.stdout)
    record["failures"] = _read_failures(told or {}, folder, names)
    return record


def _run_edit(step: Step, words: list[str], folder: Path) -> dict[str, Any]:
    record = {"words": f"({step.edit} {step.words})"}
    try:
        EDITS[step.edit](*(folder / word for word in words))
    except (OSError, ValueError, KeyError) as error:
        return record | {"exit": f"edit failed: {type(error).__name__}"}
    return record | {"exit": 0}


def _named_in_help(text: str) -> list[str]:
    """List the options and commands of a help page.

    >>> _named_in_help("  -h, --help  Show.\\n  --flip / --no-flip  Both.\\n  embed   Vectors.")
    ['--flip', '--help', '--no-flip', 'embed']
    """
    options = [name for pair in _OPTION.findall(text) for name in pair if name]
    return sorted({*options, *_COMMAND.findall(text)})


def _read_failures(told: dict[str, Any], folder: Path, names: Names) -> list[list[str]]:
    """Read the rows of the CSV of failures that the summary names."""
    place = told.get("failures")
    path = folder / place if isinstance(place, str) and place else None
    if path is None or not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="backslashreplace") as file:
        rows = list(csv.reader(file))[1:]
    return sorted([names.clean(value) for value in row] for row in rows)


def _changes(before: dict[str, Entry], after: dict[str, Entry]) -> dict[str, Entry]:
    """Return the entries that are new or changed, and a mark for each that is gone."""
    changed = {path: entry for path, entry in after.items() if before.get(path) != entry}
    gone = {path: {"sha256": "removed"} for path in before if path not in after}
    return changed | gone
