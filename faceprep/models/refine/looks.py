"""The networks that look at one face in a square: MTCNN's O-Net, and RetinaFace again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Floats, Pixels, Rows
from faceprep.core.boxes import overlaps
from faceprep.models import weights
from faceprep.models.cache import cached
from faceprep.models.detectors.mtcnn import CROPS_ON_CPU, ONET_SIDE, landmark_shares, sigmoid
from faceprep.models.detectors.mtcnn_onnx import mtcnn_graph
from faceprep.models.detectors.retinaface import RetinaFace
from faceprep.models.onnx_session import Runtime
from faceprep.models.refine.squares import Squares, cut_squares

_GRAPH_VERSION = 1
"""Increase it when the same weights give another graph."""
_RETINAFACE_SIDE = 128
_STRIDES = (16,)
"""The anchors of this stride have 64 and 128 pixels; the face has about 100."""
_LARGE_CROPS = 8
"""Crops for RetinaFace in one run: faster than single runs, with the same answers."""
_CROPS_ON_GPU = 512
_EXCHANGED = [1, 0, 2, 4, 3]
"""Order of the landmarks in a mirror image."""
_MIN_SCORE = 0.5
_SAME_FACE = 0.3
"""Minimum overlap of an answer with the box looked for."""
_AGREES = 0.6
"""Overlap of an anchor's box with the best one above which its landmarks count."""


class Look(NamedTuple):
    """The answers for n squares: landmarks (n, 5, 2) in pixels of the image, scores (n,).

    A score of 0 stands for no face. `boxes` (n, 4) are those that RetinaFace saw, with the sides
    that they have in the squares; O-Net sees none.
    """

    landmarks: Doubles
    scores: Floats
    boxes: Doubles | None = None


class OnetLook:
    """MTCNN's O-Net on squares of 48 × 48 pixels."""

    def __init__(self, runtime: Runtime) -> None:
        packed = weights.mtcnn_file("onet")
        self.fingerprint = weights.fingerprint(packed)
        name = f"onet-{self.fingerprint}-v{_GRAPH_VERSION}.onnx"
        graph = cached(name, lambda: mtcnn_graph("onet", weights.mtcnn_layers(packed)))
        self._network = runtime.open(graph)
        self._batch = _CROPS_ON_GPU if self._network.on_gpu else CROPS_ON_CPU

    def look(
        self, images: Sequence[Pixels], rows: Rows, squares: Squares, is_mirrored: bool = False
    ) -> Look:
        """Look at square k of image `rows[k]`, or at its mirror image."""
        answers = np.zeros((len(rows), 15), np.float32)
        sound = np.flatnonzero(squares.are_sound())
        for start in range(0, len(sound), self._batch):
            part = sound[start : start + self._batch]
            crops = cut_squares(images, rows[part], squares.take(part), ONET_SIDE)
            seen = crops[:, :, ::-1] if is_mirrored else crops
            answers[part] = self._network.run(seen.astype(np.float32, order="C"))[0]
        shares = landmark_shares(answers[:, 4:14])
        if is_mirrored:
            shares = _mirror(shares)
        scores = np.zeros(len(rows), np.float32)
        scores[sound] = sigmoid(answers[sound, 14])
        return Look(squares.place(shares), scores)


class RetinaFaceLook:
    """RetinaFace on squares of 128 × 128 pixels; the landmarks are averaged over its anchors."""

    def __init__(self, runtime: Runtime) -> None:
        self._network = RetinaFace(runtime, _MIN_SCORE, _STRIDES)
        self.fingerprint = self._network.fingerprint

    def look(self, images: Sequence[Pixels], rows: Rows, squares: Squares, share: float) -> Look:
        """Look at square k of image `rows[k]` for the face that has `share` of its side."""
        points, corners = np.zeros((len(rows), 5, 2)), np.zeros((len(rows), 2, 2))
        scores = np.zeros(len(rows), np.float32)
        expected = _RETINAFACE_SIDE / 2 * np.array([1 - share, 1 - share, 1 + share, 1 + share])
        sound = np.flatnonzero(squares.are_sound())
        for start in range(0, len(sound), _LARGE_CROPS):
            part = sound[start : start + _LARGE_CROPS]
            crops = cut_squares(
                images, rows[part], squares.take(part), _RETINAFACE_SIDE, is_cubic=False
            )
            for place, answers in zip(part, self._network.answer(list(crops)), strict=True):
                points[place], corners[place], scores[place] = _average(*answers, expected)
        middles = squares.place(corners.mean(axis=1, keepdims=True) / _RETINAFACE_SIDE)[:, 0]
        halves = np.ptp(corners, axis=1) * (np.abs(squares.halves) / _RETINAFACE_SIDE)[:, None]
        boxes = np.hstack([middles - halves, middles + halves])
        return Look(squares.place(points / _RETINAFACE_SIDE), scores, boxes)


def _mirror(shares: Floats) -> Floats:
    """Return landmarks (n, 5, 2) in shares of a crop, seen in its mirror image."""
    return (shares * (-1, 1) + (1, 0))[:, _EXCHANGED]


def _average(
    boxes: Floats, landmarks: Floats, scores: Floats, expected: Doubles
) -> tuple[Doubles, Doubles, float]:
    """Return landmarks (5, 2) averaged over the anchors that agree on the face at `expected`.

    The weights are the scores. Returns the box (2, 2) and the score of the best of these anchors,
    or 0.
    """
    near = overlaps(expected, boxes)
    if not len(boxes) or near.max() < _SAME_FACE:
        return np.zeros((5, 2)), np.zeros((2, 2)), 0.0
    best = int(np.argmax(scores * (near >= _SAME_FACE)))
    agree = np.flatnonzero(overlaps(boxes[best], boxes) > _AGREES)
    mean = np.average(landmarks[agree].astype(np.float64), axis=0, weights=scores[agree])
    return mean, boxes[best].astype(np.float64).reshape(2, 2), float(scores[best])
