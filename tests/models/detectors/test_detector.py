"""Laws of every detector: bounded size, exact scaling back, a second look, a note on anything but
an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.arrays import Pixels
from faceprep.core.errors import OptionError
from faceprep.core.faces import Faces, no_faces
from faceprep.models.detectors.detector import (
    DetectorSpec,
    SizedDetector,
    fit_to,
    join_passes,
    open_detector,
    problem_of,
)


class SpotDetector:
    """Finds the bright rectangle of an image exactly, unless it touches the image's edge."""

    fingerprint, provider = "spot", "CPU"

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        self.seen += [image.shape[:2] for image in images]
        return [self._find(image[..., 0] > 127) for image in images]

    def _find(self, bright: np.ndarray) -> Faces:  # type: ignore[type-arg]
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        if not len(rows):
            return no_faces()
        y1, y2, x1, x2 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        if y1 == 0 or x1 == 0 or y2 == bright.shape[0] or x2 == bright.shape[1]:
            return no_faces()
        points = [(x1, y1), (x2, y1), ((x1 + x2) / 2, (y1 + y2) / 2), (x1, y2), (x2, y2)]
        return Faces(np.array([(x1, y1, x2, y2)]), np.array([points]), np.ones(1))


def spot(height: int, width: int, box: tuple[int, int, int, int]) -> Pixels:
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return image


@given(
    st.sampled_from([2, 4]),
    st.integers(1, 60),
    st.integers(1, 40),
    st.integers(1, 90),
    st.integers(1, 90),
)
def test_the_way_back_is_exact(times: int, x: int, y: int, width: int, height: int) -> None:
    box = np.array([x, y, x + width, y + height]) * times
    image = spot(200 * times, 320 * times, tuple(box))
    detection = SizedDetector(SpotDetector(), det_size=320).detect_noted([image])[0]
    np.testing.assert_allclose(detection.faces.boxes[0], box, atol=1e-4)
    np.testing.assert_allclose(detection.faces.landmarks[0, [0, 4]].ravel(), box, atol=1e-4)
    assert not detection.is_bordered


@given(st.integers(100, 500), st.integers(100, 500), st.integers(32, 99))
def test_the_way_back_is_within_a_pixel_of_detection(
    height: int, width: int, long_side: int
) -> None:
    """Whatever the sides, and wherever they are rounded."""
    box = (width // 4, height // 5, width // 4 * 3, height // 5 * 4)
    faces = SizedDetector(SpotDetector(), det_size=long_side).detect([spot(height, width, box)])[0]
    np.testing.assert_allclose(faces.boxes[0], box, atol=1.01 * max(height, width) / long_side)


@given(st.integers(1, 600), st.integers(1, 600), st.integers(32, 300))
def test_the_long_side_is_bounded_and_small_images_stay(
    height: int, width: int, long_side: int
) -> None:
    image = np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))
    if max(height, width) <= long_side:
        assert fit_to(image, long_side) is image
    else:
        small = fit_to(image, long_side).shape
        assert max(small[:2]) == long_side
        assert small[0] == max(1, round(height * long_side / max(height, width)))


@pytest.mark.parametrize(
    ("shape", "det_size", "seen"),
    [((100, 160), 640, [(100, 160), (200, 320)]), ((720, 1280), 320, [(180, 320), (360, 640)])],
)
def test_small_faces_are_looked_for_at_twice_the_size(
    shape: tuple[int, int], det_size: int, seen: list[tuple[int, int]]
) -> None:
    image = spot(*shape, (40, 40, 80, 80))
    plain, small = SpotDetector(), SpotDetector()
    SizedDetector(plain, det_size).detect([image])
    faces = SizedDetector(small, det_size, small_faces=True).detect([image])[0]
    assert plain.seen == seen[:1] and small.seen == seen
    assert len(faces) == 1, "found twice, given once"
    np.testing.assert_allclose(faces.boxes[0], (40, 40, 80, 80), atol=0.25)


