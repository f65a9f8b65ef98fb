"""Quarter turns of images, with the pixels, faces and transforms of a turned image.

A turn is 0, 90, 180 or 270: the degrees by which an image is rotated clockwise so that its faces
are upright.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.faces import Faces

TURNS = (0, 90, 180, 270)
_AXES = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}
"""Cosine and sine of each turn."""


def turn_image(image: Pixels, turn: int) -> Pixels:
    """Rotate an image by `turn` degrees clockwise.

    >>> turn_image(np.array([[[1], [2]]], np.uint8), 90)[..., 0].tolist()
    [[1], [2]]
    """
    return np.ascontiguousarray(np.rot90(image, -turn // 90))


def turned_size(size: tuple[int, int], turn: int) -> tuple[int, int]:
    """Return the (height, width) that an image of `size` has after a turn.

    >>> turned_size((2, 3), 90), turned_size((2, 3), 180)
    ((3, 2), (2, 3))
    """
    return size if turn % 180 == 0 else size[::-1]


def turn_matrix(size: npt.ArrayLike, turn: int, pixel: int = 0) -> Doubles:
    """Return the (2, 3) transform from an image of `size` (height, width) to its turned image.

    Coordinates count from the outer edge of the first pixel, or from its centre with `pixel` 1.

    >>> turn_matrix((2, 3), 90).tolist()
    [[0.0, -1.0, 2.0], [1.0, 0.0, 0.0]]
    """
    cosine, sine = _AXES[turn]
    linear = np.array([(cosine, -sine), (sine, cosine)], np.float64)
    height, width = np.asarray(size, np.float64) - pixel
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)]) @ linear.T
    return np.column_stack([linear, 0.0 - corners.min(axis=0)])


def turn_faces(faces: Faces, size: tuple[int, int], turn: int) -> Faces:
    """Map faces of an image of `size` (height, width) into its turned image.

    >>> faces = Faces([[0, 0, 1, 2]], np.zeros((1, 5, 2)), [1])
    >>> turn_faces(faces, (2, 3), 90).boxes.tolist()
    [[0.0, 0.0, 2.0, 1.0]]
    """
    matrix = turn_matrix(size, turn)
    linear, shift = matrix[:, :2].T, matrix[:, 2]
    corners = faces.boxes.reshape(-1, 2, 2) @ linear + shift
    boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)])
    points = faces.landmarks @ linear + shift
    return Faces(boxes.astype(np.float32), points.astype(np.float32), faces.scores)


def turn_faces_back(faces: Faces, size: tuple[int, int], turn: int) -> Faces:
    """Map faces of the turned image back into the image of `size` (height, width)."""
    return turn_faces(faces, turned_size(size, turn), -turn % 360)


def turn_of(transform: npt.ArrayLike) -> int:
    """Return the turn that is nearest to the rotation of a (2, 3) transform.

    >>> turn_of([(0, -2, 5), (2, 0, 1)]), turn_of([(1, 0, 5), (0, 1, 1)])
    (90, 0)
    """
    matrix = np.asarray(transform, np.float64)
    angle = np.degrees(np.arctan2(matrix[1, 0], matrix[1, 1]))
    return int(round(angle / 90)) % 4 * 90
