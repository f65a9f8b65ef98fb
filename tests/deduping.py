"""Shared by the tests of dedupe: people with planted copies of each kind."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from faceprep import ProcessRunner, Request, SerialRunner, Summary, run_job
from faceprep.core.arrays import Pixels
from faceprep.core.types import Decision
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.synthetic import draw_face
from faceprep.tables.plan import read_plan
from faceprep.vision.codec import encode


def run(
    source: Path, output: Path, workers: int = 0, limit: int | None = None, **options: Any
) -> Summary:
    runner = ProcessRunner(workers) if workers else SerialRunner()
    return run_job(
        Dedupe(**({"embedder": "none"} | options)), Request((source,), output, limit=limit), runner
    )


def plan_of(output: Path) -> tuple[dict[str, Any], list[Decision]]:
    judged, decisions = read_plan(output / "plan.jsonl")
    return dict(judged), list(decisions)


def sized(image: Pixels, side: int) -> Pixels:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def squeezed(image: Pixels) -> bytes:
    """A PNG of fewer bytes than `encode` writes: of equal images, the larger file stays."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", optimize=True)
    return file.getvalue()


def planted(image: Pixels, stem: str) -> dict[str, bytes]:
    """A photo and a copy of each kind."""
    return {
        f"{stem}.png": encode(image, ".png"),
        f"{stem}_same.png": encode(image, ".png"),
        f"{stem}_q80.jpg": encode(image, ".jpg", 80),
        f"{stem}_half.png": encode(sized(image, 56), ".png"),
        f"{stem}_mirror.png": squeezed(image[:, ::-1]),
    }


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 people, one photo with copies each; one of a's also in b, the other way round in
    quality.
    """
    files: dict[str, bytes] = {}
    for identity in "abc":
        files |= planted(draw_face(ord(identity), 0)[0], f"{identity}/0")
    stray = draw_face(50, 0)[0]
    files |= {
        "a/stray.jpg": encode(stray, ".jpg", 85),
        "b/stray.png": encode(stray, ".png"),
        "c/bad.jpg": b"hello",
    }
    return write(tmp_path_factory.mktemp("crops"), files)
