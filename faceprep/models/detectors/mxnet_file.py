"""RetinaFace detectors in MXNet checkpoints, which run in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

from faceprep.core.arrays import Pixels
from faceprep.core.errors import naming
from faceprep.core.faces import Faces
from faceprep.models.detectors.retinaface_maps import RetinaFaceMaps
from faceprep.models.mxnet.checkpoint import Checkpoint
from faceprep.models.onnx_session import Runtime

_VERSION = 1
"""Increase it when the same weights give other faces."""


class MxnetDetector:
    """A detector from an MXNet checkpoint, for faces with a score of at least `min_score`."""

    def __init__(self, runtime: Runtime, source: str, min_score: float = 0.8) -> None:
        checkpoint = Checkpoint.find(source)
        with naming(checkpoint.symbol):
            network = runtime.open(checkpoint.to_onnx(is_for_cpu=True))
            self._detector = RetinaFaceMaps(network, min_score)
        self.fingerprint = f"{checkpoint.fingerprint}/v{_VERSION}/min{min_score:g}"
        self.provider = network.provider

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        return self._detector.detect(images)
