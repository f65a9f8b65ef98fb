"""Areas and overlaps of boxes x1 y1 x2 y2."""

from __future__ import annotations

import numpy as np

from faceprep.core.arrays import Reals


def overlaps(box: Reals, boxes: Reals) -> Reals:
    """Compute the intersection over union of one box (4,) with each of `boxes` (n, 4).

    >>> boxes = np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])
    >>> overlaps(boxes[0], boxes).round(2)
    array([1.  , 0.33, 0.  ])
    """
    shared = intersections(box, boxes)
    union = areas(box) + areas(boxes) - shared
    share: Reals = shared / np.maximum(union, np.finfo(np.float32).tiny)
    return share


def intersections(box: Reals, boxes: Reals) -> Reals:
    """Compute the area that one box shares with each of `boxes`, in the shapes of `overlaps`."""
    low = np.maximum(box[..., :2], boxes[..., :2])
    high = np.minimum(box[..., 2:], boxes[..., 2:])
    sides = np.maximum(high - low, 0)
    area: Reals = sides[..., 0] * sides[..., 1]
    return area


def areas(boxes: Reals) -> Reals:
    """Compute the area of each box (..., 4)."""
    area: Reals = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area
