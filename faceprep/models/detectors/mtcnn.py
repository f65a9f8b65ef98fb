"""MTCNN (Zhang et al. 2016) for batches: P-Net on a pyramid, then R-Net and O-Net on the crops that
are left.

Weights, steps and constants are those of the package mtcnn 1.0 (MIT), whose answers it gives
without TensorFlow and without rounding points and boxes to whole pixels; boxes are not cut off at
the edge of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.faces import Faces, Pixels, no_faces
from faceprep.core.opencv import opencv
from faceprep.models import weights
from faceprep.models.detectors.batching import in_groups
from faceprep.models.detectors.mtcnn_onnx import mtcnn_graph
from faceprep.models.detectors.nms import areas, intersections
from faceprep.models.onnx_session import Network, Runtime

Floats = npt.NDArray[np.float32]

_VERSION = 1
"""To be raised when the same weights give other answers."""
_NAMES = ("pnet", "rnet", "onet")
_CELL, _STRIDE, _PYRAMID_STEP = 12, 2, 0.709
_PNET_SCORE, _RNET_SCORE = 0.6, 0.7
_IN_A_LEVEL, _BETWEEN_LEVELS, _AFTER_RNET, _AFTER_ONET = 0.5, 0.7, 0.7, 0.7
_RNET_SIDE, _ONET_SIDE = 24, 48
_OUTSIDE = 127.5
"""What lies beyond the image: the networks' zero."""
_AT_ONCE = 512
"""Boxes compared with all others, or crops made, at a time."""
_CROPS_ON_CPU = 16
"""Crops in one run: more would only leave the cache."""


class Mtcnn:
    """Finds faces of `min_face` pixels and more; a face below `min_score` is none."""

    def __init__(self, runtime: Runtime, min_score: float = 0.8, min_face: int = 20) -> None:
        packed = {name: weights.mtcnn_file(name) for name in _NAMES}
        self._pnet, self._rnet, self._onet = (
            runtime.open(mtcnn_graph(name, weights.mtcnn_layers(data)))
            for name, data in packed.items()
        )
        self._min_score, self._min_face = min_score, min_face
        name = weights.fingerprint(*packed.values())
        self.fingerprint = f"mtcnn/{name}/v{_VERSION}/min{min_score:g}/face{min_face}"
        self.provider = self._pnet.provider

    def __call__(self, images: Sequence[Pixels]) -> list[Faces]:
        return in_groups(images, self._pnet.best_batch, self._detect)

    def _detect(self, pixels: list[Pixels]) -> list[Faces]:
        images = [
            image.astype(np.float32) for image in pixels
        ]  # what rounding moves, suppression makes much of
        boxes = [squared(proposals) for proposals in self._propose(images)]
        boxes = [squared(refined) for refined in self._refine(images, boxes)]
        return self._finish(images, boxes)

    def _propose(self, images: list[Floats]) -> list[Floats]:
        """Candidate boxes of each image."""
        found: list[list[tuple[Floats, Floats]]] = [[] for _ in images]
        for scale in pyramid(images[0].shape[:2], self._min_face):
            answers = self._pnet.run(np.stack([shrunk(image, scale) for image in images]))[0]
            for levels, answer in zip(found, answers, strict=True):
                levels.append(proposals_of(answer, scale))
        return [_best(levels) for levels in found]

    def _refine(self, images: list[Floats], boxes: list[Floats]) -> list[Floats]:
        answers = _on_crops(self._rnet, images, boxes, _RNET_SIDE)
        refined = []
        for candidates, answer in zip(boxes, answers, strict=True):
            scores = _sigmoid(answer[:, 4])
            sure = scores > _RNET_SCORE
            shifted, scores = shifted_by(candidates[sure], answer[sure, :4]), scores[sure]
            refined.append(shifted[unrivalled(shifted, scores, _AFTER_RNET)])
        return refined

    def _finish(self, images: list[Floats], boxes: list[Floats]) -> list[Faces]:
        answers = _on_crops(self._onet, images, boxes, _ONET_SIDE)
        faces = []
        for candidates, answer in zip(boxes, answers, strict=True):
            scores = _sigmoid(answer[:, 14])
            sure = scores > self._min_score
            candidates, answer, scores = candidates[sure], answer[sure], scores[sure]
            shifted = shifted_by(candidates, answer[:, :4])
            rows = unrivalled(shifted, scores, _AFTER_ONET, of_smaller=True)
            faces.append(
                Faces(shifted, landmarks_of(candidates, answer[:, 4:14]), scores).take(rows)
            )
        return faces


def pyramid(shape: tuple[int, ...], min_face: int) -> list[float]:
    """Scales at which an image (height, width) is looked at, while its short side has a cell of 12
    pixels.

    >>> [round(scale, 3) for scale in pyramid((40, 60), 20)]
    [0.6, 0.425, 0.302]
    """
    scale, scales = _CELL / min_face, []
    while int(min(shape) * scale) >= _CELL:
        scales.append(scale)
        scale *= _PYRAMID_STEP
    return scales


def shrunk(image: Floats, scale: float) -> Floats:
    """Each pixel the mean of the area it covers; sides are rounded down."""
    cv2 = opencv()
    size = (int(image.shape[1] * scale), int(image.shape[0] * scale))
    small: Floats = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small


