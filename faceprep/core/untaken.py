"""Files of a source folder that a command skips: counted by suffix, and named at debug level."""

from __future__ import annotations

import logging
import os
from collections import Counter

from faceprep.core.state_file import STATE
from faceprep.core.text import count_noun

log = logging.getLogger("faceprep")
_N_SUFFIXES, _N_NAMED = 40, 3
_OTHERS, _NO_SUFFIX, _HIDDEN = "of other suffixes", "without suffix", "hidden"


OWN_FILES = frozenset(
    {
        "faces.parquet",
        "frames.parquet",
        "failures.csv",
        "plan.jsonl",
        "plan.jsonl.bak",
        "likeness.jsonl",
        "undo.jsonl",
        "report.html",
        "report.json",
        "README.md",
    }
)
"""Names of the files that faceprep itself writes beside the images of a set."""


def leave_out_own(folder: str, names: list[str]) -> list[str]:
    """Return the names without those that faceprep writes: its state, and files in the root.

    The root is ``""``.
    """
    names = [name for name in names if not name.startswith(STATE)]
    if folder:
        return names
    return [name for name in names if name not in OWN_FILES]


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _suffix_of(name: str) -> str:
    """Return what a file is counted by.

    >>> [_suffix_of(name) for name in ("a.JPG", "README", ".a.jpg")]
    ['.jpg', 'without suffix', 'hidden']
    """
    if _is_hidden(name):
        return _HIDDEN
    return os.path.splitext(name)[1].lower() or _NO_SUFFIX


class UntakenFiles:
    """Counts of the files below `root` that are not `expected`, such as `images`.

    A folder whose files are all skipped may be a person, so it is named.
    """

    def __init__(self, root: str | os.PathLike[str], expected: str) -> None:
        self._root, self._expected = os.fspath(root), expected
        self._by_suffix: Counter[str] = Counter()
        self._folders: list[str] = []
        self._n_folders = 0

    def add(self, folder: str, names: list[str], has_taken: bool) -> None:
        """Count the files `names` of one folder; `has_taken` if others of it are taken."""
        names = leave_out_own(folder, names)
        for name in names:
            path = os.path.join(folder, name)
            log.debug("%s: %r skipped: not among the %s", self._root, path, self._expected)
            suffix = _suffix_of(name)
            if suffix not in self._by_suffix and len(self._by_suffix) >= _N_SUFFIXES:
                suffix = _OTHERS
            self._by_suffix[suffix] += 1
        if folder and not has_taken and not all(map(_is_hidden, names)):
            self._n_folders += 1
            if len(self._folders) < _N_NAMED:
                self._folders.append(folder.encode("utf-8", "backslashreplace").decode())
            log.debug("%s: %r has no %s", self._root, folder, self._expected)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many files have each suffix, the most frequent first."""
        return dict(sorted(self._by_suffix.items(), key=lambda each: (-each[1], each[0])))

    def report(self) -> None:
        """Log the counts, if any: one line of suffixes, one warning of folders."""
        if self._by_suffix:
            counts = ", ".join(f"{n:,} {suffix}" for suffix, n in self.counts.items())
            n_files = count_noun(self._by_suffix.total(), "file")
            log.info("%s: %s skipped, not %s: %s", self._root, n_files, self._expected, counts)
        if self._n_folders:
            names = ", ".join(self._folders) + " …" * (self._n_folders > len(self._folders))
            what = count_noun(self._n_folders, "folder has files", "folders have files")
            log.warning("%s: %s but no %s: %s", self._root, what, self._expected, names)
