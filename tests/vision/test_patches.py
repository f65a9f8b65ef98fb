"""Patches are those of Silent-Face: a scaled box, shifted into the image, sliced and resized."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.arrays import Pixels
from faceprep.core.errors import OptionError
from faceprep.core.faces import Faces
from faceprep.vision.patches import fit_patches, patch_corners
from faceprep.vision.templates import crop_transforms, cut_crop, load_template

IMAGE: Pixels = np.random.default_rng(1).integers(0, 256, (120, 200, 3), np.uint8)
BOX = st.tuples(st.floats(-20, 190), st.floats(-20, 110), st.floats(4, 300), st.floats(4, 300))


def edges(start: float, side: float, factor: float, limit: int) -> tuple[int, int]:
    """Return the first and the last pixel on one axis, step by step as published."""
    scaled = side * factor
    low, high = start + side / 2 - scaled / 2, start + side / 2 + scaled / 2
    if low < 0:
        low, high = 0.0, high - low
    if high > limit - 1:
        low, high = low - (high - (limit - 1)), float(limit - 1)
    return int(low), int(high)


def published(
    image: Pixels, box: tuple[float, ...], factor: float, size: tuple[int, int]
) -> Pixels:
    """Cut a patch with slices; `box` is x, y, width, height and `size` height, width."""
    height, width = image.shape[:2]
    factor = min((height - 1) / box[3], min((width - 1) / box[2], factor))
    x1, x2 = edges(box[0], box[2], factor, width)
    y1, y2 = edges(box[1], box[3], factor, height)
    return np.asarray(cv2.resize(image[y1 : y2 + 1, x1 : x2 + 1], size[::-1]))


def ours(box: tuple[float, ...], name: str) -> Pixels:
    x, y, width, height = box
    faces = Faces(
        np.array([(x, y, x + width, y + height)], "f4"), np.zeros((1, 5, 2), "f4"), np.ones(1, "f4")
    )
    template = load_template(name)
    (transform,) = crop_transforms(faces, template, IMAGE.shape[:2])
    return cut_crop(IMAGE, transform, template)


@pytest.mark.parametrize(
    "box", [(70, 40, 30, 40), (0, 0, 40, 50), (160, 80, 40, 40), (5, 5, 180, 110), (61, 33, 37, 53)]
)
@pytest.mark.parametrize("factor", ["1", "2.7", "4"])
@pytest.mark.parametrize("size", [(80, 80), (80, 60), (224, 224)])
def test_pixels_are_the_published_ones(
    box: tuple[int, ...], factor: str, size: tuple[int, int]
) -> None:
    found = ours(box, f"patch{factor}-{size[0]}x{size[1]}")
    np.testing.assert_array_equal(found, published(IMAGE, box, float(factor), size))


@given(box=BOX, factor=st.floats(0.5, 5))
def test_a_patch_lies_in_the_image(box: tuple[float, ...], factor: float) -> None:
    x, y, width, height = box
    size = (80, 60)
    (transform,) = fit_patches([(x, y, x + width, y + height)], [(120, 200)], factor, size)
    first, last = patch_corners(transform, size)
    assert (first >= 0).all() and (last <= (200, 120)).all() and (last > first).all()


def test_the_size_of_the_image_is_needed() -> None:
    faces = Faces(np.array([(0, 0, 9, 9)], "f4"), np.zeros((1, 5, 2), "f4"), np.ones(1, "f4"))
    with pytest.raises(OptionError, match="images of known size"):
        crop_transforms(faces, load_template("patch2.7-80"))
