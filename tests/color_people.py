"""People of one colour each, and an embedder that tells them apart by it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from faceprep.core import registry
from faceprep.core.arrays import Pixels
from faceprep.core.embeddings import Model
from faceprep.core.registry import Entry
from faceprep.vision.codec import encode

RED, GREEN, BLUE, BLACK = (250, 0, 0), (0, 250, 0), (0, 0, 250), (0, 0, 0)
ORANGE = (250, 120, 0)
"""As alike to red as 0.90."""
SIZE = 8


class Colors:
    """The mean colour, as a direction: 1 for the same, 0 for red and green."""

    model = Model(
        "colors",
        threshold=0.9,
        merge_from=0.95,
        undecided_from=0.8,
        outlier_angle=40.0,
        origin="the rainbow",
    )
    provider, template, dim = "CPU", "arcface-112", 3

    def __init__(self, runtime: Any) -> None:
        pass

    def embed(self, crops: Pixels) -> npt.NDArray[np.float32]:
        """One vector a crop."""
        vectors: npt.NDArray[np.float32] = crops.mean(axis=(1, 2), dtype=np.float32)
        return vectors


class Brightness(Colors):
    """Tells bright from dark, whatever the colour."""

    model = Model("brightness", threshold=0.9, merge_from=0.95, undecided_from=0.8)
    dim = 2

    def embed(self, crops: Pixels) -> npt.NDArray[np.float32]:
        """One vector a crop."""
        bright = crops.mean(axis=(1, 2, 3), dtype=np.float32) > 60
        return np.stack([bright, ~bright], axis=1).astype(np.float32)


@pytest.fixture
def color_embedders(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--embedder colors` and `brightness`, in this process."""
    monkeypatch.setitem(registry.EMBEDDERS, "colors", Entry("tests.color_people:Colors"))
    monkeypatch.setitem(registry.EMBEDDERS, "brightness", Entry("tests.color_people:Brightness"))


def paint(path: Path, color: tuple[int, int, int]) -> None:
    """A crop of that colour, with a pixel of its own but for black ones, which embed as zeros."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((SIZE, SIZE, 3), color, np.uint8)
    if any(color):
        pixels[0, 0] = np.frombuffer(os.fsencode(path.name).ljust(3)[:3], np.uint8)
    path.write_bytes(encode(pixels, ".png"))
