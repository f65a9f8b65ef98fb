"""Verification bins for the tests, and how the tests run reencode-bin on them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faceprep.core.types import Request, Summary
from faceprep.jobs.reencode_bin import ReencodeBin
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.synthetic import encode_face
from tests.real import DATA

BINS = DATA / "bins"
BROKEN = BINS / "broken"
DAMAGED = BROKEN / "one_image_damaged.bin"
VINTAGES = ["list_container", "numpy_column", "numpy_uint8", "py2_byte_strings", "py3_bytes"]
FACES = [encode_face(i % 4, i, ".png" if i % 3 else ".jpg") for i in range(12)]


def write_bin(
    path: Path, images: Sequence[Any] = FACES, same: Sequence[bool] | None = None
) -> Path:
    labels = [i % 2 == 0 for i in range(len(images) // 2)] if same is None else list(same)
    path.write_bytes(pickle.dumps((list(images), labels)))
    return path


def reencode(*sources: Path, to: Path | None = None, workers: int = 0, **options: Any) -> Summary:
    asked = {name: options.pop(name) for name in ("limit", "overwrite") if name in options}
    job = ReencodeBin(out_dir=to, in_place=to is None, **options)
    runner = ProcessRunner(workers) if workers else SerialRunner()
    return run_job(job, Request(sources, job.output_of(sources), **asked), runner)


def read(path: Path) -> tuple[list[bytes], list[bool]]:
    """Read a bin as a trainer does."""
    with path.open("rb") as file:
        images, same = pickle.load(file, encoding="bytes")
    assert {type(image) for image in images} <= {bytes} and {type(each) for each in same} <= {bool}
    return images, same


def pixels(image: Any) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
