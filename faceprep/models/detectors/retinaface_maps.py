"""RetinaFace as InsightFace published it for MXNet (Deng et al. 2019; R50 and mnet025): nine maps.

For each stride there are scores (n, 4, h, w), boxes (n, 8, h, w) and landmarks (n, 20, h, w), for
two square anchors in each cell. The last two scores are those of a face.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.errors import SourceError
from faceprep.core.faces import N_LANDMARKS, Faces
from faceprep.models.detectors.batching import detect_in_groups, stack_rgb
from faceprep.models.detectors.detector import fit_to
from faceprep.models.detectors.nms import non_max_suppression
from faceprep.models.onnx_session import Network

N_MAPS = 9
_SIDES = {32: (512, 256), 16: (128, 64), 8: (32, 16)}
"""Sides of the anchors in each cell, by the stride of the map."""
_CHANNELS = (4, 8, 20)
_CENTRE = 7.5
"""Centre of the anchors of the first cell, whose first pixel is 0."""
_LARGEST_SHIFT = 8.0
_OVERLAP = 0.4
_MULTIPLE = 32


class _Maps(NamedTuple):
    """Places of the scores, boxes and landmarks of a stride among the outputs."""

    stride: int
    places: tuple[int, int, int]


class RetinaFaceMaps:
    """A detector around an open network, for faces with a score of at least `min_score`.

    A network of a fixed size gets images that are shrunk and padded to it. Raises SourceError if
    the outputs are not such maps.
    """

    def __init__(self, network: Network, min_score: float) -> None:
        self._network, self._min_score = network, min_score
        if not are_maps(network):
            raise _not_maps([output.shape for output in network.session.get_outputs()])
        sides = network.session.get_inputs()[0].shape[2:]
        self._size: tuple[int, int] | None = None
        self._multiple = _MULTIPLE
        if all(isinstance(side, int) for side in sides):
            self._size, self._multiple = (sides[0], sides[1]), 1
        height, width = self._size or (_MULTIPLE, _MULTIPLE)
        black = np.zeros((1, 3, height, width), np.float32)
        self._maps = _find_maps([each.shape for each in network.run(black)], height)

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        """Return the faces of each image, highest score first."""
        if self._size is None:
            return detect_in_groups(images, self._network.best_batch, self._detect_group)
        return [self._detect_fitted(image, *self._size) for image in images]

    def _detect_fitted(self, image: Pixels, height: int, width: int) -> Faces:
        """Detect faces in one image at the size of the network."""
        scale = min(height / image.shape[0], width / image.shape[1])
        small = fit_to(image, max(1, int(scale * max(image.shape[:2]))))
        padded = np.zeros((height, width, 3), np.uint8)
        padded[: small.shape[0], : small.shape[1]] = small
        scales = image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]
        return self._detect_group([padded])[0].moved(scales)

    def _detect_group(self, images: list[Pixels]) -> list[Faces]:
        outputs = self._network.run(stack_rgb(images, self._multiple))
        return [self._decode([maps[row] for maps in outputs]) for row in range(len(images))]

    def _decode(self, outputs: list[Floats]) -> Faces:
        parts = [
            decode(maps.stride, [outputs[place] for place in maps.places], self._min_score)
            for maps in self._maps
        ]
        faces = Faces(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        return non_max_suppression(faces, _OVERLAP)


def are_maps(network: Network) -> bool:
    """Return whether the outputs of a network are nine maps of four dimensions."""
    shapes = [output.shape for output in network.session.get_outputs()]
    return len(shapes) == N_MAPS and all(len(shape) == 4 for shape in shapes)


def _find_maps(shapes: Sequence[tuple[int, ...]], height: int) -> list[_Maps]:
    """Find the maps of each stride by their shapes for an image of `height`. Raises SourceError."""
    places = {shape[1:3]: place for place, shape in enumerate(shapes)}
    found = []
    for stride in _SIDES:
        rows = -(-height // stride)
        wanted = [(n_channels, rows) for n_channels in _CHANNELS]
        if not places.keys() >= set(wanted):
            raise _not_maps(shapes)
        scores, boxes, landmarks = (places[each] for each in wanted)
        found.append(_Maps(stride, (scores, boxes, landmarks)))
    return found


def _not_maps(shapes: Sequence[Sequence[object]]) -> SourceError:
    found = ", ".join(str(tuple(shape)) for shape in shapes[: N_MAPS + 1])
    return SourceError(
        "not a RetinaFace with landmarks",
        expected="scores (4), boxes (8) and landmarks (20) at strides 32, 16 and 8",
        found=f"outputs {found}".replace("'", ""),
        remedy="For MTCNN (det1 to det3) use the detector mtcnn, which has the same weights.",
    )


def decode(stride: int, maps: Sequence[Floats], min_score: float) -> tuple[Floats, Floats, Floats]:
    """Decode boxes (n, 4), landmarks (n, 5, 2) and scores (n,) of at least `min_score`.

    `maps` are scores (4, h, w), boxes (8, h, w) and landmarks (20, h, w) of one image. With the
    centre c and the side s of an anchor: centre = c + s shift, size = s exp(shift), landmark =
    c + s shift; a box of a pixel ends where it begins.
    """
    scores, shifts, points = maps
    n_anchors = len(_SIDES[stride])
    height, width = scores.shape[1:]
    faces = scores[n_anchors:]
    anchors, rows, columns = np.nonzero(faces >= min_score)
    at_anchors = anchors, slice(None), rows, columns
    shift = shifts.reshape(n_anchors, 4, height, width)[at_anchors]
    point = points.reshape(n_anchors, 2 * N_LANDMARKS, height, width)[at_anchors]
    sides = np.array(_SIDES[stride], np.float32)[anchors, None]
    cells = stride * np.stack([columns, rows], axis=1).astype(np.float32) + np.float32(_CENTRE)
    centres = cells + sides * shift[:, :2]
    halves = (sides * np.exp(np.minimum(shift[:, 2:], _LARGEST_SHIFT)) - 1) / 2
    landmarks = cells[:, None] + sides[:, None] * point.reshape(-1, N_LANDMARKS, 2)
    boxes = np.hstack([centres - halves, centres + halves]).astype(np.float32)
    return boxes, landmarks, faces[anchors, rows, columns]
