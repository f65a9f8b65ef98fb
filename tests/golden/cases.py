"""All cases of the golden run, in the order in which they start."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch

from tests.golden import cases_containers, cases_faces, cases_people, cases_wrong
from tests.golden.steps import Case

_MODULES = (cases_containers, cases_wrong, cases_people, cases_faces)


def all_cases() -> list[Case]:
    """Return every case; slow ones come last."""
    found = [case for module in _MODULES for case in module.cases()]
    return sorted(found, key=lambda case: case.weight)


def choose(names: Sequence[str]) -> list[Case]:
    """Return the cases that fit one of the names, patterns or groups; all where none is given.

    >>> [case.name for case in choose(["about"])]
    ['about/models', 'about/doctor']
    """
    return [case for case in all_cases() if not names or _fits(case.name, names)]


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) or name.startswith(f"{pattern}/") for pattern in patterns)
