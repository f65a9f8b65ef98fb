"""What the trail of tracked faces says of the next frame."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.core.faces import Faces
from faceprep.core.landmarks import ARCFACE_112, apply_transforms
from faceprep.models.refine.refiner import ONET, RETINAFACE
from faceprep.steps.found import Found
from faceprep.steps.trail import Answers, TrackedFaces, make_faces
from tests.heads import turned_head


@pytest.mark.parametrize(
    ("refiner", "score", "nose", "is_away"),
    [
        (RETINAFACE, 0.99, 0.0, False),
        (RETINAFACE, 0.5, 0.0, True),
        (RETINAFACE, 0.99, 30.0, True),
        (ONET, 0.99, 30.0, False),
    ],
)
def test_o_net_skips_faces_that_it_hardly_decides(
    refiner: str, score: float, nose: float, is_away: bool
) -> None:
    """`nose` is moved by so many pixels to the side; the eyes are 35 apart."""
    landmarks = ARCFACE_112[None] + 0
    landmarks[0, 2, 0] += nose
    faces = Faces(np.array([[6, 6, 106, 106]]), landmarks, np.ones(1))
    scores = np.array([score], np.float32)
    tracked = TrackedFaces.begin(0, Found(faces, refiners=(refiner,), onet_scores=scores))
    assert tracked.turned_away().tolist() == [is_away]


def test_the_refiner_begins_with_landmarks_as_the_detectors() -> None:
    """The face moves, turns and grows after the full detection, and its landmarks with it."""
    detected = ARCFACE_112[None] + np.array([[3, 1], [2, 0], [0, 4], [1, 1], [-2, 0]])
    faces = Faces(np.array([[6, 6, 106, 106]]), ARCFACE_112[None], np.ones(1))
    tracked = TrackedFaces.begin(0, Found(faces, refiners=(ONET,), detected_landmarks=detected))
    transform = np.array([[[1.5, -0.4, 20], [0.4, 1.5, 70]]])
    moved = Faces(faces.boxes, apply_transforms(ARCFACE_112[None], transform), faces.scores)
    expected = apply_transforms(detected, transform)
    assert np.abs(tracked.as_detected(moved).landmarks - expected).max() < 1e-4
    plain = TrackedFaces.begin(0, Found(faces))
    assert np.array_equal(plain.as_detected(faces).landmarks, faces.landmarks.astype(np.float32))


@pytest.mark.parametrize(
    ("yaw", "roll", "scale"), [(30, 0, 1), (-40, 0, 1), (30, 50, 2), (0, 0, 1)]
)
def test_a_box_stays_around_the_head_when_it_turns_aside(
    yaw: float, roll: float, scale: float
) -> None:
    """The middle of the head lies 45 mm behind its face; its box is 120 mm wide."""
    before, after = turned_head(0)[None], turned_head(yaw, roll=roll)[None] * scale
    faces = Faces(np.array([[-60, -75, 60, 75]]), before, np.ones(1))
    tracked = TrackedFaces.begin(0, Found(faces, refiners=(ONET,)))
    expected = make_faces(tracked.boxes, after, faces.scores)
    answers = Answers.expect(expected)
    answers.refiners[:] = ONET
    moved, _ = tracked.advance(np.array([1]), answers)
    sideways = -45 * np.sin(np.radians(yaw)) * scale
    middle = sideways * np.array([np.cos(np.radians(roll)), np.sin(np.radians(roll))])
    assert np.linalg.norm(moved.boxes.centres[0] - middle) < 10 * scale
