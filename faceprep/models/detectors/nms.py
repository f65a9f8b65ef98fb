"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np

from faceprep.core.boxes import overlaps
from faceprep.core.faces import Faces


def non_max_suppression(faces: Faces, limit: float) -> Faces:
    """Keep the best of all faces that overlap by more than `limit`, highest score first.

    >>> boxes = np.array([[0.0, 0, 9, 9], [0, 0, 10, 10], [20, 20, 30, 30]])
    >>> faces = Faces(boxes, np.zeros((3, 5, 2)), np.array([0.8, 0.9, 0.75]))
    >>> non_max_suppression(faces, 0.4).boxes[:, 2].tolist()
    [10.0, 30.0]
    """
    order = np.argsort(-faces.scores, kind="stable")
    kept = []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        order = rest[overlaps(faces.boxes[first], faces.boxes[rest]) <= limit]
    return faces.take(kept)
