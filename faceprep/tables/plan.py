"""Plans: one JSON object per line.

A plan changes no file until it is applied, and a person may edit it.

    {"kind": "plan", "command": …, "source": …, "fingerprint": …, "options": {…}, …}  what it judges
    {"action": "drop", "subject": "a/1.png", "score": 12.3, "reason": "…"}             a decision
    {"action": "merge", "subject": "a", "into": "b", "verdict": "undecided", "evidence": {"for":
    [image, image, 0.7]}}

Subjects are paths below `source`, of an image or of an identity. Actions: `drop` an image or an
identity, `merge` the identity `subject` into the identity `into`, `move` the image `subject` into
the identity `into`, `rename` the image `subject` to the path `into`, `restore` the image `subject`
of the folder `origin` at the path `into`. A verdict that is not there is `accepted`; only accepted
decisions are carried out. Decisions may come in any order, blank lines between.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.json_line import parse_json_line
from faceprep.core.paths import is_folder, own_name
from faceprep.core.text import encode_json, excerpt_line
from faceprep.core.types import ACCEPTED, ACTIONS, DROP, VERDICTS, Decision

PLAN = "plan.jsonl"
"""The name of a plan in an output; beside a container, the end of its name."""
UNDO = "undo.jsonl"
"""Name of the plan that undoes an output. It lies beside the plan."""
_RESULTS = {PLAN: "reviewed", UNDO: "undone"}
"""Suffix of the suggested name of the set that a plan makes."""
LIKENESS = "likeness.jsonl"
"""Name of the file of similarities between images. It lies beside the plan."""
_KIND = "plan"
_FIRST_LINE = 'a first line with {"kind": "plan", …}'
_WRITERS = (
    "Plans are the plan.jsonl of merge-identities, clean-identities, exclude-people, dedupe "
    "and score, and undo.jsonl."
)
_LEFT_OUT: tuple[Any, ...] = ("", None, ACCEPTED, {})
_Path = str | os.PathLike[str]


def write_plan(file: BinaryIO, header: Mapping[str, Any], decisions: Iterable[Decision]) -> None:
    """Write the header line, then the decisions; empty fields are left out.

    Raises ValueError for NaN or infinity.
    """
    file.write(encode_json({"kind": _KIND} | dict(header)))
    for decision in decisions:
        file.write(_decision_line(decision))


def digest_of(decisions: Iterable[Decision]) -> str:
    """Return a digest of decisions, which a header keeps to show whether a person edited them."""
    digest = hashlib.blake2b(digest_size=8)
    for decision in decisions:
        digest.update(_decision_line(decision))
    return digest.hexdigest()


def _decision_line(decision: Decision) -> bytes:
    named = zip(Decision._fields, decision, strict=True)
    return encode_json({name: value for name, value in named if value not in _LEFT_OUT})


def apply_command(plan: Path) -> str:
    """Return the command that carries out a plan, into a folder beside the plan's own.

    >>> apply_command(Path("sets/merged/plan.jsonl"))
    'faceprep apply sets/merged/plan.jsonl sets/merged-reviewed'
    >>> apply_command(Path("sets/merged/undo.jsonl"))
    'faceprep apply sets/merged/undo.jsonl sets/merged-undone'
    >>> apply_command(Path("sets/merged/../plan.jsonl"))
    'faceprep apply sets/merged/../plan.jsonl sets/merged/../../sets-reviewed'
    """
    kind = UNDO if plan.name.endswith(UNDO) else PLAN
    name, folder = plan.parent.name, plan.parent.parent
    if plan.name != kind:
        name, folder = plan.name.removesuffix(f".{kind}").removesuffix(".jsonl"), plan.parent
    elif name in ("", ".."):
        name, folder = own_name(plan.parent) or "set", plan.parent / ".."
    paths = os.fspath(plan), os.fspath(folder / f"{name}-{_RESULTS[kind]}")
    return shlex.join(["faceprep", "apply", *paths])


def plan_of(path: Path) -> Path:
    """Return the plan of an output: in a folder, or beside a file; `path` itself without one."""
    plans = path / PLAN, path.parent / f"{path.stem}.{PLAN}"
    return next((plan for plan in plans if storage.size_of(plan) is not None), path)


def refuse_output(path: _Path, command: str) -> None:
    """Raise SourceError if `path` is a folder, or an output with a plan, and not the plan itself.

    `command` is the right command with {plan} in place of the plan.
    """
    output = Path(path)
    plan = plan_of(output)
    if plan != output:
        raise SourceError(
            "is not a plan, but has one",
            path=path,
            found=os.fspath(plan),
            remedy=f"Run {command.format(plan=shlex.quote(os.fspath(plan)))}.",
        )
    if is_folder(output):
        raise SourceError(
            "not a plan",
            path=path,
            expected="a plan.jsonl",
            found="a folder without one",
            remedy=_WRITERS,
        )


class Plan(NamedTuple):
    """A plan: `header` states what it judges, and `decisions` yields its decisions once."""

    header: Mapping[str, Any]
    decisions: Iterator[Decision]


def read_plan(path: _Path) -> Plan:
    """Read a `plan.jsonl` or `undo.jsonl`.

    Raises SourceError; a bad decision raises when it is reached.
    """
    filled = _filled_lines(storage.read_bytes(path))
    header = _parse_header(path, *next(filled, (1, b"")))
    return Plan(header, (_decision(path, number, line) for number, line in filled))


def _filled_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each line that has some."""
    lines = enumerate(data.removeprefix(BOM_UTF8).splitlines(), 1)
    return ((number, line) for number, line in lines if line.strip())


