"""Crops with known vectors, and embed as the tests start it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.embeddings import Embeddings
from faceprep.core.types import Request, Summary
from faceprep.jobs.embed.job import Embed
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.vision.codec import encode
from tests.tiny_models import expected, random_crops, save_onnx

CROPS = random_crops(12)
NAMES = [f"{identity}/{i}.png" for identity in ("9", "10", "b") for i in range(4)]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model that gives `WANTED`."""
    return str(save_onnx(tmp_path_factory.mktemp("net") / "net.onnx"))


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 people with 4 crops each."""
    root = tmp_path_factory.mktemp("crops")
    for name, crop in zip(NAMES, CROPS, strict=True):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(encode(crop, ".png"))
    return root


def run(
    source: Path,
    output: Path,
    net: str,
    workers: int = 0,
    request: dict[str, Any] | None = None,
    **options: Any,
) -> Summary:
    runner = ProcessRunner(workers) if workers else SerialRunner()
    job = Embed(embedder=net, device="cpu", **options)
    return run_job(job, Request((source,), output, **(request or {})), runner)


def by_name(embeddings: Embeddings) -> dict[str, Any]:
    return {
        key: vector.tolist()
        for key, vector in zip(embeddings.keys, embeddings.vectors, strict=True)
    }


WANTED = dict(zip(NAMES, expected(CROPS), strict=True))


def are_wanted(found: dict[str, Any], wanted: dict[str, Any] = WANTED) -> bool:
    return found.keys() == wanted.keys() and all(
        np.allclose(found[key], wanted[key], atol=1e-4) for key in found
    )