def proposals_of(answer: Floats, scale: float) -> tuple[Floats, Floats]:
    """(boxes, scores) that P-Net's answer (5, rows, columns) at `scale` gives, of overlapping
    ones the surest.
    """
    rows, columns = np.nonzero(answer[4] > _logit(_PNET_SCORE))
    shifts, scores = answer[:4, rows, columns].T, _sigmoid(answer[4, rows, columns])
    corners = np.stack([columns, rows], axis=1) * _STRIDE
    cells = np.hstack([corners + 1, corners + _CELL])
    boxes = ((cells + shifts * (_CELL - 1)) / scale).astype(np.float32)
    stay = unrivalled(boxes, scores, _IN_A_LEVEL)
    return boxes[stay], scores[stay]


def _best(levels: list[tuple[Floats, Floats]]) -> Floats:
    if not levels:
        return no_faces().boxes
    boxes = np.concatenate([boxes for boxes, _ in levels])
    return boxes[
        unrivalled(boxes, np.concatenate([scores for _, scores in levels]), _BETWEEN_LEVELS)
    ]


def unrivalled(
    boxes: Floats, scores: Floats, limit: float, of_smaller: bool = False
) -> npt.NDArray[np.intp]:
    """Rows, the surest first, that no surer box overlaps by more than `limit` of the union, or of
    the smaller box.

    Unlike greedy suppression, a box that goes itself still takes others with it. Of equal scores
    that one is surer which the package's sort puts first.

    >>> row = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    >>> unrivalled(row, np.array([0.9, 0.8, 0.7], np.float32), 0.4)
    array([0])
    """
    order = np.argsort(scores.astype(np.float64))[::-1]  # many scores are exactly 1
    ranked = boxes[order]
    area = areas(ranked)
    stays = np.ones(len(ranked), bool)
    for start in range(0, len(ranked), _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        shared = intersections(ranked[block, None], ranked[None, : block.stop])
        own, others = area[block, None], area[None, : block.stop]
        whole = np.minimum(own, others) if of_smaller else own + others - shared
        surer = np.tri(len(shared), shared.shape[1], start - 1, dtype=bool)
        stays[block] = ~((shared > limit * whole) & surer).any(axis=1)
    return order[stays]


def squared(boxes: Floats) -> Floats:
    """As squares of the longer side round the same middle."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.max(axis=1, keepdims=True, initial=-np.inf)
    corners = boxes[:, :2] + (sides - longest) / 2
    return np.hstack([corners, corners + longest])


def shifted_by(boxes: Floats, shifts: Floats) -> Floats:
    """Boxes moved by `shifts` (n, 4), in shares of their sides."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + shifts * np.tile(sides, 2)


def landmarks_of(boxes: Floats, places: Floats) -> Floats:
    """(n, 5, 2) from O-Net's x of all five points, then y, in shares of the boxes."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return places.reshape(-1, 2, 5).transpose(0, 2, 1) * sides[:, None] + boxes[:, None, :2] - 1


def _on_crops(
    network: Network, images: list[Floats], boxes: list[Floats], side: int
) -> list[Floats]:
    """The network's answers for the boxes of each image; one run for all."""
    crops = np.concatenate(
        [crops_of(image, of_one, side) for image, of_one in zip(images, boxes, strict=True)]
    )
    step = _AT_ONCE if network.on_gpu else _CROPS_ON_CPU
    answers = np.concatenate(
        [
            network.run(crops[start : start + step])[0]
            for start in range(0, max(1, len(crops)), step)
        ]
    )
    return np.split(answers, np.cumsum([len(of_one) for of_one in boxes])[:-1])


def crops_of(image: Floats, boxes: Floats, side: int) -> Floats:
    """(n, side, side, 3): `side` × `side` points from corner to corner of each box, between pixels
    bilinearly.

    As TensorFlow's crop_and_resize does it: boxes are in shares of the image's sides and count from
    the first to the last pixel; points beyond those are grey.
    """
    cv2 = opencv()
    if not len(boxes):
        return np.empty((0, side, side, 3), np.float32)
    sides = np.array([image.shape[1], image.shape[0]], np.float64)
    corners = boxes.reshape(-1, 2, 2).astype(np.float64) * ((sides - 1) / sides)
    steps = np.linspace(0, 1, side)
    points = corners[:, :1] + steps[:, None] * (corners[:, 1:] - corners[:, :1])
    points[(points < 0) | (points > sides - 1)] = -side  # out of reach of any pixel
    shape = (len(boxes), side, side)
    x = np.broadcast_to(points[:, None, :, 0], shape).reshape(len(boxes), -1).astype(np.float32)
    y = np.broadcast_to(points[:, :, None, 1], shape).reshape(len(boxes), -1).astype(np.float32)
    crops: Any = [
        cv2.remap(
            image,
            x[start : start + _AT_ONCE],
            y[start : start + _AT_ONCE],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(_OUTSIDE,) * 3,
        )
        for start in range(0, len(boxes), _AT_ONCE)
    ]
    return np.concatenate(crops).reshape(*shape, 3)


def _sigmoid(logits: Floats) -> Floats:
    shares: Floats = np.reciprocal(1 + np.exp(-logits), dtype=np.float32)
    return shares


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))
