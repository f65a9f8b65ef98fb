"""Boxes x1 y1 x2 y2: how far they overlap, and which of many for one face stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]


def overlaps(box: Array, boxes: Array) -> Array:
    """Intersection over union of one box (4,) with each of `boxes` (n, 4), or of (m, 1, 4) with (n,
    4): (m, n).

    >>> boxes = np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])
    >>> overlaps(boxes[0], boxes).round(2)
    array([1.  , 0.33, 0.  ])
    """
    shared = intersections(box, boxes)
    share: Array = shared / np.maximum(
        areas(box) + areas(boxes) - shared, np.finfo(np.float32).tiny
    )
    return share


def intersections(box: Array, boxes: Array) -> Array:
    """Area that one box shares with each of `boxes`, shapes as of `overlaps`."""
    low = np.maximum(box[..., :2], boxes[..., :2])
    high = np.minimum(box[..., 2:], boxes[..., 2:])
    sides = np.maximum(high - low, 0)
    area: Array = sides[..., 0] * sides[..., 1]
    return area


def areas(boxes: Array) -> Array:
    """Width times height of (..., 4)."""
    area: Array = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area


def suppress(boxes: Array, scores: Array, limit: float) -> npt.NDArray[np.intp]:
    """Rows that stay, the surest first: each drops all less sure ones that overlap it by more than
    `limit`.

    >>> boxes = np.array([[0.0, 0, 9, 9], [0, 0, 10, 10], [20, 20, 30, 30]])
    >>> suppress(boxes, np.array([0.8, 0.9, 0.7]), 0.4)
    array([1, 2])
    """
    order = np.argsort(-scores, kind="stable")
    stay = []
    while len(order):
        first, rest = order[0], order[1:]
        stay.append(first)
        order = rest[overlaps(boxes[first], boxes[rest]) <= limit]
    return np.array(stay, np.intp)
