"""Edits that the driver makes between two commands, the same for both checkouts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path


def accept(plan: Path) -> None:
    """Accept every undecided decision of a plan."""
    lines = [json.loads(line) for line in plan.read_text().splitlines()]
    for decision in lines[1:]:
        if decision.get("verdict") == "undecided":
            decision["verdict"] = "accepted"
    plan.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def refuse_first(plan: Path) -> None:
    """Refuse the first decision of a plan."""
    lines = [json.loads(line) for line in plan.read_text().splitlines()]
    if len(lines) > 1:
        lines[1]["verdict"] = "refused"
    plan.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def save_verdicts(plan: Path, target: Path) -> None:
    """Write the file that the page without a server saves: every decision is refused."""
    lines = [json.loads(line) for line in plan.read_text().splitlines()]
    verdicts = []
    for number, decision in enumerate(lines[1:]):
        before = decision.get("verdict", "accepted")
        verdict = {"number": number, "action": decision["action"]}
        verdict |= {"subject": decision["subject"], "into": decision.get("into", "")}
        verdicts.append(verdict | {"verdict": "refused", "before": before})
    target.write_text("".join(json.dumps(verdict) + "\n" for verdict in verdicts))


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_note(path: Path) -> None:
    """Write a small text file that no command knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a note\n")


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder."""
    source.rename(target)


EDITS: dict[str, Callable[..., None]] = {
    "accept": accept,
    "refuse_first": refuse_first,
    "save_verdicts": save_verdicts,
    "remove": remove,
    "write_note": write_note,
    "move": move,
}
