"""Shared by the tests of apply: a set, decisions on it, and plans that hold them."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep.core.types import Decision, Request, Summary
from faceprep.jobs.apply import Apply
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets.folder import find_identities
from faceprep.sets.listing import list_images
from faceprep.steps.listed_set import fingerprint_of
from faceprep.tables.plan import write_plan

DECISIONS = [
    Decision("merge", "0", "1", 0.9, "alike", evidence={"pairs": 9}),
    Decision("merge", "1", "2/inner"),
    Decision("drop", "3/0.jpg"),
    Decision("drop", "4"),
    Decision("move", "4/2.jpg", "3"),
    Decision("rename", "5/0.jpg", "5/first.jpg"),
    Decision("merge", "5", "3", verdict="undecided"),
    Decision("drop", "5", verdict="refused"),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six identities, each with the images 0.jpg to 2.jpg."""
    for identity in ("0", "1", "2/inner", "3", "4", "5"):
        folder = tmp_path / "source" / identity
        folder.mkdir(parents=True)
        for i in range(3):
            (folder / f"{i}.jpg").write_bytes(f"{identity} {i}".encode() * i)
    return tmp_path / "source"


def save_plan(path: Path, source: Path, decisions: list[Decision], **judged: object) -> Path:
    fingerprint = fingerprint_of(source, list_images(find_identities(source)))
    with path.open("wb") as file:
        write_plan(
            file,
            {"command": "test", "source": str(source), "fingerprint": fingerprint} | judged,
            decisions,
        )
    return path


def apply(plan: Path, output: Path, limit: int | None = None, **options: str) -> Summary:
    return run_job(Apply(**options), Request((plan,), output, limit=limit), SerialRunner())
