"""The copy that was encoded from the other is known by what the steps of JPEG rounded away."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faceprep.core.io.jpeg_steps import read_steps
from faceprep.synthetic import draw_face
from faceprep.vision.codec import decode, encode
from faceprep.vision.encodings import Encoded, is_encoded_from, steps_of

_GRAIN = np.random.default_rng(0).normal(0, 12, (160, 160, 1))
PHOTO = np.clip(draw_face(1, 1, 160)[0] * 0.7 + 30 + _GRAIN, 1, 254).astype(np.uint8)


def encoded(data: bytes) -> Encoded:
    return Encoded(decode(data), steps_of(data))


def again(data: bytes, quality: int) -> bytes:
    return encode(decode(data), ".jpg", quality)


def told(later: bytes, first: bytes) -> tuple[bool | None, bool | None]:
    one, other = encoded(later), encoded(first)
    return is_encoded_from(one, other), is_encoded_from(other, one)


@pytest.mark.parametrize("quality", [50, 75, 90, 95])
def test_a_jpeg_that_is_saved_again_comes_later(quality: int) -> None:
    """At a higher quality it looks better; at a lower one it has lost detail."""
    first = encode(PHOTO, ".jpg", quality)
    for other in (60, 85, 97):
        if abs(other - quality) > 10 or other == 97:
            assert told(again(first, other), first) == (True, False)


def test_a_jpeg_comes_after_the_png_it_was_made_from_and_before_the_one_made_from_it() -> None:
    png, jpeg = encode(PHOTO, ".png"), encode(PHOTO, ".jpg", 90)
    assert told(jpeg, png) == (True, False)
    assert told(encode(decode(jpeg), ".png"), jpeg) == (True, False)


def test_brightness_and_text_do_not_hide_it() -> None:
    first = encode(PHOTO, ".jpg", 75)
    pixels = decode(first)
    brighter = np.clip(pixels.astype(int) + 8, 1, 254).astype(np.uint8)
    text = cv2.putText(pixels.copy(), "SAMPLE", (20, 80), 0, 0.8, (255, 255, 255), 2)
    for changed in (brighter, np.asarray(text)):
        assert told(encode(changed, ".jpg", 92), first) == (True, False)


def test_nothing_is_said_where_nothing_is_known() -> None:
    jpeg, png = encode(PHOTO, ".jpg", 90), encode(PHOTO, ".png")
    other = np.ascontiguousarray(PHOTO[::-1])
    noisy = np.clip(PHOTO + np.random.default_rng(1).normal(0, 8, PHOTO.shape), 0, 255)
    unknown = (None, None)
    assert told(again(jpeg, 90), jpeg) == told(png, png) == unknown
    assert told(encode(other, ".jpg", 80), png) == unknown
    assert told(encode(noisy.astype(np.uint8), ".jpg", 80), png) == unknown
    assert told(encode(np.full((64, 64, 3), 90, np.uint8), ".jpg"), png) == unknown
    turned = Encoded(np.ascontiguousarray(np.rot90(decode(jpeg))[5:-3, 3:-5]), steps_of(jpeg))
    assert is_encoded_from(turned, Encoded(turned.pixels, np.zeros((8, 8), np.float32))) is None


def test_steps_are_those_of_the_header() -> None:
    """Quality 50 has the steps of ITU-T T.81, table K.1."""
    steps = read_steps(encode(PHOTO, ".jpg", 50))
    assert steps is not None
    assert steps[0] == [16, 11, 10, 16, 24, 40, 51, 61] and steps[7][0] == 72
    assert read_steps(b"\xff\xd8\xff\xd9") is None and steps_of(encode(PHOTO, ".png")) is not None
