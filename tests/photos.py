"""Real faces for the tests of detectors: photos that installed packages bring, and those beside
the project.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from faceprep.core.arrays import Pixels
from faceprep.core.boxes import overlaps
from faceprep.core.faces import Faces
from faceprep.vision.codec import decode
from tests.real import DATA

MIRRORED = [1, 0, 2, 4, 3]
"""Landmarks of a face that is mirrored: left and right change places."""


def package_file(package: str, name: str) -> Path:
    """A file of an installed package, which need not be importable; skips where it is not
    installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    return Path(spec.origin).parent / name


def astronaut() -> Pixels:
    """512 × 512, one face (scikit-image; NASA, public domain)."""
    return decode(package_file("skimage", "data/astronaut.png").read_bytes())


def six_people() -> Pixels:
    """886 × 1280, six faces (insightface's t1)."""
    return decode(package_file("insightface", "data/images/t1.jpg").read_bytes())


def photo(name: str) -> Pixels:
    """One of the real photos, `groups/couple.jpg`."""
    return decode((DATA / "photos" / name).read_bytes())


def matched(found: Faces, truth: Faces, least: float = 0.5) -> tuple[Faces, Faces]:
    """Pairs of faces that overlap; every true face must have its own."""
    shares = overlaps(found.boxes[:, None], truth.boxes)
    if not len(truth):
        return found.take([]), truth
    best = shares.argmax(axis=0)
    assert len(set(best)) == len(truth) and (shares.max(axis=0) >= least).all(), shares.max(axis=0)
    return found.take(best), truth


def widths(faces: Faces) -> npt.NDArray[np.float32]:
    return faces.boxes[:, 2] - faces.boxes[:, 0]


def mirrored(faces: Faces, width: int) -> Faces:
    """Return landmarks as they are in the mirrored image of that width."""
    boxes = faces.boxes.copy()
    boxes[:, [0, 2]] = width - faces.boxes[:, [2, 0]]
    landmarks = faces.landmarks[:, MIRRORED]
    landmarks[..., 0] = width - landmarks[..., 0]
    return Faces(boxes, landmarks, faces.scores)
