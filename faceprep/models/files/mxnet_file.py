"""MXNet checkpoints, such as InsightFace's, which run in ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

from faceprep.core.errors import naming
from faceprep.models.files.onnx_file import open_graph
from faceprep.models.files.open_model import OpenModel
from faceprep.models.files.scaling import Reading
from faceprep.models.mxnet.checkpoint import Checkpoint
from faceprep.models.mxnet.convert import PIXELS_AS_THEY_ARE
from faceprep.models.onnx_session import Runtime


def open_mxnet(runtime: Runtime, source: str) -> OpenModel:
    """Open an MXNet checkpoint; its only output is `fc1` if the graph has such a node.

    It gets RGB pixels of 0 to 255, as InsightFace's networks do. Raises SourceError, MissingExtra.
    """
    checkpoint = Checkpoint.find(source)
    with naming(checkpoint.symbol):
        model = checkpoint.to_onnx(is_for_cpu=True)
    opened = open_graph(runtime, checkpoint.symbol, model, checkpoint.fingerprint)
    reading = Reading(PIXELS_AS_THEY_ARE, "as InsightFace's networks take them")
    return replace(opened, reading=reading)
