"""Crops are those of OpenCV, bring a face to the same place, and count every pixel."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.landmarks import ARCFACE_112, apply_transforms, estimate_similarity
from faceprep.synthetic import draw_face
from faceprep.vision.align import crop, crop_smooth
from tests.heads import similarity

ANGLES = st.floats(-180, 180)


@given(ANGLES, st.floats(0.2, 3), st.floats(-50, 150))
def test_crops_are_those_of_opencv(angle: float, scale: float, shift: float) -> None:
    image, landmarks = draw_face(1, 1, 200)
    moved = apply_transforms(landmarks[None], similarity(angle, scale, shift, shift)[None])
    transforms = estimate_similarity(moved, ARCFACE_112)
    expected = cv2.warpAffine(image, transforms[0], (96, 112), borderValue=0.0)
    assert (crop(image, transforms[0], (112, 96)) == expected).all()


def test_a_face_comes_to_the_same_place_from_any_photo() -> None:
    """Get nearly the same crop from a drawn face on black and from the same turned and enlarged."""
    image, landmarks = draw_face(3, 1, 224)
    moved = similarity(35, 1.3, 80, -40)
    turned = cv2.warpAffine(image, moved, (420, 420))
    points = np.stack([landmarks, apply_transforms(landmarks[None], moved[None])[0]])
    here, there = (
        crop(photo, transform, (112, 112)).astype(int)
        for photo, transform in zip(
            (image, turned), estimate_similarity(points, ARCFACE_112), strict=True
        )
    )
    seen: npt.NDArray[np.bool_] = (here > 0).all(-1) & (there > 0).all(-1)
    assert seen.mean() > 0.8 and np.abs(here - there)[seen].mean() < 4
    assert not crop(image, estimate_similarity(points[:1] + 1000, ARCFACE_112)[0], (112, 112)).any()


@pytest.mark.parametrize("times", [1, 2, 4, 7])
def test_shrinking_counts_every_pixel_and_moves_nothing(times: int) -> None:
    """Find the mean of a gradient in the crop, at its place.

    In the image, every second pixel is too light and the others are too dark.
    """
    side, size = 56 * times, (40, 40)
    steps = np.arange(side) / times
    pattern = np.indices((side, side)).sum(axis=0) % 2 * 40.0 - 20
    image = (
        np.clip(60 + steps[None] + steps[:, None] + pattern, 0, 255)[..., None]
        .repeat(3, 2)
        .astype(np.uint8)
    )
    transform = np.array([[1 / times, 0, -8], [0, 1 / times, -8]])
    found = crop_smooth(image, transform, size)[..., 0].astype(float)
    wanted = 60 + 16 + np.indices(size).sum(axis=0)
    if times == 1:
        assert np.array_equal(found, crop(image, transform, size)[..., 0])
    else:
        assert np.abs(found - wanted)[1:-1, 1:-1].max() < 6
        assert abs((found - wanted)[1:-1, 1:-1].mean()) < 1.5
