"""Sections about inputs that failed, were left out, or were used with a note."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faceprep.core.items import CRASHED, TIMED_OUT
from faceprep.core.text import count_noun
from faceprep.pages.report.input_pictures import InputPictures
from faceprep.pages.report.outcomes import Kind, Reasons
from faceprep.pages.report.sections import Part, Picture, Pictures, Section, Table

_N_REASONS, _N_PICTURED = 50, 6
_NEVER_SHOWN = (CRASHED, TIMED_OUT)
"""Inputs that crash or delay whoever decodes them."""


def failures_section(
    failures: Iterable[tuple[str, str, str]], pictures: InputPictures
) -> Section | None:
    """Group failed inputs by reason, regardless of numbers in it, with examples and pictures.

    Returns None where nothing failed.
    """
    reasons = Reasons()
    for key, status, reason in failures:
        reasons.add(key, status, reason)
    if not reasons.counts:
        return None
    n = reasons.counts.total()
    numbers = {"failed": n, **_numbers(reasons)}
    return Section(
        "failures",
        "Failures",
        numbers,
        _parts(reasons, pictures, "Failures"),
        f"{count_noun(n, 'failure')}.",
    )


def left_out_section(reasons: Reasons, pictures: InputPictures) -> Section | None:
    """Group inputs that were left out without a failure; None where there are none."""
    n = reasons.counts.total()
    if not n:
        return None
    numbers = {"left_out": n, **_numbers(reasons)}
    text = f"{count_noun(n, 'input was', 'inputs were')} sound and left out."
    return Section("left_out", "Left out", numbers, _parts(reasons, pictures, "Left out"), text)


def notes_section(reasons: Reasons, pictures: InputPictures) -> Section | None:
    """Group inputs that were used with a remark; None where there are none."""
    n = reasons.counts.total()
    if not n:
        return None
    text = f"{count_noun(n, 'input was', 'inputs were')} used with a note."
    numbers = {"noted": n, **_numbers(reasons)}
    parts = _parts(reasons, pictures, "Notes")
    return Section("notes", "Notes", numbers, parts, text, is_detail=True)


def _numbers(reasons: Reasons) -> dict[str, Any]:
    ranked = [
        {
            "status": status,
            "reason": reason,
            "inputs": n,
            "examples": [
                {"input": key, "reason": found} for key, found in reasons.examples[status, reason]
            ],
        }
        for (status, reason), n in reasons.ranked(_N_REASONS)
    ]
    return {"by_status": reasons.by_status(), "reasons": ranked}


def _parts(reasons: Reasons, pictures: InputPictures, noun: str) -> list[Part]:
    parts: list[Part] = []
    for kind, _ in reasons.ranked(_N_PICTURED):
        items = show_examples(kind, reasons, pictures)
        if items:
            parts.append(Pictures(f"{kind[0]}: {reasons.wording(kind)}", items))
    rows: list[tuple[str, int | None, str, str]] = []
    for kind, n in reasons.ranked(_N_REASONS):
        for place, (key, reason) in enumerate(reasons.examples[kind]):
            rows.append(("", None, reason, key) if place else (kind[0], n, reason, key))
    parts.insert(0, Table(f"{noun} by reason", ("status", "count", "reason", "example"), rows))
    return parts


def show_examples(kind: Kind, reasons: Reasons, pictures: InputPictures) -> list[Picture]:
    """Return pictures of the examples of a kind, as far as they can be shown."""
    if kind[0] in _NEVER_SHOWN:
        return []
    found = (pictures.picture(key) for key, _ in reasons.examples[kind])
    return [each for each in found if each is not None]
