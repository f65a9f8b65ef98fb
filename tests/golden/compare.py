"""Comparison of the records of one case from two checkouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.golden.drive import Result

_SHOWN = 90
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two records of a case.

    `kind` is such as `exit`, `json.changed` or `output.removed`; `field` says where, a dotted path
    in JSON, a file, or `FILE::PLACE` in its content. `n` counts places that differ alike.
    """

    case: str
    step: int
    kind: str
    field: str
    text: str
    n: int = 1

    def __str__(self) -> str:
        more = f" (and {self.n - 1} more)" if self.n > 1 else ""
        return f"step {self.step} {self.kind} {self.field}: {self.text}{more}"


def compare_case(case: str, old: Result, new: Result) -> list[Difference]:
    """List the differences between two results, step by step."""
    found: list[Difference] = []
    if [step["words"] for step in old] != [step["words"] for step in new]:
        return [Difference(case, 0, "steps", "", "the two results come from different steps")]
    for number, (before, after) in enumerate(zip(old, new, strict=True), 1):
        places = _step_places(before, after)
        found += _group(case, number, places)
    return found


Place = tuple[str, str, str]
"""Kind, field and text of one difference."""


def _group(case: str, step: int, places: Iterator[Place]) -> list[Difference]:
    """Join differences of one kind and field; the first one speaks for all."""
    texts: dict[tuple[str, str], list[str]] = {}
    for kind, field, text in places:
        texts.setdefault((kind, field), []).append(text)
    items = texts.items()
    return [
        Difference(case, step, kind, field, all_[0], len(all_)) for (kind, field), all_ in items
    ]


def _step_places(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Place]:
    if old["exit"] != new["exit"]:
        yield "exit", "", f"{old['exit']} became {new['exit']}"
    yield from _summary_places(old.get("json"), new.get("json"))
    for stream in ("stdout", "stderr"):
        yield from _line_places(stream, "", old.get(stream) or [], new.get(stream) or [])
    yield from _name_places(old.get("names") or [], new.get("names") or [])
    yield from _failure_places(old.get("failures") or [], new.get("failures") or [])
    yield from _output_places(old.get("outputs") or {}, new.get("outputs") or {})
    yield from _state_places(old.get("state") or {}, new.get("state") or {})


def _summary_places(old: Any, new: Any) -> Iterator[Place]:
    if old is None and new is not None:
        yield "json.appeared", "", show(new)
    elif new is None and old is not None:
        yield "json.disappeared", "", show(old)
    else:
        yield from _json_places("json", "", old, new)


def show(value: Any) -> str:
    """Return a short form of a value.

    >>> show("a" * 100)[-3:]
    'aa…'
    """
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _json_places(kind: str, field: str, old: Any, new: Any) -> Iterator[Place]:
    """Compare two JSON values; elements of a list share one field, `*`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{field}.{key}" if field else str(key)
            before, after = old.get(key, _MISSING), new.get(key, _MISSING)
            yield from _member_places(kind, inner, before, after)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{kind}.changed", f"{field}.length", f"{len(old)} became {len(new)}"
        inner = f"{field}.*" if field else "*"
        for before, after in zip(old, new, strict=False):
            yield from _json_places(kind, inner, before, after)
    elif type(old) is not type(new) or old != new:
        yield f"{kind}.changed", field, f"{show(old)} became {show(new)}"


def _member_places(kind: str, field: str, old: Any, new: Any) -> Iterator[Place]:
    if old is _MISSING:
        yield f"{kind}.added", field, show(new)
    elif new is _MISSING:
        yield f"{kind}.removed", field, show(old)
    else:
        yield from _json_places(kind, field, old, new)


def _line_places(kind: str, field: str, old: list[str], new: list[str]) -> Iterator[Place]:
    if old == new:
        return
    pairs = zip(old, new, strict=False)
    number = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(old), len(new)))
    before = old[number] if number < len(old) else "(end)"
    after = new[number] if number < len(new) else "(end)"
    yield kind, field, f"line {number + 1}: {show(before)} | {show(after)}"


def _name_places(old: list[str], new: list[str]) -> Iterator[Place]:
    for name in sorted({*old} - {*new}):
        yield "help.removed", name, "is no longer in the help"
    for name in sorted({*new} - {*old}):
        yield "help.added", name, "is new in the help"


def _failure_places(old: list[list[str]], new: list[list[str]]) -> Iterator[Place]:
    """Compare rows of input, status and reason; an input may have several rows."""
    before, after = _by_input(old), _by_input(new)
    for key in sorted({*before, *after}):
        rows, others = before.get(key, []), after.get(key, [])
        for row in rows[len(others) :]:
            yield "failure.removed", key, show(", ".join(row[1:]))
        for row in others[len(rows) :]:
            yield "failure.added", key, show(", ".join(row[1:]))
        for row, other in zip(rows, others, strict=False):
            if row[1] != other[1]:
                yield "failure.status", key, f"{row[1]} became {other[1]}"
            elif row != other:
                yield "failure.reason", key, f"{show(row[2])} became {show(other[2])}"


def _by_input(rows: list[list[str]]) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return found


def _output_places(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Place]:
    for path in sorted({*old, *new}):
        before, after = old.get(path), new.get(path)
        if before is None:
            yield "output.added", path, _size(after)
        elif after is None:
            yield "output.removed", path, _size(before)
        elif before != after:
            yield from _file_places(path, before, after)


def _size(entry: Any) -> str:
    return entry.get("link") or f"{entry.get('bytes', 0):,} bytes, sha256 {entry['sha256'][:12]}"


def _file_places(path: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Place]:
    if old.get("link") != new.get("link"):
        yield "output.link", path, f"{old.get('link')} became {new.get('link')}"
    if old["sha256"] == new["sha256"]:
        return
    before, after = old.get("content"), new.get("content")
    if before is None or after is None or type(before) is not type(after):
        yield "output.changed", path, f"{_size(old)} became {_size(new)}"
    elif before != after:
        yield from _content_places(path, before, after)
    elif "columns" in before:
        yield "output.bytes", path, "the same columns in other bytes"


def _content_places(path: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Place]:
    if "lines" in old and "lines" in new:
        yield from _line_places("output.changed", f"{path}::lines", old["lines"], new["lines"])
    elif "json" in old and "json" in new:
        for kind, field, text in _json_places("output", "", old["json"], new["json"]):
            yield kind, f"{path}::{field}", text
    else:
        for kind, field, text in _json_places("output", "", old, new):
            yield kind, f"{path}::{field}", text


def _state_places(old: dict[str, str], new: dict[str, str]) -> Iterator[Place]:
    for path in sorted({*old, *new}):
        before, after = old.get(path, "absent"), new.get(path, "absent")
        if before != after:
            yield "state", path, f"{before} became {after}"
