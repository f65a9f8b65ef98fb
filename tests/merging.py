"""Shared by the tests of merge-identities: a set with people under two names, as images and as
embeddings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.cli import main
from faceprep.core.embeddings import Embeddings
from faceprep.core.types import Request, Summary
from faceprep.jobs.apply import Apply
from faceprep.jobs.merge_identities import MergeIdentities
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.tables.embeddings import Place, write_npz
from faceprep.tables.plan import read_plan
from tests.color_people import BLUE, GREEN, ORANGE, RED, Colors, paint

SET = {
    "a/1.png": RED,
    "b/1.png": RED,
    "b/2.png": RED,
    "c/1.png": GREEN,
    "d/1.png": ORANGE,
    "e/1.png": BLUE,
    "f/1.png": BLUE,
    "f/2.png": BLUE,
    "g/1.png": BLUE,
}
MERGED = {
    "b/1.png",
    "b/2.png",
    "b/a_1.png",
    "c/1.png",
    "d/1.png",
    "f/1.png",
    "f/2.png",
    "f/e_1.png",
    "f/g_1.png",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, color in SET.items():
        paint(tmp_path / "source" / name, color)
    return tmp_path / "source"


def merge(source: Path, output: Path, limit: int | None = None, **options: Any) -> Summary:
    if source.is_dir():
        options = {"embedder": "colors"} | options
    job = MergeIdentities(**options)
    return run_job(job, Request((source,), output, limit=limit), SerialRunner())


def call_merge(monkeypatch: pytest.MonkeyPatch, source: Path, output: Path, *options: str) -> int:
    """Call the command line, and return its exit status."""
    words = ["faceprep", "merge-identities", str(source), str(output), "--embedder", "colors"]
    monkeypatch.setattr("sys.argv", [*words, "--runner", "serial", *options])
    return main()


def apply(plan: Path, output: Path) -> Summary:
    return run_job(Apply(), Request((plan,), output), SerialRunner())


def decided(output: Path) -> list[tuple[str, ...]]:
    return [(d.action, d.subject, d.into, d.verdict) for d in read_plan(output / "plan.jsonl")[1]]


def embed(
    source: Path, file: Path, names: dict[str, tuple[int, int, int]] = SET, **changed: Any
) -> Path:
    """Return the embeddings that `embed` makes of the images."""
    rows = {
        "keys": list(names),
        "identities": [name.rpartition("/")[0] for name in names],
        "vectors": np.array(list(names.values()), np.float32),
        "model": Colors.model,
    }
    with file.open("wb") as opened:
        write_npz(opened, Embeddings(**rows | changed), Place(str(source), f"{source}/"))
    return file
