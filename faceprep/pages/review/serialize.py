"""The plan as JSON for the page, the same from the server and in a folder of files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faceprep.core.types import VERDICTS, Decision
from faceprep.pages.review.gallery import Gallery, Strip
from faceprep.pages.review.thresholds import thresholds_of

_LETTERS = {verdict: verdict[0] for verdict in VERDICTS}
PAGE = 200
"""Number of decisions in one file of details."""


def letter(verdict: str) -> str:
    """Return the first letter of a verdict: a, r or u."""
    return _LETTERS[verdict]


def write_plan_script(
    judged: Mapping[str, Any], decisions: Sequence[Decision], **more: Any
) -> bytes:
    """Return a script that sets `faceprepPlan` to a summary of all decisions, by column.

    It is a script because a page that is opened as a file cannot read other files.
    """
    actions = sorted({decision.action for decision in decisions})
    numbers = {action: number for number, action in enumerate(actions)}
    thresholds = thresholds_of(decisions, judged)
    plan = {
        "command": judged.get("command", ""),
        "source": judged.get("source", ""),
        "page": PAGE,
        "actions": actions,
        "thresholds": {action: found._asdict() for action, found in thresholds.items()},
        "action": [numbers[decision.action] for decision in decisions],
        "subject": [decision.subject for decision in decisions],
        "into": [decision.into for decision in decisions],
        "score": [decision.score for decision in decisions],
        "verdict": "".join(letter(decision.verdict) for decision in decisions),
    }
    data = json.dumps(plan | more, separators=(",", ":"))
    return f"const faceprepPlan = {data};\n".encode()


def describe_decision(
    decision: Decision, gallery: Gallery, source_of: Callable[[str, int, str], str]
) -> dict[str, Any]:
    """Return the details of one decision.

    `source_of` maps role, place and name of an image to its address on the page.
    """

    def describe_strip(role: str, strip: Strip) -> dict[str, Any]:
        images = [
            {"src": source_of(role, place, name), "name": name}
            for place, name in enumerate(strip.names)
        ]
        return {
            "title": strip.title,
            "total": strip.total,
            "likeness": strip.likeness,
            "images": images,
        }

    facts = {
        name.replace("_", " "): value
        for name, value in decision.evidence.items()
        if type(value) in (int, float, str) and name != "kept"
    }
    strips = {role: describe_strip(role, strip) for role, strip in gallery.strips(decision).items()}
    return {"reason": decision.reason, "facts": facts, "strips": strips}
