"""MTCNN (Zhang et al. 2016) for batches: P-Net on a pyramid, then R-Net and O-Net on crops.

Weights, steps and constants are those of the package mtcnn 1.0 (MIT). The results are the same, but
TensorFlow is not needed, landmarks and boxes are not rounded to whole pixels, and boxes are not
clipped to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.boxes import areas, intersections
from faceprep.core.faces import Faces, no_faces
from faceprep.core.opencv import opencv
from faceprep.models import weights
from faceprep.models.detectors.batching import detect_in_groups
from faceprep.models.detectors.mtcnn_onnx import mtcnn_graph
from faceprep.models.onnx_session import Network, Runtime

_VERSION = 2
"""Increase it when the same weights give other faces."""
_NAMES = ("pnet", "rnet", "onet")
_CELL, _STRIDE, _PYRAMID_STEP = 12, 2, 0.709
_LEAST_CELL = 0.35
"""Smallest cell of P-Net that finds a face, in sides of the face."""
_PNET_SCORE, _RNET_SCORE = 0.6, 0.7
_IN_A_LEVEL, _BETWEEN_LEVELS, _AFTER_RNET, _AFTER_ONET = 0.5, 0.7, 0.7, 0.7
_RNET_SIDE, ONET_SIDE = 24, 48
OUTSIDE = 127.5
"""Grey level of pixels outside of the image, which the networks see as zero."""
_AT_ONCE = 512
"""Number of boxes that are compared with all others, or cropped, at a time."""
CROPS_ON_CPU = 4
"""Crops in one run on the CPU; a larger batch does not fit into the cache."""


class Mtcnn:
    """A detector of faces of at least `min_face` pixels with a score of at least `min_score`."""

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

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        return self.detect_from(images, 0)

    def detect_from(self, images: Sequence[Pixels], min_face: float) -> list[Faces]:
        """Detect the same faces as `detect`, and skip some of those below `min_face` pixels."""
        look = partial(self._detect_group, least_cell=min_face * _LEAST_CELL)
        return detect_in_groups(images, self._pnet.best_batch, look)

    def _detect_group(self, pixels: list[Pixels], least_cell: float) -> list[Faces]:
        # Images stay floats, because suppression magnifies what rounding would move.
        images = [image.astype(np.float32) for image in pixels]
        boxes = [make_square(proposals) for proposals in self._propose(images, least_cell)]
        boxes = [make_square(refined) for refined in self._refine(images, boxes)]
        return self._finish(images, boxes)

    def _propose(self, images: list[Floats], least_cell: float) -> list[Floats]:
        """Return the candidate boxes (n, 4) of each image, found by cells of P-Net that cover at
        least `least_cell` pixels.

        The scales do not depend on `least_cell`: at other scales it finds other faces.
        """
        found: list[list[tuple[Floats, Floats]]] = [[] for _ in images]
        for scale in pyramid_scales(images[0].shape[:2], self._min_face):
            if scale * least_cell > _CELL:
                continue
            outputs = self._pnet.run(np.stack([shrink(image, scale) for image in images]))[0]
            for levels, output in zip(found, outputs, strict=True):
                levels.append(decode_proposals(output, scale))
        return [_join_levels(levels) for levels in found]

    def _refine(self, images: list[Floats], boxes: list[Floats]) -> list[Floats]:
        """Return the boxes that R-Net accepts, moved by its shifts."""
        outputs = _run_on_crops(self._rnet, images, boxes, _RNET_SIDE)
        refined = []
        for candidates, output in zip(boxes, outputs, strict=True):
            scores = sigmoid(output[:, 4])
            accepted = scores > _RNET_SCORE
            shifted = shift_boxes(candidates[accepted], output[accepted, :4])
            refined.append(shifted[fast_nms(shifted, scores[accepted], _AFTER_RNET)])
        return refined

    def _finish(self, images: list[Floats], boxes: list[Floats]) -> list[Faces]:
        """Return the faces that O-Net accepts, with its landmarks."""
        outputs = _run_on_crops(self._onet, images, boxes, ONET_SIDE)
        faces = []
        for candidates, output in zip(boxes, outputs, strict=True):
            scores = sigmoid(output[:, 14])
            accepted = scores > self._min_score
            candidates, output, scores = candidates[accepted], output[accepted], scores[accepted]
            shifted = shift_boxes(candidates, output[:, :4])
            landmarks = decode_landmarks(candidates, output[:, 4:14])
            rows = fast_nms(shifted, scores, _AFTER_ONET, of_smaller=True)
            faces.append(Faces(shifted, landmarks, scores).take(rows))
        return faces


def pyramid_scales(shape: tuple[int, ...], min_face: float) -> list[float]:
    """Return the scales at which P-Net runs on an image (height, width).

    The smallest one leaves the short side at least 12 pixels, one cell.

    >>> [round(scale, 3) for scale in pyramid_scales((40, 60), 20)]
    [0.6, 0.425, 0.302]
    """
    scale, scales = _CELL / min_face, []
    while int(min(shape) * scale) >= _CELL:
        scales.append(scale)
        scale *= _PYRAMID_STEP
    return scales


def shrink(image: Floats, scale: float) -> Floats:
    """Scale an image down to the means of the areas under its pixels; sides are rounded down."""
    cv2 = opencv()
    size = (int(image.shape[1] * scale), int(image.shape[0] * scale))
    small: Floats = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small


def decode_proposals(output: Floats, scale: float) -> tuple[Floats, Floats]:
    """Return boxes (n, 4) and scores (n,) from P-Net's output (5, rows, columns) at `scale`.

    Boxes that overlap one of a higher score are removed.
    """
    rows, columns = np.nonzero(output[4] > _logit(_PNET_SCORE))
    shifts, scores = output[:4, rows, columns].T, sigmoid(output[4, rows, columns])
    corners = np.stack([columns, rows], axis=1) * _STRIDE
    cells = np.hstack([corners + 1, corners + _CELL])
    boxes = ((cells + shifts * (_CELL - 1)) / scale).astype(np.float32)
    kept = fast_nms(boxes, scores, _IN_A_LEVEL)
    return boxes[kept], scores[kept]


def _join_levels(levels: list[tuple[Floats, Floats]]) -> Floats:
    if not levels:
        return no_faces().boxes
    boxes = np.concatenate([boxes for boxes, _ in levels])
    scores = np.concatenate([scores for _, scores in levels])
    return boxes[fast_nms(boxes, scores, _BETWEEN_LEVELS)]


def fast_nms(
    boxes: Floats, scores: Floats, limit: float, of_smaller: bool = False
) -> npt.NDArray[np.intp]:
    """Return the rows of boxes that overlap no box of a higher score, highest score first.

    An overlap counts if it exceeds `limit` of the union, or of the smaller box. Unlike in greedy
    suppression, a removed box still removes others (Fast NMS; Bolya et al., YOLACT, 2019). Equal
    scores are ranked as the package's sort ranks them.

    >>> row = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    >>> fast_nms(row, np.array([0.9, 0.8, 0.7], np.float32), 0.4)
    array([0])
    """
    order = np.argsort(scores.astype(np.float64))[::-1]  # many scores are exactly 1
    ranked = boxes[order]
    area = areas(ranked)
    is_kept = np.ones(len(ranked), bool)
    for start in range(0, len(ranked), _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        shared = intersections(ranked[block, None], ranked[None, : block.stop])
        own, others = area[block, None], area[None, : block.stop]
        whole = np.minimum(own, others) if of_smaller else own + others - shared
        is_higher = np.tri(len(shared), shared.shape[1], start - 1, dtype=bool)
        is_kept[block] = ~((shared > limit * whole) & is_higher).any(axis=1)
    return order[is_kept]


def make_square(boxes: Floats) -> Floats:
    """Extend boxes (n, 4) to squares of the longer side around the same centre."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.max(axis=1, keepdims=True, initial=-np.inf)
    corners = boxes[:, :2] + (sides - longest) / 2
    return np.hstack([corners, corners + longest])


