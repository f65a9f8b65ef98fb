"""Checks after a fault, and after the second start."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.commands import Run
from tests.faults.points import Point

Tree = Mapping[str, bytes | str | None]
"""Content by path: bytes of a file, the target of a link, None for a folder."""
_STATE = ("failures.csv", ".review.jsonl")
"""Ends of names that are state, beside those that begin with `.faceprep`."""
_DENIES = re.compile("(nothing|no [a-z]+) was written")
_LONGEST = 400


@dataclass(frozen=True)
class Reference:
    """An undisturbed run: the visible files before and after it, and what it said."""

    inputs: Tree
    before: Tree
    after: Tree
    run: Run
    repeats: bool = True
    """A start after a complete one does the same again."""


def visible_tree(root: Path) -> Tree:
    """Read all below `root` but the state of runs."""
    return dict(_entries(root, ""))


def _entries(folder: Path, prefix: str) -> Iterator[tuple[str, bytes | str | None]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith(".faceprep") or entry.name.endswith(_STATE):
            continue
        name = prefix + entry.name
        if entry.is_symlink():
            yield name, os.readlink(entry)
        elif entry.is_dir():
            yield name, None
            yield from _entries(Path(entry), f"{name}/")
        else:
            yield name, Path(entry).read_bytes()


def differences(expected: Tree, found: Tree) -> list[str]:
    """Name what is in one tree alone, or is not the same in both."""
    names = sorted({*expected, *found})
    return [name for name in names if expected.get(name, "") != found.get(name, "")]


def check_files(reference: Reference, now: Tree) -> Iterator[str]:
    """Report what is neither old nor new, and every input that is lost."""
    before, after = reference.before, reference.after
    for name, content in now.items():
        if any(part.startswith(".") for part in name.split("/")):
            continue  # not finished, and said so
        known = [tree[name] for tree in (before, after) if name in tree]
        if content not in known and not (content is None and not known):
            yield f"{name} is neither old nor new"
    for name in before:
        if name.startswith("in/") and name in after and name not in now:
            yield f"{name} is lost"


def check_first(point: Point, reference: Reference, run: Run, now: Tree) -> Iterator[str]:
    """Report what is wrong after the fault."""
    yield from check_files(reference, now)
    if "Traceback" in run.err:
        yield f"a traceback: {_short(run.err)}"
    if run.status == reference.run.status:
        if wrong := differences(reference.after, now):
            yield f"exit status {run.status}, but the output is not complete: {wrong[:4]}"
        if run.answer != reference.run.answer:
            yield f"exit status {run.status}, but another answer: {_short(run.out)}"
    elif run.status == 1:
        yield from _check_error(point, run)
        if _DENIES.search(run.err) and (written := differences(reference.before, now)):
            yield f"the line denies what was written: {_short(run.err)}: {written[:4]}"
    elif not _is_killed_by(point, run):
        yield f"exit status {run.status}: {_short(run.err)}"


def _check_error(point: Point, run: Run) -> Iterator[str]:
    lines = run.err.splitlines()
    if len(lines) != 1 or not lines[0].startswith("faceprep:"):
        yield f"expected one line that begins with faceprep:, got {_short(run.err)}"
    if point.strike.error and os.strerror(point.strike.error) not in run.err:
        yield f"the line does not name the error: {_short(run.err)}"
    if point.strike.signal and "stopped" not in run.err:
        yield f"the line does not say stopped: {_short(run.err)}"


def check_read(
    point: Point, reference: Reference, run: Run, now: Tree, work: Path
) -> Iterator[str]:
    """Report what is wrong after a read fault.

    The run ends as if there was none, stops with the error, or names the item that it has cost.
    """
    after = reference.after
    if changed := _changed_inputs(reference, now):
        yield f"the input has changed: {changed[:4]}"
    if "Traceback" in run.err:
        yield f"a traceback: {_short(run.err)}"
    if run.status == reference.run.status and run.answer == reference.run.answer:
        if wrong := differences(after, now):
            yield f"exit status {run.status}, but the output is not that of a calm run: {wrong[:4]}"
    elif run.status == reference.run.status == 0 and _names_error(point, run.out):
        return  # a page without an image, and the answer says so
    elif point.is_invisible:
        yield f"exit status {run.status} after a call that is to be made again: {_short(run.err)}"
    elif run.status == 1:
        yield from check_files(reference, now)
        yield from _check_error(point, run)
    elif run.status == 3:
        yield from _check_named(point, run, work)
    else:
        yield f"exit status {run.status}: {_short(run.err or run.out)}"


def _changed_inputs(reference: Reference, now: Tree) -> list[str]:
    """Name inputs that are lost or neither old nor new, and what no calm run leaves beside them."""
    inputs, after = reference.inputs, reference.after
    known = {*inputs, *reference.before, *after}
    changed = [name for name in inputs if name in after and name not in now]
    for name in filter(now.__contains__, inputs):
        if now[name] not in (inputs[name], after.get(name, "")):
            changed.append(name)
    changed += [name for name in now if name not in known]
    return [name for name in changed if name.startswith("in/")]


def _check_named(point: Point, run: Run, work: Path) -> Iterator[str]:
    """Report a run that does not name the item that it lost, with the error."""
    path = run.answer.get("failures") if isinstance(run.answer, dict) else None
    has_list = path and (work / path).exists()
    rows = (work / path).read_text(errors="replace") if has_list else run.out
    if os.strerror(point.strike.error) not in rows:
        yield f"the list of failures does not name the error: {_short(rows)}"


def _names_error(point: Point, text: str) -> bool:
    return bool(point.strike.error) and os.strerror(point.strike.error) in text


def _is_killed_by(point: Point, run: Run) -> bool:
    """Tell whether the fault itself ended the run; a SIGTERM does before it is waited for."""
    expected = -signal.SIGKILL if point.kills else -signal.SIGTERM
    return run.status == expected and (point.kills or point.fault == "SIGTERM")


def check_second(reference: Reference, run: Run, between: Tree, now: Tree) -> Iterator[str]:
    """Report what is wrong after the second start, which found the files `between`."""
    if wrong := differences(reference.after, now):
        yield f"second start: other files than an undisturbed run: {wrong[:4]}"
    if "Traceback" in run.err:
        yield f"second start: a traceback: {_short(run.err)}"
    if not reference.repeats and not differences(reference.after, between):
        return
    if run.status != reference.run.status:
        yield f"second start: exit status {run.status}: {_short(run.err)}"
    elif run.answer != reference.run.answer:
        yield f"second start: another answer: {_short(run.out)}"


def _short(text: str) -> str:
    return repr(text.strip()[-_LONGEST:])
