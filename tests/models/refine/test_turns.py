"""The turn of a photo: hints, values, and the choice among four looks."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.core.faces import Faces, no_faces
from faceprep.core.landmarks import ARCFACE_112
from faceprep.core.turns import TURNS, turn_faces, turn_image
from faceprep.models.refine.turns import best_turn, is_upright, rate_faces
from faceprep.steps.find_faces import FaceFinder, FaceOptions
from tests.photos import astronaut

NAN = float("nan")


def face(score: float = 0.99, turn: int = 0, squeeze: float = 1.0) -> Faces:
    points = (ARCFACE_112 * (squeeze, 1)).astype(np.float32)
    upright = Faces(np.array([(20, 20, 92, 110)]), points[None], np.array([score]))
    return turn_faces(upright, (112, 112), turn)


@pytest.mark.parametrize(
    ("seen", "onet", "expected"),
    [
        (face(), 0.99, True),
        (face(0.89), 0.99, False),
        (face(), 0.96, False),
        (face(), NAN, False),
        (face(turn=90), 0.99, False),
        (face(turn=180), 0.99, False),
        (face(squeeze=0.4), 0.99, False),
    ],
)
def test_hints(seen: Faces, onet: float, expected: bool) -> None:
    assert is_upright(seen, onet) is expected


def test_values() -> None:
    assert rate_faces(face(0.9), np.array([0.5])) == pytest.approx(0.45)
    assert rate_faces(face(0.9, turn=90), np.array([0.5])) == pytest.approx(0.135)
    assert rate_faces(face(0.9), np.array([NAN])) == 0
    assert rate_faces(no_faces(), np.zeros(0)) == 0


def test_a_turn_needs_a_margin() -> None:
    assert best_turn(np.array([0.0, 0.05, 0.0, 0.0])) == 0
    assert best_turn(np.array([0.5, 0.0, 0.0, 0.61])) == 270
    assert best_turn(np.zeros(4)) == 0


# With real weights


def finder(**options: object) -> FaceFinder:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("retinaface")
    return FaceOptions(device="cpu", **options).finder()  # type: ignore[arg-type]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("options", [{}, {"turns": "all"}, {"refine": False}])
def test_a_turned_photo_has_the_faces_of_the_upright_one(
    turn: int, options: dict[str, object]
) -> None:
    photo = astronaut()[:400]
    (upright,) = finder(turns="0").find([photo])
    (found,) = finder(**options).find([turn_image(photo, -turn % 360)])
    back = turn_faces(found.faces, turn_image(photo, -turn % 360).shape[:2], turn)  # type: ignore[arg-type]
    assert found.turn == turn and len(back) == 1
    width = float(np.ptp(upright.faces.boxes[0, ::2]))
    assert np.abs(back.landmarks - upright.faces.landmarks).max() < 0.06 * width
    assert ("turn" in found.note) == bool(turn)


def test_without_turns_the_photo_stays_as_it_is() -> None:
    (found,) = finder(turns="0").find([turn_image(astronaut(), 180)])
    assert found.turn == 0
