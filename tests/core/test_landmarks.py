"""Aligning undoes a known similarity, agrees with scikit-image and OpenCV, and never mirrors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from faceprep.core.landmarks import (
    ARCFACE_112,
    apply_transforms,
    check_landmarks,
    estimate_similarity,
)
from tests.heads import similarity, turned_head

ANGLES, SCALES, SHIFTS = st.floats(-180, 180), st.floats(0.05, 20), st.floats(-5000, 5000)


@given(ANGLES, SCALES, SHIFTS, SHIFTS)
def test_aligning_undoes_a_known_similarity(angle: float, scale: float, x: float, y: float) -> None:
    known = similarity(angle, scale, x, y)
    landmarks = apply_transforms(ARCFACE_112[None], known[None])
    (found,) = estimate_similarity(landmarks, ARCFACE_112)
    both = np.vstack([found, [0, 0, 1]]) @ np.vstack([known, [0, 0, 1]])
    assert np.abs(both - np.eye(3)).max() < 1e-6
    assert check_landmarks(landmarks) == [""]


@given(st.integers(0, 2**32), ANGLES, SCALES, SHIFTS)
def test_equal_to_scikit_image(seed: int, angle: float, scale: float, shift: float) -> None:
    """Compare for points of any kind, also far from a face."""
    noise = np.random.default_rng(seed).normal(0, 15, (4, 5, 2))
    landmarks = apply_transforms(
        ARCFACE_112 + noise, np.stack([similarity(angle, scale, shift, -shift)] * 4)
    )
    found = estimate_similarity(landmarks, ARCFACE_112)
    for points, ours in zip(landmarks, found, strict=True):
        theirs = SimilarityTransform.from_estimate(points, ARCFACE_112).params[:2]
        assert np.abs(ours - theirs).max() < 1e-4
        assert np.linalg.det(ours[:, :2]) > 0


@pytest.mark.parametrize("yaw", range(-95, 96, 5))
@pytest.mark.parametrize("roll", [0, 40, 180])
def test_a_profile_is_sound_and_never_mirrored(yaw: int, roll: int) -> None:
    landmarks = turned_head(yaw=yaw, roll=roll)[None] + 300
    assert check_landmarks(landmarks) == [""]
    assert np.linalg.det(estimate_similarity(landmarks, ARCFACE_112)[0, :, :2]) > 0


LAYOUTS = {
    "mirrored": ARCFACE_112 * [-1, 1],
    "above and below": ARCFACE_112 * [1, -1],
    "columns y x": ARCFACE_112[:, ::-1],
    "eyes exchanged": ARCFACE_112[[1, 0, 2, 3, 4]],
    "mouth exchanged": ARCFACE_112[[0, 1, 2, 4, 3]],
    "eyes and mouth exchanged": ARCFACE_112[[1, 0, 2, 4, 3]],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("angle", [0, 25, 120, -170])
def test_exchanged_points_are_told_at_any_angle(layout: str, angle: float) -> None:
    turned = apply_transforms(LAYOUTS[layout][None], similarity(angle, 2.5, 900, 400)[None])
    (fault,) = check_landmarks(turned)
    assert fault.startswith("mirrored landmarks: the left ")


@pytest.mark.parametrize("yaw", [-60, 45, 60])
def test_a_turned_head_in_a_mirror_is_told(yaw: int) -> None:
    assert check_landmarks(turned_head(yaw=yaw)[None] * [-1, 1])[0].startswith("mirrored")


def test_degenerate_and_implausible_points() -> None:
    point = np.full((5, 2), 40.0)
    nan, huge = ARCFACE_112.copy(), ARCFACE_112 * 1e9
    nan[2, 1] = np.nan
    star = np.array([(0, 0), (60, 0), (300, 30), (0, 60), (60, 61)])
    faults = check_landmarks([point, point + ARCFACE_112 * 1e-3, nan, huge, star, ARCFACE_112])
    assert [fault.partition(":")[0] for fault in faults] == [
        *["degenerate landmarks"] * 4,
        "implausible landmarks",
        "",
    ]
    assert faults[3] == "degenerate landmarks: not all of them are numbers within ±1,000,000"
    assert np.isnan(estimate_similarity(point[None], ARCFACE_112)).all()
    assert (
        check_landmarks(np.empty((0, 5, 2))) == []
        and estimate_similarity(np.empty((0, 5, 2)), ARCFACE_112).size == 0
    )


def test_one_bad_face_leaves_the_others_as_they_are() -> None:
    good = turned_head(yaw=20) + 200
    both = estimate_similarity([good, np.full((5, 2), np.nan), good], ARCFACE_112)
    assert (both[[0, 2]] == estimate_similarity([good], ARCFACE_112)).all() and np.isnan(
        both[1]
    ).all()
