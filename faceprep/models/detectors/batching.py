"""Batches for networks: images grouped by shape, then converted to planes of floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.faces import Faces, no_faces
from faceprep.core.opencv import opencv


def detect_in_groups(
    images: Sequence[Pixels], max_size: int, detect: Callable[[list[Pixels]], list[Faces]]
) -> list[Faces]:
    """Run `detect` on groups of at most `max_size` images of one shape.

    Results are in the order of `images`.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for row, image in enumerate(images):
        by_shape.setdefault(image.shape, []).append(row)
    found = [no_faces()] * len(images)
    for rows in by_shape.values():
        for start in range(0, len(rows), max_size):
            group = rows[start : start + max_size]
            of_group = detect([images[row] for row in group])
            for row, faces in zip(group, of_group, strict=True):
                found[row] = faces
    return found


def stack_bgr(
    images: Sequence[Pixels], mean: tuple[float, float, float], min_side: int = 1
) -> Floats:
    """Convert RGB images of one shape to (n, 3, height, width) float32, blue first.

    `mean` (blue, green, red) is subtracted. Sides below `min_side` are padded with zeros on the
    right and at the bottom.
    """
    sides = [max(min_side, side) for side in images[0].shape[:2]]
    return _stack(images, sides, (2, 1, 0), mean)


def stack_rgb(images: Sequence[Pixels], multiple: int) -> Floats:
    """Convert RGB images of one shape to (n, 3, height, width) float32, red first, 0 … 255.

    Sides are padded with zeros, on the right and at the bottom, to a multiple of `multiple`.
    """
    sides = [-(-side // multiple) * multiple for side in images[0].shape[:2]]
    return _stack(images, sides, (0, 1, 2), (0, 0, 0))


def _stack(
    images: Sequence[Pixels], sides: list[int], order: Sequence[int], mean: Sequence[float]
) -> Floats:
    """Stack the channels of the images, three times as fast as cv2.dnn.blobFromImages."""
    cv2 = opencv()
    height, width = images[0].shape[:2]
    make = np.empty if sides == [height, width] else np.zeros
    planes = make((len(images), 3, *sides), np.float32)
    for image, target in zip(images, planes, strict=True):
        channels = cv2.split(image)
        for plane, channel, level in zip(target, order, mean, strict=True):
            np.subtract(channels[channel], np.float32(level), out=plane[:height, :width])
    return planes
