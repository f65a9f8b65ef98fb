"""Animations and depths, on images that Pillow and OpenCV write, and on any bytes."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceprep.core.io.image_traits import has_pages, has_sixteen_bits, is_animation


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("n_frames", [1, 2, 5])
def test_animations(kind: str, n_frames: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (n_frames, 24, 32, 3), np.uint8)
    first, *others = map(Image.fromarray, pixels)
    file = io.BytesIO()
    first.save(file, kind, save_all=True, append_images=others, duration=50)
    assert is_animation(f".{kind.lower()}", file.getvalue()) is (n_frames > 1)


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize(
    ("kinds", "expected"),
    [("0", False), ("02", True), ("00", True), ("014", False), ("0142", True)],
)
def test_pages(kinds: str, expected: bool, is_big: bool) -> None:
    file = io.BytesIO()
    pages = [Image.new("RGB", (24, 32)) for _ in kinds]
    for page, kind in zip(pages, kinds, strict=True):
        page.encoderinfo = {"tiffinfo": {254: int(kind)}}
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:], big_tiff=is_big)
    data = file.getvalue()
    assert has_pages(".tiff", data) is expected
    assert all(has_pages(".tiff", data[:n]) in (True, False) for n in range(8, len(data)))


def test_pages_in_a_ring_end() -> None:
    ring = b"II*\0" + struct.pack("<IHHHII", 8, 1, 254, 4, 1, 1) + struct.pack("<I", 8)
    assert not has_pages(".tiff", ring)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_depths(suffix: str, dtype: type[np.uint8 | np.uint16]) -> None:
    data = cv2.imencode(suffix, np.full((8, 8), 200, dtype))[1].tobytes()
    assert has_sixteen_bits(suffix, data) is (dtype == np.uint16)
    colours = cv2.imencode(suffix.replace("pgm", "ppm"), np.full((8, 8, 3), 200, dtype))[1]
    assert has_sixteen_bits(suffix, colours.tobytes()) is (dtype == np.uint16)


@given(st.binary(min_size=40, max_size=200), st.booleans())
def test_any_gif_ends(junk: bytes, has_image: bool) -> None:
    start = b"GIF89a\1\0\1\0\0\0\0" + b"\x2c" * has_image
    assert is_animation(".gif", start + junk) in (True, False)
