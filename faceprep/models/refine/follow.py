"""Looks for faces where they are expected: on a small square in place of the whole frame.

A square has the scale and the sampling of the look at the whole frame, and its pixels lie in the
same cells of the network. The same face gets nearly the same box and score as there, in a tenth of
the time.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.boxes import overlaps
from faceprep.models.detectors.retinaface import RetinaFace
from faceprep.models.onnx_session import Runtime
from faceprep.models.refine.squares import Squares, cut_squares

_VERSION = 3
"""Increase it when the same weights give other faces."""
_GREY = 127
_SMALL, _LARGE, _WIDE = 96, 144, 192
"""Sides in pixels of the square of a small face, of a large one, and of the second look."""
_FILL = 0.8
"""Share of a square that a face fills at most; larger faces are shrunk."""
_CELL = 16
"""Pixels: squares begin at multiples of it, so that they lie in the cells of the network."""
_LEAST = 16.0
"""Side in pixels to which smaller faces are enlarged."""
_LARGEST_SIZE = 640
"""Detection size at which large faces are found."""
_MIN_SCORE, _SURE = 0.5, 0.8
"""Score below which there is no face, and below which a wider look follows."""
_LARGE_FACE, _LARGE_STRIDES = 64.0, (16,)
"""Minimum longer side of a face, in pixels of the look, at which only these strides answer."""
_SAME_FACE = 0.35
"""Minimum overlap of an answer with the box that is expected."""
_MAX_SHARE = 0.6
"""Share of the pixels of a whole look above which squares are no cheaper."""


class Seen(NamedTuple):
    """The answers for n expected faces: boxes (n, 4) and landmarks (n, 5, 2) in pixels, scores (n,)
    float64; a score of 0 stands for no face.
    """

    boxes: Doubles
    landmarks: Doubles
    scores: Doubles


@functools.cache
def open_follow_look(runtime: Runtime, det_size: int) -> FollowLook:
    """Open the look once per process. Raises MissingExtra."""
    return FollowLook(runtime, det_size)


class FollowLook:
    """RetinaFace on squares around expected faces, at the scale of a look of `det_size`."""

    def __init__(self, runtime: Runtime, det_size: int = _LARGEST_SIZE) -> None:
        self._network = RetinaFace(runtime, _MIN_SCORE)
        self._large = RetinaFace(runtime, _MIN_SCORE, _LARGE_STRIDES)
        self._det_size = min(det_size, _LARGEST_SIZE)
        self.fingerprint = f"followed/{self._network.fingerprint}/v{_VERSION}"

    def is_cheaper(self, size: tuple[int, int], boxes: Doubles) -> bool:
        """Return whether looks at `boxes` (n, 4) take less time than one at an image of `size`."""
        whole = size[0] * size[1] / self._shrink(size) ** 2
        sides = _longer_sides(boxes) / self._shrink(size)
        return bool((_choose_sides(sides) ** 2).sum() <= _MAX_SHARE * whole)

    def look(self, image: Pixels, boxes: Doubles) -> Seen:
        """Look for the face expected at each of `boxes` (n, 4), in pixels of the image."""
        base = self._shrink((image.shape[0], image.shape[1]))
        sides = _choose_sides(_longer_sides(boxes) / base)
        seen = _stack(
            [self._look_at(image, *each, base) for each in zip(boxes, sides, strict=True)]
        )
        for row in np.flatnonzero(seen.scores < _SURE).tolist():
            box, landmarks, score = self._look_at(image, boxes[row], _WIDE, base)
            if score > seen.scores[row]:
                seen.boxes[row], seen.landmarks[row], seen.scores[row] = box, landmarks, score
        return seen

    def _shrink(self, size: tuple[int, int]) -> float:
        """Return how many pixels of an image become one of the look at the whole of it."""
        return max(1.0, max(size) / self._det_size)

    def _look_at(
        self, image: Pixels, box: Doubles, side: int, base: float
    ) -> tuple[Doubles, Doubles, float]:
        """Return the box (4,), the landmarks (5, 2) and the score of the face at `box`."""
        longer = max(float(_longer_sides(box)), 1e-9)
        shrink = max(min(base, longer / _LEAST), longer / (_FILL * side))
        corner = (box[:2] + box[2:]) / (2 * shrink) - side / 2
        corner = np.round(corner / _CELL) * _CELL * shrink
        half = side * shrink / 2
        square = Squares(np.array([complex(*(corner + half))]), np.array([half + 0j]))
        if not square.are_sound()[0]:
            return np.zeros(4), np.zeros((5, 2)), 0.0
        row = np.zeros(1, np.intp)
        (crop,) = cut_squares([image], row, square, side, _GREY, is_cubic=False)
        network = self._large if longer / shrink >= _LARGE_FACE else self._network
        boxes, landmarks, scores = next(network.answer([crop]))
        placed = boxes.astype(np.float64) * shrink + np.tile(corner, 2)
        near = overlaps(box, placed) >= _SAME_FACE
        if not near.any():
            return np.zeros(4), np.zeros((5, 2)), 0.0
        best = int(np.argmax(scores * near))
        return placed[best], landmarks[best] * shrink + corner, float(scores[best])


def _longer_sides(boxes: Doubles) -> Doubles:
    """Return the longer side of each box (..., 4)."""
    sides: Doubles = np.maximum(boxes[..., 2:] - boxes[..., :2], 0).max(axis=-1)
    return sides


def _choose_sides(sides: Doubles) -> Doubles:
    """Return the sides of the squares for faces whose longer side has `sides` pixels."""
    return np.where(sides <= _FILL * _SMALL, _SMALL, _LARGE)


def _stack(answers: list[tuple[Doubles, Doubles, float]]) -> Seen:
    """Stack the answers for single faces."""
    n = len(answers)
    return Seen(
        np.array([box for box, _, _ in answers], np.float64).reshape(n, 4),
        np.array([landmarks for _, landmarks, _ in answers], np.float64).reshape(n, 5, 2),
        np.array([score for _, _, score in answers], np.float64),
    )
