"""Embedders in MXNet checkpoints, such as InsightFace's, which run in ONNX Runtime."""

from __future__ import annotations

from faceprep.core.arrays import Floats
from faceprep.core.errors import SourceError, naming
from faceprep.models.embedders.preprocess import (
    FileEmbedder,
    InputOptions,
    OpenModel,
    choose_preparation,
)
from faceprep.models.mxnet.checkpoint import Checkpoint
from faceprep.models.mxnet.convert import EMBEDDING, PIXELS_AS_THEY_ARE
from faceprep.models.onnx_session import Runtime

_BATCH, _BATCH_ON_GPU = 16, 128


class MxnetEmbedder(FileEmbedder):
    """A network of ArcFace's kind in an MXNet checkpoint; its output is `fc1` if it has one.

    It gets RGB pixels of 0 to 255, as InsightFace's networks do, unless the options differ.
    """

    def __init__(self, runtime: Runtime, source: str, options: InputOptions) -> None:
        checkpoint = Checkpoint.find(source)
        with naming(checkpoint.symbol):
            network = runtime.open(checkpoint.to_onnx(is_for_cpu=True))
            names = [output.name for output in network.session.get_outputs()]
            if len(names) > 1:
                raise SourceError(
                    "no single output of vectors",
                    expected=f"one output, or a node {EMBEDDING}",
                    found=", ".join(names),
                )
            shape = network.session.get_inputs()[0].shape

            def run(values: Floats) -> Floats:
                return network.run(values)[0]

            batch = _BATCH_ON_GPU if network.on_gpu else _BATCH
            opened = OpenModel(checkpoint.fingerprint, run, batch, False, network.provider)
            super().__init__(opened, choose_preparation(shape, options, PIXELS_AS_THEY_ARE))
