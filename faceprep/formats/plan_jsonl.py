"""Plans: one JSON object a line. Nothing happens to a file before a plan is applied, and a person may edit it.

    {"kind": "plan", "command": …, "source": …, "fingerprint": …, "options": {…}, …}   what it judges, and how
    {"action": "drop", "subject": "a/1.png", "score": 12.3, "reason": "…"}              a decision a line
    {"action": "merge", "subject": "a", "into": "b", "verdict": "undecided", "evidence": {"for": [image, image, 0.7]}}

Subjects are paths below `source`, of an image or of an identity. Actions: `drop` an image or an identity, `merge` the
identity `subject` into the identity `into`, `move` the image `subject` into the identity `into`, `rename` the image
`subject` to the path `into`, `restore` the image `subject` of the folder `origin` at the path `into`. A verdict that is
not there is `accepted`; only accepted decisions are carried out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from faceprep import storage
from faceprep.errors import SourceError
from faceprep.types import ACCEPTED, Decision

_KIND = "plan"
_LEFT_OUT: tuple[Any, ...] = ("", None, ACCEPTED, {})


def write_plan(file: BinaryIO, judged: Mapping[str, Any], decisions: Iterable[Decision]) -> None:
    """The line that says what is judged, then the decisions; what a decision leaves empty is left out."""
    file.write(_line({"kind": _KIND} | dict(judged)))
    for decision in decisions:
        file.write(_line({name: value for name, value in decision._asdict().items() if value not in _LEFT_OUT}))


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"


def read_plan(path: str | os.PathLike[str]) -> tuple[Mapping[str, Any], Iterator[Decision]]:
    """(what is judged, the decisions). Raises SourceError, for a decision when it is come to."""
    lines = enumerate(storage.read_bytes(path).splitlines(), 1)
    judged = next((_parsed(path, number, line) for number, line in lines), {})
    if judged.get("kind") != _KIND:
        raise SourceError("not a plan", path=path, expected='a first line with {"kind": "plan", …}')
    return judged, (_decision(path, number, line) for number, line in lines if line.strip())


def _parsed(path: str | os.PathLike[str], number: int, line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise SourceError(f"no JSON ({error})", path=path, where=f"line {number}") from error
    if not isinstance(value, dict):
        raise SourceError("no JSON object", path=path, where=f"line {number}")
    return value


def _decision(path: str | os.PathLike[str], number: int, line: bytes) -> Decision:
    value = _parsed(path, number, line)
    unknown = sorted(set(value) - set(Decision._fields))
    if unknown or not all(isinstance(value.get(name), str) for name in ("action", "subject")):
        expected = "action and subject, and perhaps into, score, reason"
        raise SourceError("not a decision", path=path, where=f"line {number}", expected=expected, found=str(value))
    return Decision(**value)
