"""Reports as numbers, and a set to report on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faceprep import Report, Request, SerialRunner, run_job
from faceprep.core.job import Job
from faceprep.core.types import Summary
from faceprep.synthetic import encode_face
from tests.pages.report.pages import Page


def report(out: Path, **options: Any) -> dict[str, Any]:
    """The numbers; the page is looked at on the way."""
    made = Report(**options).look(out)
    Page(made.path).judge()
    numbers: dict[str, Any] = json.loads(made.numbers_path.read_bytes())
    assert [name for name in numbers if name not in ("command", "faceprep", "output")] == list(
        dict.fromkeys(made.as_json()["sections"])
    )
    return numbers


def run(job: Job, source: Path, output: Path) -> Summary:
    """Run a job on one source."""
    return run_job(job, Request((source,), output), SerialRunner())


@pytest.fixture
def lopsided(tmp_path: Path) -> Path:
    """Identities of 1, 2, 3 … 12 images."""
    root = tmp_path / "faces"
    for identity in range(12):
        (root / f"p{identity}").mkdir(parents=True)
        for image in range(identity + 1):
            (root / f"p{identity}" / f"{image}.jpg").write_bytes(encode_face(identity, image))
    return root
