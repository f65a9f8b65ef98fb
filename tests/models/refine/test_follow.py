"""A search finds the faces that full detection finds, and none where there is no face."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import pytest

from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.boxes import overlaps
from faceprep.core.faces import Faces
from faceprep.models.detectors.detector import DetectorSpec, open_detector
from faceprep.models.onnx_session import Runtime
from faceprep.models.refine.follow import Seen, SquareSearch, open_square_search
from tests.photos import astronaut

pytest.importorskip("onnxruntime")
pytest.importorskip("retinaface")


@functools.cache
def search() -> SquareSearch:
    return open_square_search(Runtime("cpu", 1), 640)


def search_in(photo: Pixels, boxes: Doubles) -> Seen:
    return search().search([photo], np.zeros(len(boxes), np.intp), boxes)


@functools.cache
def full(scale: float) -> tuple[Pixels, Faces]:
    photo = cv2.resize(astronaut(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (found,) = open_detector(DetectorSpec(device="cpu", threads=1)).detect([photo])
    return photo, found.take([0])


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.15, -0.1)])
def test_the_face_is_that_of_full_detection(scale: float, shift: tuple[float, float]) -> None:
    photo, face = full(scale)
    box = face.boxes[0].astype(np.float64)
    side = float(np.ptp(box.reshape(2, 2), axis=0).max())
    seen = search_in(photo, (box + np.tile(shift, 2) * side)[None])
    assert seen.scores[0] > 0.8
    assert overlaps(seen.boxes[0], face.boxes)[0] > 0.8
    away = np.linalg.norm(seen.landmarks[0] - face.landmarks[0], axis=1).max()
    assert away < 0.08 * side


@pytest.mark.parametrize("scale", [0.75, 1.0])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.15, -0.1)])
def test_the_landmarks_of_a_large_face_are_those_of_full_detection(
    scale: float, shift: tuple[float, float]
) -> None:
    """The square holds enough of the surroundings: in one of 144 pixels they are 1 to 3 % apart."""
    photo, face = full(scale)
    box = face.boxes[0].astype(np.float64)
    side = float(np.ptp(box.reshape(2, 2), axis=0).max())
    seen = search_in(photo, (box + np.tile(shift, 2) * side)[None])
    away = np.linalg.norm(seen.landmarks[0] - face.landmarks[0], axis=1).max()
    assert away < 0.01 * side


@pytest.mark.parametrize("edge", ["left", "top"])
def test_a_face_at_the_edge_is_that_of_full_detection(edge: str) -> None:
    """The network sees an edge of the image in the square as it does in full detection."""
    photo, face = full(0.3)
    left, top = face.boxes[0, :2].astype(int).tolist()
    cut = np.ascontiguousarray({"left": photo[:, left:], "top": photo[top:]}[edge])
    (found,) = open_detector(DetectorSpec(device="cpu", threads=1)).detect([cut])
    seen = search_in(cut, found.boxes[:1].astype(np.float64))
    assert abs(seen.scores[0] - found.scores[0]) < 0.01
    assert np.abs(seen.boxes[0] - found.boxes[0]).max() < 0.7


def test_no_face_is_seen_where_none_is() -> None:
    photo, face = full(1.0)
    box = face.boxes[0].astype(np.float64)
    grey = np.full_like(photo, 127)
    assert search_in(grey, box[None]).scores[0] == 0
    for empty in (box + 5_000, box * 0 - 50, np.array([0, 0, 1e6, 1e6])):
        assert search_in(photo, empty[None]).scores[0] == 0
    none = search_in(photo, np.zeros((0, 4)))
    assert none.boxes.shape == (0, 4) and none.landmarks.shape == (0, 5, 2)


def test_faces_do_not_depend_on_each_other() -> None:
    photo, face = full(1.0)
    box = face.boxes[0].astype(np.float64)
    boxes = np.stack([box, box + 200, box + 3, box / 3, box + 8])
    small = np.ascontiguousarray(photo[::2, ::2])
    places = np.array([0, 0, 0, 1, 0])
    both = search().search([photo, small], places, boxes)
    assert (both.scores > 0).sum() >= 3
    for row, place in enumerate(places.tolist()):
        one = search_in((photo, small)[place], boxes[row : row + 1])
        assert all(np.array_equal(a[row], b[0]) for a, b in zip(both, one, strict=True))


def test_many_faces_are_no_cheaper_than_full_detection() -> None:
    box = np.array([[0.0, 0, 50, 50]])
    assert search().is_cheaper((360, 640), box)
    assert not search().is_cheaper((360, 640), np.repeat(box, 16, axis=0))
    assert search().is_cheaper((1080, 1920), 3 * np.repeat(box, 14, axis=0))
    assert not search().is_cheaper((90, 160), box)