class LargeLooksSeeParts(SpotDetector):
    """Sees the spot where it has at most 150 pixels, and its upper left quarter where it has
    more.
    """

    def _find(self, bright: np.ndarray) -> Faces:  # type: ignore[type-arg]
        faces = super()._find(bright)
        whole = len(faces) and faces.boxes[0, 2] - faces.boxes[0, 0] <= 150
        return (
            faces if whole else Faces(faces.boxes * [1, 1, 0.7, 0.7], faces.landmarks, faces.scores)
        )


def test_parts_of_a_large_face_are_no_small_faces() -> None:
    image = spot(720, 1280, (400, 200, 900, 600))
    detector = SizedDetector(LargeLooksSeeParts(), det_size=320, small_faces=True)
    np.testing.assert_allclose(detector.detect([image])[0].boxes, [(400, 200, 900, 600)], atol=0.1)


def test_a_large_detection_size_leaves_large_faces_whole() -> None:
    large = spot(1440, 2560, (800, 400, 1360, 900))
    detector = LargeLooksSeeParts()
    (faces,) = SizedDetector(detector, det_size=2048).detect([large])
    assert detector.seen == [(360, 640), (1152, 2048)]
    np.testing.assert_allclose(faces.boxes, [(800, 400, 1360, 900)], atol=0.1)
    little = spot(1440, 2560, (800, 400, 804, 404))
    (faces,) = SizedDetector(SpotDetector(), det_size=2048).detect([little])
    assert len(faces) == 1, "what only the large look sees counts too"


def test_a_large_detection_size_costs_small_images_nothing() -> None:
    detector = SpotDetector()
    SizedDetector(detector, det_size=2048).detect([spot(300, 640, (40, 40, 80, 80))])
    assert detector.seen == [(300, 640)]


def test_boxes_inside_a_face_of_a_higher_score_are_dropped() -> None:
    boxes = np.array([(0, 0, 100, 100), (60, 10, 90, 40), (90, 0, 130, 40), (300, 0, 340, 40)])
    points = np.zeros((4, 5, 2))
    whole = Faces(boxes[:1], points[:1], [0.9])
    parts = Faces(boxes[1:], points[1:], [0.85, 0.84, 0.83])
    assert (join_passes(whole, parts).boxes == boxes[[0, 2, 3]]).all()
    surer = Faces(boxes[1:2], points[1:2], [0.95])
    assert len(join_passes(whole, surer)) == 2, "a surer face before a larger one stays"


def test_shrinking_averages_what_it_covers() -> None:
    """Noise goes with the area; sampling alone would keep it."""
    noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    assert fit_to(noise, 320).std() < noise.std() / 4


def test_a_face_that_fills_the_frame_is_found_on_a_border() -> None:
    image = np.full((1080, 1920, 3), 255, np.uint8)
    detection = SizedDetector(SpotDetector()).detect_noted([image])[0]
    assert detection.is_bordered and not detection.problem
    np.testing.assert_allclose(detection.faces.boxes[0], (0, 0, 1920, 1080), atol=1e-3)


def test_nothing_is_found_where_there_is_nothing() -> None:
    detection = SizedDetector(SpotDetector()).detect_noted([np.zeros((9, 9, 3), np.uint8)])[0]
    assert not len(detection.faces) and not detection.is_bordered and not detection.problem


class BorderDetector(SpotDetector):
    """Finds one face, in the upper left corner, and only on the border."""

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        corner = Faces(np.array([(0, 0, 4, 4)]), np.zeros((1, 5, 2)), np.ones(1))
        return [no_faces() if image.any() and image[0, 0, 0] else corner for image in images]


class WeakDetector(SpotDetector):
    """Gives a spot of less than 60 pixels half the score."""

    def _find(self, bright: np.ndarray) -> Faces:  # type: ignore[type-arg]
        faces = super()._find(bright)
        is_small = len(faces) and faces.boxes[0, 2] - faces.boxes[0, 0] < 60
        return Faces(faces.boxes, faces.landmarks, faces.scores / 2) if is_small else faces