def _parse_header(path: _Path, number: int, line: bytes) -> dict[str, Any]:
    """Parse the header line.

    A line without any field of a plan means that the file is not a plan.
    """
    try:
        header = _parsed(path, number, line)
    except SourceError:
        if f'"{_KIND}"'.encode() in line:
            raise
        header = {}
    if header.get("kind") != _KIND:
        raise SourceError(
            "not a plan", path=path, expected=_FIRST_LINE, found=excerpt_line(line), remedy=_WRITERS
        )
    return header


def _parsed(path: _Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = parse_json_line(line)
    except ValueError as error:
        raise SourceError(f"not JSON ({error})", path=path, where=f"line {number}") from error
    if not isinstance(value, dict):
        raise SourceError("not a JSON object", path=path, where=f"line {number}")
    return value


def _decision(path: _Path, number: int, line: bytes) -> Decision:
    value = _parsed(path, number, line)
    for name, found in value.items():
        if name not in _EXPECTED:
            raise _refused(path, number, "one of " + ", ".join(_EXPECTED), name)
        expected, is_right = _EXPECTED[name]
        if not is_right(found):
            raise _refused(path, number, f"{name} {expected}", repr(found))
    for name in ("action", "subject"):
        if name not in value:
            raise _refused(path, number, f"{name} {_EXPECTED[name][0]}", "none")
    decision = Decision(**value)
    if bool(decision.into) is (decision.action == DROP):
        wanted = "no into" if decision.action == DROP else f"into, where to {decision.action} it"
        raise _refused(path, number, wanted, repr(decision.into))
    return decision


def _refused(path: _Path, number: int, expected: str, found: str) -> SourceError:
    return SourceError(
        "not a decision", path=path, where=f"line {number}", expected=expected, found=found
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_score(value: Any) -> bool:
    return value is None or type(value) in (int, float)


_EXPECTED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "action": (
        f'one of {", ".join(ACTIONS)} (whether it is accepted is the "verdict")',
        lambda value: value in ACTIONS,
    ),
    "subject": (
        "the path of an image or the name of an identity",
        lambda value: _is_text(value) and value != "",
    ),
    "into": ("a string", _is_text),
    "score": ("a finite number", _is_score),
    "reason": ("a string", _is_text),
    "verdict": ("one of " + ", ".join(VERDICTS), lambda value: value in VERDICTS),
    "evidence": ("an object", lambda value: isinstance(value, dict)),
}
