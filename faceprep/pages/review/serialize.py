"""What the page is told about a plan, as JSON: the same from the server and in the folder of
files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faceprep.core.types import VERDICTS, Decision
from faceprep.pages.review.gallery import Gallery, Strip
from faceprep.pages.review.thresholds import thresholds_of

_LETTERS = {verdict: verdict[0] for verdict in VERDICTS}
PAGE = 200
"""Decisions in one file of details, and rows of the list that are asked for at once."""


def letter(verdict: str) -> str:
    """a, r or u."""
    return _LETTERS[verdict]


def tell_plan(judged: Mapping[str, Any], decisions: Sequence[Decision], **more: Any) -> bytes:
    """All decisions in brief, by column: a script that sets `faceprepPlan`, for want of another
    way to read a file.
    """
    actions = sorted({decision.action for decision in decisions})
    numbers = {action: number for number, action in enumerate(actions)}
    plan = {
        "command": judged.get("command", ""),
        "source": judged.get("source", ""),
        "page": PAGE,
        "actions": actions,
        "thresholds": {
            action: found._asdict() for action, found in thresholds_of(decisions, judged).items()
        },
        "action": [numbers[decision.action] for decision in decisions],
        "subject": [decision.subject for decision in decisions],
        "into": [decision.into for decision in decisions],
        "score": [decision.score for decision in decisions],
        "verdict": "".join(letter(decision.verdict) for decision in decisions),
    }
    return (
        b"const faceprepPlan = " + json.dumps(plan | more, separators=(",", ":")).encode() + b";\n"
    )


def tell_decision(
    decision: Decision, gallery: Gallery, source_of: Callable[[str, int, str], str]
) -> dict[str, Any]:
    """Everything about one decision; `source_of` (role, place, name) says where the page finds
    a picture.
    """

    def strip(role: str, told: Strip) -> dict[str, Any]:
        images = [
            {"src": source_of(role, place, name), "name": name}
            for place, name in enumerate(told.names)
        ]
        return {
            "title": told.title,
            "total": told.total,
            "likeness": told.likeness,
            "images": images,
        }

    facts = {
        name.replace("_", " "): value
        for name, value in decision.evidence.items()
        if isinstance(value, int | float | str) and name != "kept"
    }
    strips = {role: strip(role, told) for role, told in gallery.strips(decision).items()}
    return {"reason": decision.reason, "facts": facts, "strips": strips}
