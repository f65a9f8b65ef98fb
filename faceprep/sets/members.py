"""Members of archives: names that stay inside the set, and members that are skipped."""

from __future__ import annotations

import logging
import os

from faceprep.core.errors import SourceError

_N_NAMED = 3

log = logging.getLogger("faceprep")


def read_path(name: str) -> str:
    """Return the path of a member without `./` and empty parts.

    Raises SourceError for one that leads out of the set.

    >>> read_path("./a//b.jpg")
    'a/b.jpg'
    """
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise SourceError(
            f"the member {name!r} leads out of the set",
            expected="names such as IDENTITY/NAME.jpg",
            remedy="Make the file again with other names.",
        )
    return "/".join(part for part in parts if part not in ("", "."))


class SkippedFiles:
    """Counts of files by the reason why they are skipped, with the first names.

    >>> skipped = SkippedFiles()
    >>> skipped.add("not images", "a.txt")
    >>> skipped.lines()
    ['1 skipped, not images: a.txt']
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Count one file."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        names = self._names.setdefault(reason, [])
        if len(names) < _N_NAMED:
            names.append(name.encode("utf-8", "backslashreplace").decode())

    def lines(self) -> list[str]:
        """Return one line for each reason."""
        lines = []
        for reason, n in self._counts.items():
            names = ", ".join(self._names[reason])
            if n > _N_NAMED:
                names += " …"
            lines.append(f"{n:,} skipped, {reason}: {names}")
        return lines

    def warn(self, path: str | os.PathLike[str]) -> None:
        """Log the lines as warnings about the container at `path`."""
        for line in self.lines():
            log.warning("%s: %s", os.fspath(path), line)
