"""The failures.csv of a run, as any program reads it."""

from __future__ import annotations

import csv
from pathlib import Path


def read_failures(output: Path) -> list[dict[str, str]]:
    """Return the rows of the failures.csv in a folder, or beside a file; none without one."""
    folder = output if output.is_dir() else output.parent / ".faceprep" / output.name
    path = folder / "failures.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def failure_lines(output: Path) -> list[list[str]]:
    """Return the same rows as lists: input, status, reason."""
    return [list(row.values()) for row in read_failures(output)]
