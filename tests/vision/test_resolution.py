"""The used pixels of an image do not grow when it is enlarged, and noise counts against it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faceprep.synthetic import draw_face
from faceprep.vision.codec import decode
from faceprep.vision.resolution import measure_clipping, measure_quality
from tests.real import DATA, needs_data

FACE = cv2.cvtColor(draw_face(1, 1)[0], cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize("share", [1.5, 2, 3])
def test_enlarging_adds_no_quality(share: float) -> None:
    large = cv2.resize(FACE, None, fx=share, fy=share, interpolation=cv2.INTER_CUBIC)
    assert measure_quality(np.asarray(large)) <= measure_quality(FACE)


def test_reducing_and_blurring_take_quality() -> None:
    half = cv2.resize(FACE, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(FACE, (0, 0), 3)
    assert measure_quality(np.asarray(half)) < measure_quality(FACE) - 4
    assert measure_quality(np.asarray(blurred)) < measure_quality(FACE) - 4


@needs_data
def test_originals_beat_enlarged_and_noisy_copies() -> None:
    random, wins = np.random.default_rng(0), []
    for path in sorted((DATA / "orl").glob("*/*.pgm"))[::10]:
        photo = cv2.cvtColor(decode(path.read_bytes()), cv2.COLOR_RGB2GRAY)
        noisy = np.clip(photo + random.normal(0, 10, photo.shape), 0, 255).astype(np.uint8)
        large = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        own = measure_quality(photo)
        wins += [own > measure_quality(each) for each in (noisy, np.asarray(large))]
    assert np.mean(wins) >= 0.95


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (20, 20)])
def test_any_size(shape: tuple[int, int]) -> None:
    assert measure_quality(np.zeros(shape, np.uint8)) <= measure_quality(np.zeros((99, 99), "u1"))


def test_brightness_clips_only_at_the_limit() -> None:
    levels = np.tile(np.arange(60, 200, dtype=np.uint8), (40, 1))
    shifted, clipped = levels + np.uint8(40), np.clip(levels, 0, 180)
    assert measure_clipping(shifted) == measure_clipping(levels)
    assert measure_clipping(clipped) > measure_clipping(levels) + 50
