"""The names of the classes of a list: those of the class map beside it, or else the numbers."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from faceprep.sets import class_map
from faceprep.sets.class_map import ClassRow
from faceprep.sets.lists import ListedImage
from faceprep.sets.recordio.records import IdentityNames

log = logging.getLogger("faceprep")

_NO_CLASS = -1
"""The class of an image without an identity."""
_real_names = IdentityNames()


class ClassNames(NamedTuple):
    """The names of the classes of a list by number, empty where it has no map.

    `are_values` says that its labels are values such as angles, since one of them is a fraction.
    """

    names: Mapping[float, str]
    are_values: bool = False

    def name(self, label: float) -> str:
        """Return the name of a class; empty for -1 and for a label that is not finite.

        >>> ClassNames({3: "ann"}).name(3), ClassNames({}).name(3.0), ClassNames({}).name(-1)
        ('ann', '3', '')
        >>> ClassNames({}, are_values=True).name(-1), ClassNames({}).name(0.5)
        ('-1', '0.5')
        """
        if label == _NO_CLASS and not self.are_values:
            return ""
        if label in self.names:
            return self.names[label]
        if isinstance(label, int):
            return str(label)  # exact, where a float is not
        return _real_names[label]


class ClassSurvey:
    """A look at all images of the list at `path`, which shows how its classes are named.

    The map is read when the first image needs it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: _Map | None = None
        self._lacking: float | None = None
        self._are_values = False

    def add(self, row: ListedImage) -> None:
        """Look at one image. Raises SourceError for a class map that cannot be read."""
        label = row.label
        if row.identity or label is None or label == _NO_CLASS or not math.isfinite(label):
            return
        if self._map is None:
            self._map = _load_map(self._path)
        self._are_values = self._are_values or label != int(label)
        if self._lacking is None and label not in self._map.names:
            self._lacking = label

    def class_names(self) -> ClassNames:
        """Return the names of the classes; warn of a map that does not fit the list."""
        found = self._map
        if found is None or found.path is None:
            return ClassNames({}, self._are_values)
        problem = found.problem
        if not problem and self._lacking is not None:
            problem = f"lacks the class {self._lacking}"
        if not problem:
            return ClassNames(found.names, self._are_values)
        log.warning(
            "%s: it %s, so its names are not used, and the identities of %s are the class numbers. "
            "Correct the map to use its names.",
            found.path,
            problem,
            self._path,
        )
        return ClassNames({}, self._are_values)


class _Map(NamedTuple):
    """The class map beside a list: its path, its names by number, and why it cannot be used."""

    path: Path | None
    names: Mapping[float, str]
    problem: str = ""


def _load_map(path: Path) -> _Map:
    """Load the class map beside the list at `path`. Raises SourceError."""
    table = class_map.find_beside(path)
    if table is None:
        return _Map(None, {})
    rows = class_map.load(table)
    return _Map(table, {row.number: row.name for row in rows}, _find_repeat(rows))


def _find_repeat(rows: Sequence[ClassRow]) -> str:
    """Return that a number is there twice; empty where each is there once."""
    seen: set[int] = set()
    for row in rows:
        if row.number in seen:
            return f"has the class {row.number} twice"
        seen.add(row.number)
    return ""
