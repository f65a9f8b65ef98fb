"""`--select`: the face that is written for a frame with several."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles
from faceprep.core.boxes import overlaps
from faceprep.core.faces import Faces
from faceprep.core.types import NOT_MARKED
from faceprep.steps.found import Found

SCORE, LARGEST, CENTER, GIVEN = SELECTIONS = ("score", "largest", "center", "given")
_MIN_IOU = 0.2
"""Overlap from which the box of a `.face` file marks a face."""


def value_faces(
    select: str, faces: Faces, size: tuple[int, int], box: npt.ArrayLike | None
) -> Doubles:
    """Compute the values (n,) by which a face is selected in a frame of `size`, 0 for never.

    They are 0 … 1: the score, the share of the frame, the nearness to its centre, or the overlap
    with the given `box` (4,), which is None where the `.face` file has none.
    """
    boxes, (height, width) = faces.boxes.astype(np.float64), size
    if select == LARGEST:
        sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        return np.asarray(np.minimum(sides.prod(axis=1) / (height * width), 1.0))
    if select == CENTER:
        middle = np.array((width, height)) / 2
        away = np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - middle, axis=1)
        return np.asarray(1 / (1 + away / np.linalg.norm(middle)))
    if select == GIVEN:
        if box is None:
            return np.zeros(len(faces))
        shared = overlaps(np.asarray(box, np.float64), boxes)
        return np.asarray(np.where(shared >= _MIN_IOU, shared, 0.0))
    return faces.scores.astype(np.float64)


def prefer_faces(
    found: Found, select: str, size: tuple[int, int], box: npt.ArrayLike | None
) -> Found:
    """Return the faces in the order of preference; with `given` only the one that is marked."""
    if select == SCORE or not len(found.faces):
        return found
    values = value_faces(select, found.faces, size, box)
    order = np.argsort(-values, kind="stable")
    if select != GIVEN:
        return found.take(order.tolist())
    chosen = found.take([row for row in order[:1].tolist() if values[row] > 0])
    if len(chosen.faces):
        return chosen
    reason = "the .face file has no box in this frame"
    if box is not None:
        reason = "no face found at the box of the .face file"
    return chosen._replace(status=NOT_MARKED, reason=reason)
