"""Removal of what differs between two runs of one command: paths, times and versions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_RULES = (
    (re.compile(r"names, sizes and times [0-9a-f]{32}"), "names, sizes and times FINGERPRINT"),
    (re.compile(r"\bfaceprep,? (version )?\d+\.\d+\.\d+\S*"), "faceprep VERSION"),
    (re.compile(r'<td class="s">\d+\.\d+\.\d+</td>'), '<td class="s">VERSION</td>'),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? s(econds)?\b(, [\d,.e+-]+ a second)?"), "SECONDS"),
    (re.compile(r"[\d,.e+-]+ a second"), "RATE"),
    (re.compile(r"0x[0-9a-f]{8,}"), "ADDRESS"),
)
_NOISE = re.compile(
    r"^(WARNING: All log|[IWE]0000 |To enable the following|INFO: Created TensorFlow)"
)
_DROPPED = {"seconds", "faceprep", "free_bytes", "free_files"}


class Names:
    """Names for the folders of a run, which replace their paths in text."""

    def __init__(self, folders: dict[str, Path]) -> None:
        longest_first = sorted(folders.items(), key=lambda item: -len(str(item[1])))
        self._names = [(str(path), name) for name, path in longest_first]

    def clean(self, text: str) -> str:
        """Replace paths, times and versions.

        >>> Names({"WORK": Path("/tmp/w")}).clean("/tmp/w/a in 0.31 s")
        'WORK/a in SECONDS'
        """
        for path, name in self._names:
            text = text.replace(path, name)
        for rule, name in _RULES:
            text = rule.sub(name, text)
        return text

    def lines(self, text: str) -> list[str]:
        """Split cleaned text into lines, without the noise of other libraries."""
        lines = self.clean(text).splitlines()
        return [line.rstrip() for line in lines if not _NOISE.match(line)]

    def scrub(self, value: Any) -> Any:
        """Clean the strings of a JSON value and drop measured times and versions."""
        if isinstance(value, dict):
            return {self.clean(key): self._member(key, inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.scrub(inner) for inner in value]
        return self.clean(value) if isinstance(value, str) else value

    def _member(self, key: str, value: Any) -> Any:
        if key == "versions" and isinstance(value, dict):
            return sorted(value)
        return "…" if key in _DROPPED else self.scrub(value)


def parse_object(text: str) -> dict[str, Any] | None:
    """Return the one JSON object that the text is, or None."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def parse_rows(lines: Iterable[str]) -> list[Any] | None:
    """Return the JSON values of the lines, or None where one is not JSON."""
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError:
        return None
