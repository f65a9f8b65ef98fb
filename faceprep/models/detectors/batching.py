"""Images into what networks take: grouped by shape, as planes of floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from faceprep.core.faces import Faces, Pixels, no_faces
from faceprep.core.opencv import opencv

Floats = npt.NDArray[np.float32]


def in_groups(
    images: Sequence[Pixels], most: int, detect: Callable[[list[Pixels]], list[Faces]]
) -> list[Faces]:
    """`detect` on groups of at most `most` images of one shape; the answers in the order of
    `images`.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for row, image in enumerate(images):
        by_shape.setdefault(image.shape, []).append(row)
    answers = [no_faces()] * len(images)
    for rows in by_shape.values():
        for start in range(0, len(rows), most):
            group = rows[start : start + most]
            for row, faces in zip(group, detect([images[row] for row in group]), strict=True):
                answers[row] = faces
    return answers


def bgr_planes(
    images: Sequence[Pixels], mean: tuple[float, float, float], least: int = 1
) -> Floats:
    """RGB images of one shape -> (n, 3, height, width) float32, blue first, less `mean` (blue,
    green, red).

    Sides are filled up with zeros, right and below, to `least`.
    """
    sides = [max(least, side) for side in images[0].shape[:2]]
    return _planes(images, sides, (2, 1, 0), mean)


def rgb_planes(images: Sequence[Pixels], multiple: int) -> Floats:
    """RGB images of one shape -> (n, 3, height, width) float32, red first, 0 … 255.

    Sides are filled up with zeros, right and below, to a multiple of `multiple`.
    """
    sides = [-(-side // multiple) * multiple for side in images[0].shape[:2]]
    return _planes(images, sides, (0, 1, 2), (0, 0, 0))


def _planes(
    images: Sequence[Pixels], sides: list[int], order: Sequence[int], less: Sequence[float]
) -> Floats:
    """Three times as fast as cv2.dnn.blobFromImages."""
    cv2 = opencv()
    height, width = images[0].shape[:2]
    make = np.empty if sides == [height, width] else np.zeros
    planes = make((len(images), 3, *sides), np.float32)
    for image, target in zip(images, planes, strict=True):
        channels = cv2.split(image)
        for plane, channel, level in zip(target, order, less, strict=True):
            np.subtract(channels[channel], np.float32(level), out=plane[:height, :width])
    return planes
