"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Reals
from faceprep.core.boxes import overlaps


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
