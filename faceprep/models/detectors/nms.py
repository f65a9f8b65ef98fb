"""Overlap of boxes x1 y1 x2 y2, and non-maximum suppression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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


def non_max_suppression(boxes: Reals, scores: Reals, limit: float) -> npt.NDArray[np.intp]:
    """Return the rows to keep, highest score first.

    >>> boxes = np.array([[0.0, 0, 9, 9], [0, 0, 10, 10], [20, 20, 30, 30]])
    >>> non_max_suppression(boxes, np.array([0.8, 0.9, 0.7]), 0.4)
    array([1, 2])
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        order = rest[overlaps(boxes[first], boxes[rest]) <= limit]
    return np.array(kept, np.intp)