def test_a_face_that_is_not_sure_is_looked_at_in_twice_the_size() -> None:
    image = spot(720, 1280, (400, 200, 480, 280))
    weak = SizedDetector(WeakDetector(), sure_score=0.0).detect_noted([image])[0]
    assert not weak.is_doubled and len(weak.faces) == 1 and weak.faces.scores[0] < 0.6
    sure = SizedDetector(WeakDetector(), sure_score=0.8).detect_noted([image])[0]
    assert sure.is_doubled and not sure.is_bordered
    np.testing.assert_allclose(sure.faces.boxes, [(400, 200, 480, 280)], atol=0.1)
    small = SizedDetector(WeakDetector(), sure_score=0.8).detect_noted([image[100:400, 300:600]])[0]
    assert not small.is_doubled and len(small.faces) == 1, (
        "it has no more to show; the weak answer stays"
    )


def test_what_is_on_the_border_is_no_face() -> None:
    detection = SizedDetector(BorderDetector()).detect_noted([np.full((90, 90, 3), 255, np.uint8)])[
        0
    ]
    assert not len(detection.faces) and not detection.is_bordered


BAD = {
    "grey": np.zeros((9, 9), np.uint8),
    "with alpha": np.zeros((9, 9, 4), np.uint8),
    "floats": np.zeros((9, 9, 3), np.float32),
    "empty": np.zeros((0, 9, 3), np.uint8),
    "no array": "a.jpg",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_does_not_fail_its_batch(kind: str) -> None:
    good = spot(100, 160, (40, 40, 80, 80))
    detector = SizedDetector(SpotDetector())
    detections = detector.detect_noted([good, BAD[kind], good])  # type: ignore[list-item]
    assert [len(detection.faces) for detection in detections] == [1, 0, 1]
    assert [bool(detection.problem) for detection in detections] == [False, True, False]
    with pytest.raises(ValueError, match="image 1: expected height × width × 3 uint8 RGB, found"):
        detector.detect([good, BAD[kind]])  # type: ignore[list-item]
    assert problem_of(good) == ""


def test_an_empty_batch_is_empty() -> None:
    assert SizedDetector(SpotDetector()).detect([]) == []


def test_fingerprints_name_what_the_answers_depend_on() -> None:
    specs = [
        DetectorSpec(device="cpu", threads=1),
        DetectorSpec(device="cpu", threads=1, det_size=320),
        DetectorSpec(device="cpu", threads=1, small_faces=True),
        DetectorSpec(device="cpu", threads=1, min_score=0.5),
    ]
    opened = [open_detector(spec) for spec in specs]
    assert len({detector.fingerprint for detector in opened}) == len(specs)
    assert open_detector(DetectorSpec(device="cpu", threads=1)) is opened[0]
    assert opened[0].provider == "CPU"
    assert opened[0].fingerprint.startswith("retinaface/") and opened[0].fingerprint.endswith(
        "/det640"
    )


@pytest.mark.parametrize("name", ["retina", "retinaface:x", "insightface", "insightface:", ""])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match="unknown"):
        open_detector(DetectorSpec(name))


# A minimum size


class SelectiveSpot(SpotDetector):
    """A detector that can skip small faces."""

    def __init__(self) -> None:
        super().__init__()
        self.least: list[float] = []

    def detect_from(self, images: Sequence[Pixels], min_face: float) -> list[Faces]:
        self.least.append(min_face)
        return self.detect(images)


@pytest.mark.parametrize(("side", "n_found"), [(38, 0), (40, 1), (60, 1)])
def test_smaller_faces_are_dropped(side: int, n_found: int) -> None:
    """The longer side counts, in pixels of the image, in every pass."""
    image = spot(400, 640, (100, 100, 100 + side, 120))
    sized = SizedDetector(SpotDetector(), det_size=320, sure_score=0.5, min_face=40)
    (found,) = sized.detect([image])
    assert len(found) == n_found and sized.fingerprint.endswith("/min40")


def test_a_detector_with_a_minimum_is_given_it_at_its_own_size() -> None:
    detector = SelectiveSpot()
    images = [spot(400, 640, (100, 100, 180, 190)), spot(200, 320, (100, 100, 150, 150))]
    found = SizedDetector(detector, det_size=320, min_face=40).detect(images)
    assert sorted(detector.least) == [20, 40]
    assert [len(faces) for faces in found] == [1, 1] and found[0].boxes[0, 0] == 100
