"""The faces found in an image, or the reason for none, and the second look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Floats, Rows
from faceprep.core.faces import Faces
from faceprep.core.landmarks import are_sound
from faceprep.core.turns import turn_faces_back
from faceprep.core.types import OK
from faceprep.models.refine.refiner import Refined


class Found(NamedTuple):
    """The faces of an image, by score from the highest.

    Without `faces`, `status` and `reason` say why.
    """

    faces: Faces
    status: str = OK
    reason: str = ""
    note: str = ""
    """Description of the pass that found the faces, if the first found none."""
    refiners: tuple[str, ...] | None = None
    """The refiner that placed the landmarks of each face, empty for the detector; None if there
    was no second look."""
    onet_scores: Floats | None = None
    """O-Net's score (n,) of each face, NaN where it did not look."""
    seen: Doubles | None = None
    """Boxes (n, 4) that the second look saw, NaN where O-Net was sure or there was no look."""
    detected_landmarks: Floats | None = None
    """Landmarks (n, 5, 2) of the detector, before the second look; None if there was none."""
    turn: int = 0
    """Degrees by which the image was turned clockwise to find them."""
    is_followed: bool = False
    """The faces were tracked from an earlier frame: only their surroundings were searched."""

    def take(self, rows: Sequence[int]) -> Found:
        """Select the faces of `rows`, in that order."""
        places, changes = list(rows), dict[str, Any]()
        for name in ("onet_scores", "seen", "detected_landmarks"):
            values = getattr(self, name)
            if values is not None:
                changes[name] = values[places]
        if self.refiners is not None:
            changes["refiners"] = tuple(self.refiners[row] for row in places)
        return self._replace(faces=self.faces.take(places), **changes)

    def refined(self, rows: Rows, refined: Refined) -> Found:
        """Return the same faces with the landmarks of `rows` refined."""
        faces, n = self.faces, len(self.faces)
        landmarks, names = faces.landmarks.copy(), np.full(n, "", object)
        scores, seen = np.full(n, np.nan, np.float32), np.full((n, 4), np.nan)
        landmarks[rows], names[rows] = refined.faces.landmarks, refined.refiners
        scores[rows], seen[rows] = refined.onet_scores, refined.seen
        return self._replace(
            faces=Faces(faces.boxes, landmarks, faces.scores),
            refiners=tuple(names.tolist()),
            onet_scores=scores,
            seen=seen,
            detected_landmarks=faces.landmarks,
        )


def turn_back(found: Found, size: tuple[int, int], turn: int) -> Found:
    """Return what was found in a turned image, in pixels of the image of `size` as it is."""
    if not turn:
        return found
    notes = filter(None, [f"found after a turn of {turn}°", found.note])
    faces = turn_faces_back(found.faces, size, turn)
    return found._replace(faces=faces, turn=turn, note="; ".join(notes))


def first_sound(faces: Faces, most: int | None) -> Rows:
    """Return the rows of the first `most` faces with sound landmarks."""
    return np.flatnonzero(are_sound(faces.landmarks))[:most]
