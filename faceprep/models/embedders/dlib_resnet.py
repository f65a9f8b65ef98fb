"""dlib's face descriptor in ONNX Runtime: ResNet-29, 128 numbers.

The network is King's (2017). Its weights are in the public domain.
"""

from __future__ import annotations

import numpy as np

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.embeddings import Model
from faceprep.models import weights
from faceprep.models.cache import cached
from faceprep.models.embedders.dlib_onnx import build_graph
from faceprep.models.embedders.dlib_weights import read_layers
from faceprep.models.onnx_session import Runtime

_VERSION = 1
"""Increase it when the same weights give other vectors."""
_MEAN_RGB = (122.782, 117.001, 104.298)
_SCALE = 256.0
_SIDE, _DIM = 150, 128
_BATCH, _BATCH_ON_GPU = 32, 256
ORIGIN = (
    "measured on AT&T/ORL, 20 people: different people reach at most 0.947; 1.19 % of their pairs "
    "and 98.1 % of the pairs of one person reach 0.92; images are at most 19.7 degrees from their "
    "own centre and in the median 29.5 from others; deepface's test photos: one person has at "
    "least 0.947, different people at most 0.915; dlib's own rule, a distance below 0.6, is about "
    "0.91"
)
"""Source of the thresholds.

The metric is cosine, because Euclidean separates people equally well there: the equal error rate
is 1.7 % with either. Vectors have a length of 1.41, so that a distance of 0.6 is a cosine of
1 - 0.6² / (2 · 1.41²) = 0.91.
"""


class DlibResnet:
    """An embedder that maps faces aligned to dlib-150 to vectors (n, 128).

    Vectors are not scaled to length 1. A vector does not depend on its batch.
    """

    template = "dlib-150"
    dim = _DIM

    def __init__(self, runtime: Runtime) -> None:
        data = weights.dlib_resnet()
        fingerprint = weights.fingerprint(data)
        name = f"dlib-resnet-{fingerprint}-v{_VERSION}.onnx"
        self._network = runtime.open(cached(name, lambda: _as_onnx(data)))
        self.provider = self._network.provider
        self._batch = _BATCH_ON_GPU if self._network.on_gpu else _BATCH
        self.model = Model(
            fingerprint=f"dlib-resnet/{fingerprint}/v{_VERSION}/{self.template}",
            threshold=0.92,
            merge_from=0.94,
            undecided_from=0.915,
            outlier_angle=23,
            origin=ORIGIN,
        )

    def embed(self, crops: Pixels) -> Floats:
        vectors = np.empty((len(crops), _DIM), np.float32)
        for start in range(0, len(crops), self._batch):
            rows = slice(start, start + self._batch)
            vectors[rows] = self._network.run(crops[rows])[0]
        return vectors


def _as_onnx(data: bytes) -> bytes:
    return build_graph(list(read_layers(data)), _SIDE, _MEAN_RGB, _SCALE)
