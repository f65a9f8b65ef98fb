"""The pose of heads in space, turned by known angles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.landmarks import ARCFACE_112, apply_transforms, estimate_similarity
from faceprep.vision.pose import estimate_pose
from tests.heads import turned_head

YAWS = range(-60, 61, 5)


def worst_yaw(**head: float) -> float:
    landmarks = np.stack([turned_head(yaw=yaw, **head) for yaw in YAWS])
    return float(np.abs(estimate_pose(landmarks).yaw - YAWS).max())


def test_yaw_within_its_range() -> None:
    assert worst_yaw() < 0.1
    assert worst_yaw(roll=50) < 0.1
    assert max(worst_yaw(pitch=pitch) for pitch in (-20, -10, 10, 20, 30)) < 2
    assert 10 < worst_yaw(pitch=-30) < 20
    assert worst_yaw(distance=600) < 3


@given(st.floats(-180, 180), st.floats(0.2, 30), st.floats(-3000, 3000), st.floats(-60, 60))
def test_yaw_and_lean_do_not_depend_on_place_size_and_roll(
    angle: float, scale: float, shift: float, yaw: float
) -> None:
    turn = scale * np.exp(1j * np.radians(angle))
    moved = np.array([[turn.real, -turn.imag, shift], [turn.imag, turn.real, -shift]])
    here = turned_head(yaw=yaw)[None]
    one, other = estimate_pose(here), estimate_pose(apply_transforms(here, moved[None]))
    assert np.abs(one.yaw - other.yaw).max() < 1e-4 and np.abs(one.lean - other.lean).max() < 1e-4


@given(st.floats(-70, 70), st.floats(-70, 70))
def test_a_mirror_turns_the_signs(yaw: float, roll: float) -> None:
    here = turned_head(yaw=yaw, roll=roll)
    there = (here * [-1, 1])[[1, 0, 2, 4, 3]]
    one, other = estimate_pose(here[None]), estimate_pose(there[None])
    assert abs(one.yaw + other.yaw)[0] < 1e-6
    assert estimate_pose([ARCFACE_112 * [-1, 1]]).yaw.shape == (1,)


@pytest.mark.parametrize("roll", [-170, -40, 0, 15, 90])
def test_roll_sets_upright(roll: float) -> None:
    """Expect the opposite of the turn of the head, positive clockwise.

    The template itself is tilted by 0.3°.
    """
    assert abs(estimate_pose(turned_head(roll=roll)[None]).roll[0] + roll) < 0.4


def test_lean_is_that_of_the_crop() -> None:
    landmarks = turned_head(yaw=30, roll=12)[None] * 3 + 100
    ((left, right, nose, *_),) = apply_transforms(
        landmarks, estimate_similarity(landmarks, ARCFACE_112)
    )
    (lean,) = estimate_pose(landmarks).lean
    assert abs(lean - (nose[0] - (left[0] + right[0]) / 2)) < 1e-9 and lean > 5


def test_signs_and_profiles() -> None:
    pose = estimate_pose([turned_head(yaw=yaw) for yaw in (25, -25, 85, -85)])
    assert pose.yaw[0] > 20 and pose.yaw[1] < -20 and pose.yaw[2] > 60 and pose.yaw[3] < -60
    assert (np.sign(pose.lean[:2]) == [1, -1]).all()


def test_landmarks_that_coincide_have_no_pose() -> None:
    pose = estimate_pose(np.zeros((2, 5, 2)))
    assert np.isnan([pose.roll, pose.lean, pose.yaw]).all()
    assert estimate_pose(np.empty((0, 5, 2))).yaw.shape == (0,)
