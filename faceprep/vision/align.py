"""Crops from transforms.

A crop depends only on the image and its 2×3 transform (`core.landmarks`), so a stored
transform is enough to make the crop again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.opencv import opencv

_HALF = 0.5
_FROM_HALF: Doubles = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
"""Map from points of a halved image to points of the image. Pixel centres are whole numbers."""


def crop(image: Pixels, transform: npt.ArrayLike, size: tuple[int, int]) -> Pixels:
    """Cut one crop of `size` (height, width) out of `image` with a 2×3 `transform`.

    Returns (height, width, 3), interpolated bilinearly; black outside of the image.
    """
    cv2 = opencv()
    height, width = size
    pixels: Pixels = cv2.warpAffine(
        image, np.asarray(transform, np.float64), (width, height), flags=cv2.INTER_LINEAR
    )
    return pixels


def crop_smooth(image: Pixels, transform: npt.ArrayLike, size: tuple[int, int]) -> Pixels:
    """Cut one crop like `crop`, halving the image first while `transform` at least halves it.

    Halving averages, so that every pixel counts. Use it for crops of crops. Faces are cut out of
    photos without it, because the sets that models are trained on were made that way.
    """
    matrix = np.asarray(transform, np.float64)
    while np.hypot(*matrix[:, 0]) <= _HALF and min(image.shape[:2]) > 1:
        height, width = (side // 2 for side in image.shape[:2])
        image = opencv().resize(
            image[: 2 * height, : 2 * width], (width, height), interpolation=opencv().INTER_AREA
        )
        matrix = matrix @ _FROM_HALF
    return crop(image, matrix, size)


def crop_box(
    image: Pixels, box: npt.ArrayLike, margin: float = 1.0, is_clipped: bool = False
) -> Pixels:
    """Cut out the rectangle `box` x1 y1 x2 y2, scaled by `margin` about its centre.

    Edges are rounded to whole pixels, and nothing is resized. Each side has at least one pixel.
    Pixels outside of the image are black; with `is_clipped` the crop ends at the edge of the image,
    and the box must reach into it.

    >>> crop_box(np.ones((4, 6, 3), np.uint8), (4, 0, 6, 4), margin=2)[..., 0].sum(axis=0).tolist()
    [4, 4, 4, 0]
    """
    corners = np.asarray(box, np.float64).reshape(2, 2)
    middle, half = corners.mean(axis=0), (corners[1] - corners[0]) * (margin / 2)
    x1, y1 = np.rint(middle - half).astype(int).tolist()
    x2, y2 = np.maximum(np.rint(middle + half).astype(int), (x1 + 1, y1 + 1)).tolist()
    if is_clipped:
        return _clip(image, (x1, y1, x2, y2))
    pixels: Pixels = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
    top, left, height, width = max(y1, 0), max(x1, 0), *image.shape[:2]
    bottom, right = max(min(y2, height), top), max(min(x2, width), left)
    pixels[top - y1 : bottom - y1, left - x1 : right - x1] = image[top:bottom, left:right]
    return pixels


def _clip(image: Pixels, corners: tuple[int, int, int, int]) -> Pixels:
    """Return the part of the rectangle x1 y1 x2 y2 that is in the image; at least one pixel."""
    height, width = image.shape[:2]
    left, top = min(max(corners[0], 0), width - 1), min(max(corners[1], 0), height - 1)
    return np.ascontiguousarray(
        image[top : max(corners[3], top + 1), left : max(corners[2], left + 1)]
    )
