"""Boxes and landmarks drawn on a picture, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceprep.core.arrays import Pixels
from faceprep.core.opencv import opencv

_BOX, _POINT, _EDGE = (64, 224, 128), (255, 214, 64), (0, 0, 0)
_SHIFT = 4
"""OpenCV draws at sixteenths of a pixel."""


def draw_faces(pixels: Pixels, faces: Sequence[Sequence[float]], long_side: int) -> Pixels:
    """Return a picture with a long side of `long_side` pixels and the faces marked.

    `pixels` are (height, width, 3) uint8 RGB. Each face is x1 y1 x2 y2 and then x y of its five
    landmarks, in pixels of the picture as it is given.
    """
    cv2 = opencv()
    height, width = pixels.shape[:2]
    scale = long_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(pixels, size, interpolation=method)
    drawn: Pixels = np.ascontiguousarray(resized)
    for face in faces:
        x1, y1, x2, y2, *points = (round(float(value) * scale * (1 << _SHIFT)) for value in face)
        for colour, thickness in ((_EDGE, 4), (_BOX, 2)):
            cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, thickness, cv2.LINE_AA, _SHIFT)
        for point in zip(points[::2], points[1::2], strict=True):
            for colour, radius in ((_EDGE, 3), (_POINT, 2)):
                cv2.circle(drawn, point, radius << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)
    return drawn
