"""Photos of flat faces, and the detectors that find them: extraction without weights.

A face is a rectangle of one colour: of red 250 and green 0 where the detector `flat` finds it, of
green 1 where its landmarks are all one point, of red 240 where only the detector `other` finds it.
Its blue is a hundred times its score.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from faceprep.core import registry
from faceprep.core.arrays import Pixels
from faceprep.core.faces import Faces, no_faces
from faceprep.core.landmarks import ARCFACE_112
from faceprep.core.registry import Entry
from faceprep.vision.codec import encode


class Flat(NamedTuple):
    """A face of `side` pixels, its upper left corner at `x` and `y`."""

    x: int
    y: int
    side: int = 60
    score: float = 0.9
    degenerate: bool = False
    for_other: bool = False


def paint(*faces: Flat, size: tuple[int, int] = (240, 320), ground: int = 90) -> Pixels:
    """A photo of `size` (height, width)."""
    pixels = np.full((*size, 3), ground, np.uint8)
    for face in faces:
        colour = 240 if face.for_other else 250, int(face.degenerate), round(face.score * 100)
        pixels[face.y : face.y + face.side, face.x : face.x + face.side] = colour
    return pixels


def save(path: Path, *faces: Flat, size: tuple[int, int] = (240, 320), ground: int = 90) -> Path:
    """The photo as a file, in a format without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower() if path.suffix.lower() in (".png", ".bmp") else ".png"
    path.write_bytes(encode(paint(*faces, size=size, ground=ground), suffix))
    return path


class FlatDetector:
    """Finds the faces of `red`."""

    provider = "CPU"
    red = 250

    def __init__(self, runtime: object, min_score: float = 0.0) -> None:
        self._min_score = min_score
        self.fingerprint = f"{type(self).__name__}/{min_score:g}"

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        return [self._find(image) for image in images]

    def _find(self, image: Pixels) -> Faces:
        inside = (image[..., 0] == self.red) & (image[..., 1] <= 1)
        n, _, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=4)
        boxes, points, scores = [], [], []
        for x, y, width, height, area in stats[1:n].tolist():
            red_green_blue = image[y + height // 2, x + width // 2].tolist()
            if area < 100 or red_green_blue[2] / 100 < self._min_score:
                continue
            boxes.append((x, y, x + width, y + height))
            spread = 0 if red_green_blue[1] else (width / 112, height / 112)
            points.append(ARCFACE_112 * spread + (x, y))
            scores.append(red_green_blue[2] / 100)
        if not boxes:
            return no_faces()
        order = np.argsort(scores)[::-1]
        return Faces(np.array(boxes), np.array(points), np.array(scores)).take(order)


class OtherDetector(FlatDetector):
    red = 240


@pytest.fixture
def flat_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--detector flat` and `other`, in this process."""
    monkeypatch.setitem(registry.DETECTORS, "flat", Entry("tests.flat_faces:FlatDetector"))
    monkeypatch.setitem(registry.DETECTORS, "other", Entry("tests.flat_faces:OtherDetector"))
