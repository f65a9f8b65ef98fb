"""Tables of figures: printed for people, and recorded for `python -m benchmarks`."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping

Cell = float | str
Rows = Mapping[str, Mapping[str, Cell]]

RECORD = "FACEPREP_BENCHMARK_RECORD"
"""The environment variable that names the file of recorded tables, one JSON object a line."""
RUNS = "runs"
"""The column of single runs: printed and recorded, but not shown in the docs."""


def show_table(title: str, rows: Rows, note: str = "") -> None:
    """Print the rows in aligned columns, and record them where the runner asks for it."""
    cells = cells_of(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}: {note}" if note else f"\n{title}")
    for name, *values in cells:
        shown = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        print("  ".join([name.ljust(widths[0]), *shown]), flush=True)
    path = os.environ.get(RECORD)
    if path:
        table = {"title": title, "note": note, "rows": rows}
        with open(path, "a") as file:
            file.write(json.dumps(table, default=float, ensure_ascii=False) + "\n")


def cells_of(rows: Rows) -> list[list[str]]:
    """Return the text of a table, its heads first; a row may lack some of the columns."""
    heads = list(dict.fromkeys(head for row in rows.values() for head in row))
    lines = [
        [name, *(format_cell(row.get(head, "")) for head in heads)] for name, row in rows.items()
    ]
    return [["", *heads], *lines]


def format_cell(value: Cell) -> str:
    """Format a number with three digits, a large or whole one with all of its digits."""
    if isinstance(value, str):
        return value
    value = float(value)
    if value.is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def peak_mb(who: int = resource.RUSAGE_SELF) -> float:
    """Return the most resident memory of this process, or of the largest of its children."""
    return resource.getrusage(who).ru_maxrss / 1024
