"""Which images show what a decision is about.

A picture is asked for by the number of its decision, its role there and its place in that role. So
no path ever comes from outside: only what the plan names can be seen, and what lies in the
identities that it names. Names are resolved within the plan's source (within its `origin` for what
is restored), links and all; an absolute path, of a test set that duplicates are looked for in, is
taken as the plan has it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from faceprep.core.errors import SourceError
from faceprep.core.names import identity_of
from faceprep.core.types import DROP, MERGE, MOVE, RESTORE, Decision
from faceprep.sets.folder import is_image_name, read_identity

LEAD, FOR, AGAINST, SUBJECT, INTO = "lead", "for", "against", "subject", "into"
ROLES = (LEAD, FOR, AGAINST, SUBJECT, INTO)
_HELD = 4096


class Strip(NamedTuple):
    """Names of images for one role; `total` counts those that are left out, too."""

    title: str
    names: Sequence[str]
    total: int
    likeness: float | None = None


class Gallery:
    """The images of a plan's decisions; at most `most` of an identity."""

    def __init__(self, judged: Mapping[str, Any], most: int = 40) -> None:
        self._source = str(judged.get("source") or "")
        self._origin = str(judged.get("origin") or "")
        self._most = most
        self._images = lru_cache(_HELD)(self._list_identity)

    def strips(self, decision: Decision) -> dict[str, Strip]:
        """By role: `lead` is the image that it is about, with the one that is kept; `for` and
        `against` the strongest evidence; `subject` and `into` are the identities. Roles without an
        image are left out.
        """
        strips = {LEAD: self._lead(decision)}
        for role in (FOR, AGAINST):
            strips[role] = _evidence(decision.evidence.get(role))
        strips[SUBJECT] = self._identity(self._first_identity(decision))
        if second := self._second_identity(decision):
            strips[INTO] = self._identity(second)
        return {role: strip for role, strip in strips.items() if strip.names or strip.title}

    def locate(self, decision: Decision, role: str, place: int) -> str:
        """The path of one image of `strips`. Raises SourceError where there is none that may be
        shown.
        """
        strip = self.strips(decision).get(role)
        if strip is None or not 0 <= place < len(strip.names):
            raise SourceError("no such image", found=f"{role} {place}")
        return self.path_of(decision, role, strip.names[place])

    def path_of(self, decision: Decision, role: str, name: str) -> str:
        """The path of a `name` that `strips` has for the role. Raises SourceError where it may
        not be shown.
        """
        return _resolve(
            self._origin if decision.action == RESTORE and role == LEAD else self._source, name
        )

    def _lead(self, decision: Decision) -> Strip:
        if decision.action == MERGE or not is_image_name(decision.subject.rpartition("/")[2]):
            return Strip("", (), 0)
        kept = decision.evidence.get("kept")
        names = [decision.subject, *([kept] if isinstance(kept, str) else [])]
        return Strip(
            decision.subject, names, len(names), _number(decision.evidence.get("likeness"))
        )

    def _first_identity(self, decision: Decision) -> str:
        if decision.action == MERGE or self._images(decision.subject):
            return decision.subject
        return "" if decision.action == RESTORE else identity_of(decision.subject)

    def _second_identity(self, decision: Decision) -> str:
        if decision.action in (MERGE, MOVE):
            return decision.into
        kept = decision.evidence.get("kept")
        if decision.action != DROP or not isinstance(kept, str) or os.path.isabs(kept):
            return ""
        identity = identity_of(kept)
        return "" if identity == self._first_identity(decision) else identity

    def _identity(self, name: str) -> Strip:
        names = self._images(name) if name else ()
        n = len(names)
        shown = (
            names if n <= self._most else [names[i * n // self._most] for i in range(self._most)]
        )
        return Strip(name, [image if name == "." else f"{name}/{image}" for image in shown], n)

    def _list_identity(self, name: str) -> Sequence[str]:
        try:
            return read_identity(Path(_inside(self._source, name)), ".").images
        except SourceError:
            return ()


def _evidence(found: Any) -> Strip:
    """Of [image, image, likeness], as plans have it."""
    if (
        not isinstance(found, list)
        or len(found) < 2
        or not all(isinstance(name, str) for name in found[:2])
    ):
        return Strip("", (), 0)
    return Strip("", found[:2], 2, _number(found[2]) if len(found) > 2 else None)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _resolve(root: str, name: str) -> str:
    if not is_image_name(name.rpartition("/")[2]):
        raise SourceError("not an image", path=name)
    path = os.path.realpath(name) if os.path.isabs(name) else _inside(root, name)
    if not os.path.isfile(path):
        raise SourceError("no such file", path=name)
    return path


def _inside(root: str, name: str) -> str:
    """The real path of `name` below `root`. Raises SourceError when it is elsewhere."""
    if not root or "\0" in name:
        raise SourceError(
            "the plan does not say where its images are", expected="source, an absolute path"
        )
    folder = os.path.realpath(root)
    path = os.path.realpath(os.path.join(folder, name))
    if os.path.commonpath([folder, path]) != folder:
        raise SourceError(
            "lies outside of the folder that the plan is about", path=name, expected=root
        )
    return path
