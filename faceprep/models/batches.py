"""Images into what networks take: grouped by shape, as planes of floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from faceprep.faces import Faces, Pixels, no_faces
from faceprep.opencv import opencv

Floats = npt.NDArray[np.float32]


def in_groups(images: Sequence[Pixels], most: int, detect: Callable[[list[Pixels]], list[Faces]]) -> list[Faces]:
    """`detect` on groups of at most `most` images of one shape; the answers in the order of `images`."""
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


def bgr_planes(images: Sequence[Pixels], mean: tuple[float, float, float], multiple: int = 1, least: int = 1) -> Floats:
    """RGB images of one shape -> (n, 3, height, width) float32, blue first, less `mean` (blue, green, red).

    Sides are filled up with zeros, right and below, to a multiple of `multiple` and to `least`.
    """
    cv2 = opencv()
    height, width = images[0].shape[:2]
    full = [max(least, -(-side // multiple) * multiple) for side in (height, width)]
    make = np.empty if full == [height, width] else np.zeros
    planes = make((len(images), 3, *full), np.float32)
    for image, target in zip(images, planes, strict=True):
        for channel, (plane, level) in enumerate(zip(cv2.split(image)[::-1], mean, strict=True)):
            np.subtract(plane, np.float32(level), out=target[channel, :height, :width])
    return planes
