"""Searches for faces where they are expected: on a small square instead of the whole frame.

A square has the scale and the sampling of full detection, and its pixels lie in the same cells of
the network. It does not reach beyond the edges of the frame. A face gets nearly the same box and
score as in full detection, in a fraction of the time.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Floats, Pixels, Rows
from faceprep.core.boxes import overlaps
from faceprep.models.detectors.retinaface import RetinaFace
from faceprep.models.onnx_session import Runtime
from faceprep.models.refine.squares import Squares, cut_squares

_VERSION = 6
"""Increase it when the same weights give other faces."""
_SMALL, _LARGE = 96, 224
"""Sides in pixels of the square of a small face, and of that of a large face or of a second search.
The more of its surroundings the network sees, the closer a face is to that of full detection."""
_FILL = 0.8
"""Share of a square that a face fills at most; larger faces are shrunk."""
_FILL_SMALL = 0.6
"""The same for the small square, beyond which the large one is used: in a tight square, scores are
so low that a second search often follows."""
_CELL = 16
"""Pixels: squares begin at multiples of it, so that they lie in the cells of the network."""
_LEAST = 16.0
"""Side in pixels to which smaller faces are enlarged."""
_LARGEST_SIZE = 640
"""Detection size at which large faces are found."""
_MIN_SCORE, _SURE = 0.5, 0.8
"""Scores: below the first, no face is found; below the second, the large square follows the small
one."""
_LARGE_FACE, _LARGE_STRIDES = 64.0, (16,)
"""Minimum longer side of a face, in pixels of the square, at which only these strides run."""
_SAME_FACE = 0.35
"""Minimum overlap of a detection with the expected box."""
_BATCH = 8
"""Squares in one run: faster than single runs, with the same results."""
_MAX_SHARE = 0.6
"""Share of the pixels of full detection above which squares are no cheaper."""


class Seen(NamedTuple):
    """The results for n expected faces: boxes (n, 4) and landmarks (n, 5, 2) in pixels, scores (n,)
    float64; a score of 0 stands for no face.
    """

    boxes: Doubles
    landmarks: Doubles
    scores: Doubles


@functools.cache
def open_square_search(runtime: Runtime, det_size: int) -> SquareSearch:
    """Open the search once per process. Raises MissingExtra."""
    return SquareSearch(runtime, det_size)


class SquareSearch:
    """RetinaFace on squares around expected faces, at the scale of detection at `det_size`."""

    def __init__(self, runtime: Runtime, det_size: int = _LARGEST_SIZE) -> None:
        self._network = RetinaFace(runtime, _MIN_SCORE)
        self._large = RetinaFace(runtime, _MIN_SCORE, _LARGE_STRIDES)
        self._det_size = min(det_size, _LARGEST_SIZE)
        self.fingerprint = f"followed/{self._network.fingerprint}/v{_VERSION}"

    def is_cheaper(self, size: tuple[int, int], boxes: Doubles) -> bool:
        """Return whether searching at `boxes` (n, 4) costs less than an image of `size`."""
        whole = size[0] * size[1] / self._shrink(size) ** 2
        sides = _longer_sides(boxes) / self._shrink(size)
        return bool((_choose_sides(sides) ** 2).sum() <= _MAX_SHARE * whole)

    def search(self, images: Sequence[Pixels], places: Rows, boxes: Doubles) -> Seen:
        """Search for the face expected at each of `boxes` (n, 4) in image `places` (n,)."""
        bases = np.array([self._shrink((each.shape[0], each.shape[1])) for each in images])
        expected = _Expected(places, boxes, _longer_sides(boxes), bases[places])
        sides = _choose_sides(expected.sides / expected.bases)
        seen = self._search_squares(images, expected, sides)
        rows = np.flatnonzero((seen.scores < _SURE) & (sides < _LARGE))
        wide = self._search_squares(images, expected.take(rows), np.full(len(rows), _LARGE))
        better = wide.scores > seen.scores[rows]
        for found, again in zip(seen, wide, strict=True):
            found[rows[better]] = again[better]
        return seen

    def _shrink(self, size: tuple[int, int]) -> float:
        """Return how many pixels of an image become one pixel of full detection."""
        return max(1.0, max(size) / self._det_size)

    def _search_squares(self, images: Sequence[Pixels], expected: _Expected, sides: Rows) -> Seen:
        """Search a square of `sides` (n,) pixels around each box, several of a size in one run."""
        n, longer = len(sides), np.maximum(expected.sides, 1e-9)
        seen = Seen(np.zeros((n, 4)), np.zeros((n, 5, 2)), np.zeros(n))
        shrinks = np.minimum(expected.bases, longer / _LEAST)
        shrinks = np.maximum(shrinks, longer / (_FILL * sides))[:, None]
        middles = (expected.boxes[:, :2] + expected.boxes[:, 2:]) / (2 * shrinks)
        image_sizes = np.array([image.shape[1::-1] for image in images])[expected.places] / shrinks
        # Beyond an edge there would be grey, where full detection has the border of the network.
        last = np.ceil(np.maximum(image_sizes - sides[:, None], 0) / _CELL)
        cells = np.round((middles - sides[:, None] / 2) / _CELL)
        corners = np.clip(cells, 0, last) * _CELL * shrinks
        halves = sides * shrinks[:, 0] / 2
        squares = Squares((corners + halves[:, None]) @ (1, 1j), halves + 0j)
        kinds = 2 * sides + (longer / shrinks[:, 0] >= _LARGE_FACE)
        sound = squares.are_sound()
        for kind in set(kinds[sound].tolist()):
            own = np.flatnonzero(sound & (kinds == kind))
            network = self._large if kind % 2 else self._network
            for start in range(0, len(own), _BATCH):
                rows = own[start : start + _BATCH]
                places, part = expected.places[rows], squares.take(rows)
                crops = cut_squares(images, places, part, kind // 2, is_cubic=False)
                for row, answers in zip(rows, network.answer(list(crops)), strict=True):
                    placing = float(shrinks[row, 0]), corners[row]
                    _put(seen, row, expected.boxes[row], answers, placing)
        return seen


class _Expected(NamedTuple):
    """Faces that are expected: the place of their image, boxes (n, 4), longer sides (n,), and how
    many pixels of the image become one pixel of full detection (n,).
    """

    places: Rows
    boxes: Doubles
    sides: Doubles
    bases: Doubles

    def take(self, rows: Rows) -> _Expected:
        places, boxes, sides, bases = self
        return _Expected(places[rows], boxes[rows], sides[rows], bases[rows])


def _put(
    seen: Seen,
    row: int,
    box: Doubles,
    answers: tuple[Floats, Floats, Floats],
    placing: tuple[float, Doubles],
) -> None:
    """Keep the best of the detections that may be the face at `box`.

    `placing` is the scale from the square to the image, and the corner of the square.
    """
    (boxes, landmarks, scores), (shrink, corner) = answers, placing
    placed = boxes.astype(np.float64) * shrink + np.tile(corner, 2)
    near = overlaps(box, placed) >= _SAME_FACE
    if near.any():
        best = int(np.argmax(scores * near))
        seen.boxes[row], seen.scores[row] = placed[best], scores[best]
        seen.landmarks[row] = landmarks[best].astype(np.float64) * shrink + corner


def _longer_sides(boxes: Doubles) -> Doubles:
    """Return the longer side of each box (..., 4)."""
    sides: Doubles = np.maximum(boxes[..., 2:] - boxes[..., :2], 0).max(axis=-1)
    return sides


def _choose_sides(sides: Doubles) -> Rows:
    """Return the sides of the squares for faces whose longer side has `sides` pixels."""
    return np.where(sides <= _FILL_SMALL * _SMALL, _SMALL, _LARGE)
