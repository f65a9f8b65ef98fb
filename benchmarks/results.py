"""The results in benchmarks/results, and references to their figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.figures import format_cell

RESULTS = Path(__file__).parent / "results"
_REFERENCE = re.compile(r"{([^}]+?)(:%)?}")


class Results:
    """The results by topic; a reference is `topic > table > row > column`, or `… > note`.

    In a text, a reference that ends in `:%` shows a share as a percentage.
    """

    def __init__(self, topics: dict[str, dict[str, Any]]) -> None:
        self.topics = topics

    def number(self, reference: str) -> float:
        """Return the number that a reference names."""
        return float(self._find(reference))

    def fill(self, text: str) -> str:
        """Return the text with a figure in place of each reference in braces."""
        return _REFERENCE.sub(self._figure, text)

    def _figure(self, match: re.Match[str]) -> str:
        if match[2]:
            return f"{format_cell(100 * self.number(match[1]))} %"
        return format_cell(self._find(match[1]))

    def cores(self, topic: str) -> int:
        """Return the number of cores that a topic was measured on."""
        return int(self.topics[topic]["machine"]["cores"])

    def caution(self, topics: Iterable[str]) -> str:
        """Return a line that names those of the topics whose results are of small sizes."""
        quick = [name for name in dict.fromkeys(topics) if self.topics[name]["quick"]]
        return f"\nA first look, of small sizes: {', '.join(quick)}.\n" if quick else ""

    def _find(self, reference: str) -> float | str:
        topic, title, *place = reference.split(" > ")
        try:
            (table, *_) = [each for each in self.topics[topic]["tables"] if each["title"] == title]
            found = table["note"] if place == ["note"] else table["rows"][place[0]][place[1]]
        except (KeyError, ValueError):
            raise LookupError(f"benchmarks/results has no figure {reference!r}") from None
        return found  # type: ignore[no-any-return]


def load_results(folder: Path) -> Results:
    """Read TOPIC.json of every topic that was measured."""
    paths = sorted(folder.glob("*.json"))
    return Results({path.stem: json.loads(path.read_text()) for path in paths})
