"""Patches: a scaled box that is shifted into the image, cut out and resized, as Silent-Face does.

Source: `CropImage` in `generate_patches.py` of Silent-Face-Anti-Spoofing (minivision, 2020). The
factor is limited so that the patch fits into the image, and a patch that would reach beyond an edge
is shifted back inside. Its corners are truncated to whole pixels, and both pixels are part of it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Ints, Pixels
from faceprep.core.opencv import opencv


def fit_patches(
    boxes: npt.ArrayLike, image_sizes: npt.ArrayLike, factor: float, size: tuple[int, int]
) -> Doubles:
    """Compute the transforms (n, 2, 3) from images to the patches of `boxes` (n, 4).

    `image_sizes` (n, 2) are height and width of the image of each box. `size` is the (height,
    width) of a patch. The scales in x and y differ where a box has another shape than the patch.

    >>> fit_patches([(0, 10, 19, 29)], [(60, 100)], 2.0, (78, 78))[0].tolist()
    [[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 2, 2)
    limits = np.asarray(image_sizes, np.float64).reshape(-1, 2)[:, ::-1]
    sides = corners[:, 1] - corners[:, 0]
    factors = np.minimum(factor, ((limits - 1) / sides).min(axis=1, keepdims=True))
    middle, half = corners.mean(axis=1), sides * factors / 2
    first, last = middle - half, middle + half
    last -= np.minimum(first, 0)
    first = np.maximum(first, 0) - np.maximum(last - limits + 1, 0)
    first, last = np.trunc(first), np.trunc(np.minimum(last, limits - 1))
    scales = np.array(size[::-1]) / (last - first + 1)
    transforms = np.zeros((len(corners), 2, 3))
    transforms[:, 0, 0], transforms[:, 1, 1] = scales.T
    transforms[:, :, 2] = (0.5 - first) * scales - 0.5
    return transforms


def cut_patch(image: Pixels, transform: npt.ArrayLike, size: tuple[int, int]) -> Pixels:
    """Cut the patch of `transform` out of an image and resize it to `size` (height, width).

    The pixels are those of slicing and bilinear resizing: the edge of the patch is repeated, so
    nothing beyond it is mixed in.
    """
    first, last = patch_corners(transform, size)
    height, width = size
    piece = image[max(first[1], 0) : last[1], max(first[0], 0) : last[0]]
    cv2 = opencv()
    pixels: Pixels = cv2.resize(piece, (width, height), interpolation=cv2.INTER_LINEAR)
    return pixels


def patch_corners(transform: npt.ArrayLike, size: tuple[int, int]) -> tuple[Ints, Ints]:
    """Return x y of the first pixel of a patch, and of the one after its last.

    >>> [each.tolist() for each in patch_corners([(2, 0, 0.5), (0, 2, 0.5)], (80, 80))]
    [[0, 0], [40, 40]]
    """
    matrix = np.asarray(transform, np.float64)
    scales = np.diagonal(matrix)
    first = np.rint(0.5 - (matrix[:, 2] + 0.5) / scales).astype(np.int64)
    return first, first + np.rint(np.array(size[::-1]) / scales).astype(np.int64)
