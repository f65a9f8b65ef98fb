"""The class map `NAME_classes.csv` of a manifest: number, name and images of each class.

Its counts are those of the run that wrote it, even if another output of the stem shares it.
Another manifest keeps its numbers with --classes.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from faceprep.core import os_errors, storage
from faceprep.core.errors import SourceError
from faceprep.core.io.csv import CsvReader, csv_bytes
from faceprep.core.names import CLASSES_CSV, VAL_END, output_of
from faceprep.core.os_errors import SuppressDamage
from faceprep.core.paths import is_file
from faceprep.core.text import count_noun

_COLUMNS = ["class", "name", "images"]
UNUSED = "their class numbers stay unused"

log = logging.getLogger("faceprep")


def name_for(output: Path) -> str:
    """Return the name of the class map beside an output.

    >>> name_for(Path("a/train.npz"))
    'train_classes.csv'
    """
    return f"{output.stem}_{CLASSES_CSV}"


def find_beside(path: Path) -> Path | None:
    """Find the class map of the set in a file: NAME_classes.csv or classes.csv beside it.

    A shard NAME-00000-of-00008 and a validation set NAME_val have the map of NAME. None without
    one. Raises SourceError if the disk fails.
    """
    output = Path(output_of(path.name))
    train = output.with_stem(output.stem.removesuffix(VAL_END))
    names = (name_for(path), name_for(output), name_for(train), CLASSES_CSV)
    tables = map(path.with_name, dict.fromkeys(names))
    return next(filter(is_file, tables), None)


class ClassRow(NamedTuple):
    """A row of the map; `images` counts training and validation images together."""

    number: int
    name: str
    images: int


def encode(names: Sequence[str], counts: Iterable[int]) -> bytes:
    """Return the bytes of a class map.

    >>> encode(["ann", "bob"], [3, 1])
    b'class,name,images\\n0,ann,3\\n1,bob,1\\n'
    """
    return csv_bytes(_COLUMNS, zip(range(len(names)), names, counts, strict=True))


def count_lost(paths: Iterable[Path]) -> Counter[str]:
    """Add up the images of each class that could not be written, as shards left them at `paths`."""
    lost: Counter[str] = Counter()
    for path in paths:
        lost.update(json.loads(storage.read_bytes(path)))
    return lost


def warn_of_empty(
    names: Sequence[str], effect: str = UNUSED, why: str = "without a sound image"
) -> None:
    """Warn of classes that have no images, if there are any: why, and the effect."""
    if names:
        n = count_noun(len(names), "class", "classes")
        log.warning("%s %s, such as %s: %s", n, why, names[0], effect)


def load(path: str | os.PathLike[str], errors: str = "strict") -> list[ClassRow]:
    """Read the rows of a class map in its order; empty ones are skipped.

    With `errors` surrogateescape, names that are not UTF-8 keep their bytes, as `encode` wrote
    them. Raises SourceError with the line, also for a name that has two numbers: its classes would
    become one.
    """
    with os_errors.guard("read", path, SourceError), storage.open_source(path) as file:
        rows = CsvReader(file, path, errors, from_excel=True)
        header = next(rows, [])
        if header != _COLUMNS:
            columns = ", ".join(header) or "nothing"
            raise _not_a_map(path, 1, f"columns {', '.join(_COLUMNS)}", columns)
        found = [(rows.line, _parse_row(path, rows.line, row)) for row in rows if any(row)]
    _refuse_two_numbers(path, found)
    return [row for _, row in found]


def _refuse_two_numbers(
    path: str | os.PathLike[str], found: Iterable[tuple[int, ClassRow]]
) -> None:
    """Raise SourceError for a name with two numbers; `found` are the lines and rows of the map."""
    firsts: dict[str, tuple[int, int]] = {}
    for line, row in found:
        first, number = firsts.setdefault(row.name, (line, row.number))
        if row.number != number:
            both = f"{row.name!r} as {number} in line {first} and as {row.number} in line {line}"
            raise _not_a_map(path, line, "one number for each name", both)


def _parse_row(path: str | os.PathLike[str], line: int, row: Sequence[str]) -> ClassRow:
    try:
        number, name, images = row
        parsed = ClassRow(int(number), name, int(images))
    except ValueError:
        parsed = None
    if parsed is None or not parsed.name:
        expected = "a class number, a name and a number of images"
        raise _not_a_map(path, line, expected, repr(",".join(row)[:80]))
    return parsed


def _not_a_map(path: str | os.PathLike[str], line: int, expected: str, found: str) -> SourceError:
    return SourceError(
        "not a class map",
        path=path,
        where=f"line {line}",
        expected=expected,
        found=found,
        remedy="Correct the line, or remove the map.",
    )


def has_classes(path: str | os.PathLike[str], names: Sequence[str]) -> bool:
    """Return whether `path` is a class map with these names, by number.

    Raises SourceError where the disk fails.
    """
    with SuppressDamage():
        rows = load(path, "surrogateescape")
        return [(row.number, row.name) for row in rows] == list(enumerate(names))
    return False


def has_some_classes(path: str | os.PathLike[str], names: Sequence[str]) -> bool:
    """Return whether `path` is a class map with some of these names, in their order.

    Raises SourceError where the disk fails.
    """
    left = iter(names)
    with SuppressDamage():
        rows = enumerate(load(path, "surrogateescape"))
        return all(row.number == number and row.name in left for number, row in rows)
    return False
