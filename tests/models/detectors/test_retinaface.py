"""RetinaFace: the formulas in double precision, true batches, colour order."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from faceprep.core.arrays import Pixels
from faceprep.core.faces import Faces
from faceprep.models.detectors.detector import SizedDetector
from faceprep.models.detectors.retinaface import RetinaFace, build_anchors
from faceprep.models.detectors.retinaface_strides import STRIDES, keep_strides
from faceprep.models.onnx_session import Network, Runtime
from faceprep.models.weights import retinaface_onnx
from tests.photos import astronaut, matched, photo, six_people
from tests.real import needs_data

CPU = Runtime("cpu", threads=1)


@pytest.fixture(scope="module")
def detector() -> RetinaFace:
    return RetinaFace(CPU)


def reference(
    image: Pixels, least: float = 0.8
) -> list[tuple[float, list[float], npt.NDArray[np.float64]]]:
    """(score, box, points) of every anchor over `least`, one at a time in double precision,
    before suppression.
    """
    bgr = image[..., ::-1].astype(np.float64) - (104, 117, 123)
    network = CPU.open(retinaface_onnx())
    shifts, sureness, points = (
        answer[0].astype(np.float64)
        for answer in network.run(bgr.transpose(2, 0, 1)[None].astype(np.float32))
    )
    height, width = image.shape[:2]
    found, row = [], 0
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for i in range(math.ceil(height / stride)):
            for j in range(math.ceil(width / stride)):
                for side in sides:
                    if sureness[row, 1] >= least:
                        x, y = (j + 0.5) * stride, (i + 0.5) * stride
                        cx, cy = x + 0.1 * side * shifts[row, 0], y + 0.1 * side * shifts[row, 1]
                        w, h = (
                            side * math.exp(0.2 * shifts[row, 2]),
                            side * math.exp(0.2 * shifts[row, 3]),
                        )
                        five = points[row].reshape(5, 2) * 0.1 * side + (x, y)
                        found.append(
                            (
                                sureness[row, 1],
                                [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2],
                                five,
                            )
                        )
                    row += 1
    assert row == len(shifts)
    return found


def furthest_from_reference(faces: Faces, image: Pixels) -> tuple[float, float]:
    """Largest distance of a coordinate and of a score from the nearest answer of the reference."""
    coordinates, scores = 0.0, 0.0
    answers = reference(image)
    for box, points, score in zip(faces.boxes, faces.landmarks, faces.scores, strict=True):
        sure, near, five = min(
            answers, key=lambda answer: float(np.abs(np.array(answer[1]) - box).max())
        )
        coordinates = max(
            coordinates, float(np.abs(near - box).max()), float(np.abs(five - points).max())
        )
        scores = max(scores, abs(sure - score))
    return coordinates, scores


@pytest.mark.parametrize("picture", [astronaut, six_people])
def test_agrees_with_the_formulas_in_double_precision(
    detector: RetinaFace, picture: object
) -> None:
    image = picture()  # type: ignore[operator]
    faces = detector.detect([image])[0]
    assert len(faces)
    coordinates, scores = furthest_from_reference(faces, image)
    assert coordinates < 0.1 and scores < 1e-3
    top = max(reference(image), key=lambda answer: answer[0])
    assert abs(top[0] - faces.scores[0]) < 1e-3, "the surest answer of all stays"


def test_the_reference_tells_red_from_blue(detector: RetinaFace) -> None:
    image = astronaut()
    swapped = detector.detect([np.ascontiguousarray(image[..., ::-1])])[0]
    assert furthest_from_reference(swapped, image)[0] > 0.1


def test_a_batch_is_as_one_by_one(detector: RetinaFace, monkeypatch: pytest.MonkeyPatch) -> None:
    image = astronaut()
    images = [image, image[:, ::-1].copy(), np.zeros_like(image), image[:300], image[::-1].copy()]
    single = [detector.detect([image])[0] for image in images]
    monkeypatch.setattr(Network, "best_batch", 16)
    sizes = []
    run = Network.run
    monkeypatch.setattr(
        Network, "run", lambda self, batch: sizes.append(len(batch)) or run(self, batch)
    )
    for one, together in zip(single, detector.detect(images), strict=True):
        np.testing.assert_allclose(together.boxes, one.boxes, atol=1e-2)
        np.testing.assert_allclose(together.landmarks, one.landmarks, atol=1e-2)
        np.testing.assert_allclose(together.scores, one.scores, atol=1e-4)
    assert sizes == [4, 1], "images of one shape go in together"
    assert [len(faces) for faces in single][:3] == [1, 1, 0]


def test_the_surest_comes_first_and_no_face_twice(detector: RetinaFace) -> None:
    faces = detector.detect([six_people()])[0]
    assert len(faces) == 6
    assert (np.diff(faces.scores) <= 0).all()


def test_landmarks_are_as_the_viewer_sees_them(detector: RetinaFace) -> None:
    left_eye, right_eye, nose, left_mouth, right_mouth = detector.detect([astronaut()])[
        0
    ].landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_an_empty_batch_is_empty(detector: RetinaFace) -> None:
    assert detector.detect([]) == []


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 65), (360, 640)])
def test_there_is_an_anchor_for_each_answer(height: int, width: int) -> None:
    shifts, _, _ = CPU.open(retinaface_onnx()).run(np.zeros((1, 3, height, width), np.float32))
    assert build_anchors(height, width).shape == (shifts.shape[1], 3)


@pytest.mark.parametrize("strides", [(8,), (16,), (8, 32), STRIDES])
def test_a_graph_of_some_strides_gives_their_answers(strides: tuple[int, ...]) -> None:
    planes = np.random.default_rng(1).uniform(-110, 140, (2, 3, 96, 128)).astype(np.float32)
    whole, anchors = CPU.open(retinaface_onnx()).run(planes), build_anchors(96, 128).tolist()
    part = CPU.open(keep_strides(retinaface_onnx(), strides)).run(planes)
    kept = build_anchors(96, 128, strides).tolist()
    rows = [anchors.index(anchor) for anchor in kept]
    for ours, theirs in zip(part, whole, strict=True):
        np.testing.assert_allclose(ours, theirs[:, rows], atol=1e-5)


def test_a_graph_of_one_stride_is_smaller() -> None:
    assert len(keep_strides(retinaface_onnx(), (16,))) < 0.9 * len(retinaface_onnx())


def test_large_faces_are_seen_at_one_stride_as_at_all() -> None:
    face = RetinaFace(CPU).detect([astronaut()])[0].take([0])
    matched(RetinaFace(CPU, strides=(16,)).detect([astronaut()])[0], face, least=0.999)
    assert len(RetinaFace(CPU, strides=(32,)).detect([astronaut()])[0]) == 0


@needs_data
def test_finds_the_people_in_the_groups(detector: RetinaFace) -> None:
    sized = SizedDetector(detector)
    names = ("couple", "ivan", "selfie-many-people", "no-faces")
    assert [len(sized.detect([photo(f"groups/{name}.jpg")])[0]) for name in names] == [2, 1, 6, 0]


def test_a_score_below_the_least_is_no_face() -> None:
    image = six_people()
    sure = RetinaFace(CPU, min_score=0.9995).detect([image])[0]
    assert 0 < len(sure) < 6 and (sure.scores >= 0.9995).all()
    matched(RetinaFace(CPU).detect([image])[0], sure, least=0.99)


def test_each_graph_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detection, refinement and tracking use the network with other scores and strides."""
    opened, really_open = list[int](), Runtime.open

    def count(runtime: Runtime, model: bytes) -> Network:
        opened.append(len(model))
        return really_open(runtime, model)

    monkeypatch.setattr(Runtime, "open", count)
    other = Runtime("cpu", threads=3)
    for min_score in (0.8, 0.5):
        for strides in (STRIDES, (16,)):
            RetinaFace(other, min_score, strides)
    assert len(opened) == 2
