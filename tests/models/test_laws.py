"""Laws of every detector in the registry that has weights: faces move with the image."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.core import registry
from faceprep.core.arrays import Pixels
from faceprep.core.faces import Faces
from faceprep.core.opencv import opencv
from faceprep.models.detectors.detector import DetectorSpec, SizedDetector, open_detector
from tests.photos import astronaut, matched, mirrored, six_people, widths

DETECTORS = [name for name, entry in registry.DETECTORS.items() if not entry.usage]


@pytest.fixture(params=DETECTORS, scope="module")
def detector(request: pytest.FixtureRequest) -> SizedDetector:
    return open_detector(DetectorSpec(request.param, "cpu", threads=1))


@pytest.fixture(scope="module")
def people() -> Pixels:
    return six_people()


@pytest.fixture(scope="module")
def found(detector: SizedDetector, people: Pixels) -> Faces:
    """The surest six: of the six people, and once each."""
    faces = detector.detect([people])[0]
    assert len(faces) >= 6
    return faces.take(np.arange(6))


def off(faces: Faces, truth: Faces) -> float:
    """Root mean square of how far landmarks lie from where they should, in widths of the face."""
    ours, theirs = matched(faces, truth)
    distances = np.linalg.norm(ours.landmarks - theirs.landmarks, axis=2) / widths(theirs)[:, None]
    return float(np.sqrt((distances**2).mean()))


def test_faces_move_with_a_mirror(detector: SizedDetector, people: Pixels, found: Faces) -> None:
    faces = detector.detect([np.ascontiguousarray(people[:, ::-1])])[0]
    assert off(mirrored(faces, people.shape[1]), found) < 0.05


@pytest.mark.parametrize("scale", [(0.5, 0.5), (1.5, 1.5), (0.8, 0.9)])
def test_faces_move_with_the_scale(
    detector: SizedDetector, people: Pixels, found: Faces, scale: tuple[float, float]
) -> None:
    size = (round(people.shape[1] * scale[0]), round(people.shape[0] * scale[1]))
    scaled = opencv().resize(people, size, interpolation=opencv().INTER_AREA)
    exact = (size[0] / people.shape[1], size[1] / people.shape[0])
    assert off(detector.detect([scaled])[0], found.moved(exact)) < 0.06


@pytest.mark.parametrize(("left", "top"), [(64, 128), (37, 11)])
def test_faces_move_with_a_border(detector: SizedDetector, left: int, top: int) -> None:
    image = astronaut()[:400, :480]
    framed = np.full((528, 608, 3), 90, np.uint8)
    framed[top : top + 400, left : left + 480] = image
    at_home = detector.detect([image])[0]
    assert off(detector.detect([framed])[0], at_home.moved(1, (left, top))) < 0.04


def test_a_face_that_fills_the_frame_is_found(detector: SizedDetector) -> None:
    """The face alone, cut out at its box: on the first look or on the second."""
    image = astronaut()
    x1, y1, x2, y2 = detector.detect([image])[0].boxes[0].round().astype(int)
    for scale in (1, 4, 12):
        face = opencv().resize(
            image[y1:y2, x1:x2], None, fx=scale, fy=scale, interpolation=opencv().INTER_CUBIC
        )
        detection = detector.detect_noted([face])[0]
        assert len(detection.faces) == 1, scale
        ours = detection.faces.boxes[0] / face.shape[1]
        np.testing.assert_allclose(ours, (0, 0, 1, face.shape[0] / face.shape[1]), atol=0.25)


@pytest.mark.parametrize("name", DETECTORS)
def test_small_faces_are_found_on_request_and_large_ones_still(name: str, people: Pixels) -> None:
    detector = open_detector(DetectorSpec(name, "cpu", threads=1, small_faces=True))
    truth = (
        open_detector(DetectorSpec(name, "cpu", threads=1)).detect([people])[0].take(np.arange(6))
    )
    tiny = opencv().resize(people, (320, 222), interpolation=opencv().INTER_AREA)
    framed = np.full((720, 1280, 3), 90, np.uint8)
    framed[200:422, 300:620] = tiny
    where = truth.moved((320 / 1280, 222 / 886)).moved(1, (300, 200))
    assert off(detector.detect([framed])[0], where) < 0.1
    x1, y1, x2, y2 = truth.boxes[0].round().astype(int)
    face = opencv().resize(
        people[y1:y2, x1:x2], None, fx=12, fy=12, interpolation=opencv().INTER_CUBIC
    )
    assert len(detector.detect([face])[0]) == 1
