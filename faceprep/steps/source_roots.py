"""Inputs of several sources: each has a path below its own source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from faceprep.core.errors import SourceError
from faceprep.core.paths import real_path


class SourceRoots:
    """The folder `of` each input's path that the path is below, in the order of the sources.

    `noun` names an input in messages. Raises SourceError where a source is named twice or lies in
    another, because its inputs would be taken twice.
    """

    def __init__(self, sources: Sequence[Path], noun: str) -> None:
        _refuse_nested(sources, noun)
        self.of: dict[str, Path] = {}
        self._noun = noun

    def add(self, root: Path, paths: Iterable[str]) -> None:
        """Add inputs below `root`. Raises SourceError where two would have the same output."""
        for path in paths:
            if path in self.of:
                raise SourceError(
                    f"two {self._noun}s would have the same output",
                    path=root / path,
                    found=f"{self.of[path] / path}",
                    remedy="Extract them to different outputs, or name the folder that both are "
                    "in.",
                )
            self.of[path] = root


def _refuse_nested(sources: Sequence[Path], noun: str) -> None:
    known: dict[str, Path] = {}
    for source in sources:
        place = real_path(source)
        if place in known:
            remedy = f"Name each {noun} once."
            raise SourceError("the same source is named twice", path=source, remedy=remedy)
        known[place] = source
    for place, source in known.items():
        above = next((known[each] for each in _folders_above(place) if each in known), None)
        if above is not None:
            raise SourceError(
                "a source lies in another one",
                path=source,
                found=f"{above}",
                remedy=f"Name each {noun} once.",
            )


def _folders_above(place: str) -> Iterable[str]:
    while "/" in place:
        place = place.rpartition("/")[0]
        yield place or "/"
