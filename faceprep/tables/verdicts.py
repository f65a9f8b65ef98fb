"""Verdicts of a person on the decisions of a plan: one JSON object per line.

The last one counts.

    {"number": 5, "action": "merge", "subject": "a", "into": "b", "verdict": "refused", "before":
    "undecided"}

`number` counts the plan's decisions from 0. A decision that an edit of the plan has moved is found
by action, subject and into. `before` is the verdict that was changed. PLAN.review.jsonl, beside the
plan, has the verdicts that are not in the plan yet. The page without a server gives a file like it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.json_line import parse_json_line
from faceprep.core.paths import exists
from faceprep.core.text import encode_json, excerpt_line
from faceprep.core.types import VERDICTS

log = logging.getLogger("faceprep")
_EXPECTED = "number, action, subject, into, verdict and before"


class Verdict(NamedTuple):
    """The verdict on one decision of a plan."""

    number: int
    action: str
    subject: str
    into: str
    verdict: str
    before: str


def journal_of(plan: Path) -> Path:
    """Return the path of the verdicts that are not in the plan yet.

    >>> journal_of(Path("set/plan.jsonl")).name
    'plan.jsonl.review.jsonl'
    """
    return plan.with_name(f"{plan.name}.review.jsonl")


def refuse_open_review(plan: Path) -> None:
    """Raise SourceError if a review of the plan is running or was killed before the plan had all
    verdicts.
    """
    journal = journal_of(plan.resolve())
    if exists(journal):
        raise SourceError(
            "there are verdicts that are not in the plan yet",
            path=journal,
            remedy=f"Run faceprep review {plan} and end it with Ctrl-C, which adds them to the "
            "plan; or remove this file.",
        )


def format_verdicts(verdicts: Iterable[Verdict]) -> bytes:
    """Format verdicts, one line each."""
    return b"".join(encode_json(verdict._asdict()) for verdict in verdicts)


def read_verdicts(path: str | os.PathLike[str]) -> list[Verdict]:
    """Read verdicts in the order of the lines. Raises SourceError.

    The last line may be incomplete, as after a kill. It is then left out, with a warning.
    """
    *lines, tail = storage.read_bytes(path).split(b"\n")
    verdicts = [
        _verdict(path, number, line) for number, line in enumerate(lines, 1) if line.strip()
    ]
    try:
        verdicts.append(_verdict(path, len(lines) + 1, tail))
    except SourceError:
        if tail.strip():
            log.warning("%s: its last line is incomplete and is left out", path)
    return verdicts


def _verdict(path: str | os.PathLike[str], number: int, line: bytes) -> Verdict:
    value, problem = None, ""
    try:
        value = parse_json_line(line)
    except ValueError as error:
        problem = f" ({error})"
    if not isinstance(value, dict) or not _is_right(value):
        raise SourceError(
            f"not a verdict{problem}",
            path=path,
            where=f"line {number}",
            expected=_EXPECTED,
            found=excerpt_line(line),
        )
    return Verdict(**value)


def _is_right(value: Mapping[str, Any]) -> bool:
    if set(value) != set(Verdict._fields) or type(value["number"]) is not int:
        return False
    texts = [value[name] for name in Verdict._fields[1:]]
    return all(isinstance(text, str) for text in texts) and {
        value["verdict"],
        value["before"],
    } <= set(VERDICTS)
