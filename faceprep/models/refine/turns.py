"""Photos on their side or upside down: signs of them, and the turn that makes faces upright.

Detectors find faces in turned photos too, but see mouths and noses where there are none. The chosen
turn is the one at which the detector and O-Net are surest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceprep.core.arrays import Doubles, Floats, Pixels
from faceprep.core.faces import Faces
from faceprep.core.landmarks import are_sound, measure_residuals, measure_rolls
from faceprep.core.turns import TURNS, turn_image
from faceprep.models.detectors.detector import SizedDetector
from faceprep.models.refine.refiner import Refiner

LOOK_SIZE = 320
"""Detection size of the looks at four turns."""
_VERSION = 1
"""Increase it when the same weights give other turns."""
_SURE_SCORE, _SURE_ONET = 0.9, 0.97
_MAX_ROLL, _MAX_RESIDUAL = 30.0, 0.2
_LYING, _LYING_FACTOR = 45.0, 0.3
"""Degrees of roll beyond which another turn would be better, and the factor of its value."""
_MARGIN = 0.1
"""Least gain in value of a turn over the image as it is."""
_MOST_FACES = 3
"""Faces of an image that are judged at each turn."""


class TurnChooser:
    """A judge of the turn of images, which looks at all four turns."""

    def __init__(self, detector: SizedDetector, refiner: Refiner, is_always: bool = False) -> None:
        self._detector, self._refiner, self._is_always = detector, refiner, is_always
        self.fingerprint = f"turns-{'all' if is_always else 'auto'}/v{_VERSION}"

    def doubts(self, image: Pixels, faces: Faces, onet_scores: Floats | None) -> bool:
        """Return whether an image needs looks at other turns, judged by the faces found in it.

        `onet_scores` (n,) are O-Net's scores of the faces; if None, it looks at the first face.
        """
        if self._is_always or not len(faces):
            return True
        first = faces.take([0])
        if onet_scores is None:
            onet_scores = self._refiner.refine([image], [first])[0].onet_scores
        return not is_upright(first, float(onet_scores[0]))

    def choose(self, images: Sequence[Pixels]) -> list[int]:
        """Return the turn of each image: 0, 90, 180 or 270."""
        return [best_turn(self.rate(image)) for image in images]

    def choose_one(self, images: Sequence[Pixels]) -> int:
        """Return one turn for several images, by the mean value of those with a face."""
        values = np.array([self.rate(image) for image in images]).reshape(-1, len(TURNS))
        seen = values[values.any(axis=1)]
        return best_turn(seen.mean(axis=0)) if len(seen) else 0

    def rate(self, image: Pixels) -> Doubles:
        """Return the value (4,) of an image at each turn, 0 to 1."""
        values = np.zeros(len(TURNS))
        for place, turn in enumerate(TURNS):
            seen = [turn_image(image, turn)]
            (faces,) = self._detector.detect(seen)
            rows = np.flatnonzero(are_sound(faces.landmarks))
            if len(rows):
                (refined,) = self._refiner.refine(seen, [faces.take(rows[:_MOST_FACES])])
                values[place] = rate_faces(refined.faces, refined.onet_scores)
        return values


def is_upright(face: Faces, onet_score: float) -> bool:
    """Return whether a single face is certainly upright."""
    return bool(
        face.scores[0] >= _SURE_SCORE
        and onet_score >= _SURE_ONET
        and measure_rolls(face.landmarks)[0] <= _MAX_ROLL
        and measure_residuals(face.landmarks)[0] <= _MAX_RESIDUAL
    )


def rate_faces(faces: Faces, onet_scores: Floats) -> float:
    """Return the highest product of both scores of a face; faces on their side count less.

    A score of NaN counts as 0.
    """
    factors = np.where(measure_rolls(faces.landmarks) > _LYING, _LYING_FACTOR, 1.0)
    return float((faces.scores * np.nan_to_num(onet_scores) * factors).max(initial=0.0))


def best_turn(values: Doubles) -> int:
    """Return the turn with the highest value (4,), or 0 if it is not better by a margin.

    >>> best_turn(np.array([0.5, 0.1, 0.7, 0.0])), best_turn(np.array([0.5, 0.1, 0.55, 0.0]))
    (180, 0)
    """
    best = int(values.argmax())
    return TURNS[best] if values[best] >= values[0] + _MARGIN else 0