def shift_boxes(boxes: Floats, shifts: Floats) -> Floats:
    """Move the edges of boxes by `shifts` (n, 4), in shares of their sides."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + shifts * np.tile(sides, 2)


def decode_landmarks(boxes: Floats, positions: Floats) -> Floats:
    """Return landmarks (n, 5, 2) from O-Net's output (n, 10).

    The output holds x of all five landmarks, then y, in shares of the boxes.
    """
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return landmark_shares(positions) * sides[:, None] + boxes[:, None, :2] - 1


def landmark_shares(positions: Floats) -> Floats:
    """Return x y of the landmarks (n, 5, 2), in shares of the crop, from O-Net's output (n, 10)."""
    return positions.reshape(-1, 2, 5).transpose(0, 2, 1)


def _run_on_crops(
    network: Network, images: list[Floats], boxes: list[Floats], side: int
) -> list[Floats]:
    """Run the network on crops of the boxes of all images; return the outputs per image."""
    crops = np.concatenate(
        [crop_boxes(image, of_one, side) for image, of_one in zip(images, boxes, strict=True)]
    )
    step = _AT_ONCE if network.on_gpu else CROPS_ON_CPU
    starts = range(0, max(1, len(crops)), step)
    outputs = np.concatenate([network.run(crops[start : start + step])[0] for start in starts])
    return np.split(outputs, np.cumsum([len(of_one) for of_one in boxes])[:-1])


def crop_boxes(image: Floats, boxes: Floats, side: int) -> Floats:
    """Return crops (n, side, side, 3) of the boxes, interpolated bilinearly.

    The `side` × `side` points run from corner to corner of each box. As in TensorFlow's
    crop_and_resize, boxes are in shares of the image's sides, which count from the first to the
    last pixel. Points outside of the image are grey.
    """
    n = len(boxes)
    if not n:
        return np.empty((0, side, side, 3), np.float32)
    sides = np.array([image.shape[1], image.shape[0]], np.float64)
    corners = boxes.reshape(-1, 2, 2).astype(np.float64) * ((sides - 1) / sides)
    steps = np.linspace(0, 1, side)
    points = corners[:, :1] + steps[:, None] * (corners[:, 1:] - corners[:, :1])
    points[(points < 0) | (points > sides - 1)] = -side  # too far from any pixel to count
    shape = (n, side, side)
    x = np.broadcast_to(points[:, None, :, 0], shape).reshape(n, -1).astype(np.float32)
    y = np.broadcast_to(points[:, :, None, 1], shape).reshape(n, -1).astype(np.float32)
    blocks = [slice(start, start + _AT_ONCE) for start in range(0, n, _AT_ONCE)]
    crops = np.concatenate([_interpolate(image, x[block], y[block]) for block in blocks])
    return crops.reshape(*shape, 3)


def _interpolate(image: Floats, x: Floats, y: Floats) -> Floats:
    """Return the pixels at the points `x`, `y`; the result has their shape and 3 channels."""
    cv2 = opencv()
    grey = (OUTSIDE,) * 3
    pixels: Floats = cv2.remap(
        image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=grey
    )
    return pixels


def sigmoid(logits: Floats) -> Floats:
    """Return the probability of a face from the network's difference of logits."""
    shares: Floats = np.reciprocal(1 + np.exp(-logits), dtype=np.float32)
    return shares


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))
