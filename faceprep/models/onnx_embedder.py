"""Embedders in ONNX files of ArcFace's kind, and those of insightface's packs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from faceprep import storage
from faceprep.errors import SourceError
from faceprep.models import insightface_pack, weights
from faceprep.models.preparation import Body, FileEmbedder, Given, naming, prepare
from faceprep.models.runtime import Network, Runtime

_BATCH, _BATCH_ON_GPU = 16, 128
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_FIRST_NODES = 8
_NOT_EMBEDDERS = ("det_", "scrfd", "2d106det", "1k3d68", "genderage", "inswapper")


class OnnxEmbedder(FileEmbedder):
    """A model with one input of crops and a first output (n, d).

    Its normalisation is what is given, or mean, std, size and color in the file's metadata; a graph that begins with
    its own subtraction and scaling gets pixels; others what insightface's models take, (x - 127.5) / 127.5, RGB.
    """

    def __init__(self, runtime: Runtime, source: str, given: Given) -> None:
        path = Path(source).expanduser()
        if not path.is_file():
            raise SourceError("there is no such file", path=path, expected="an .onnx of ArcFace's kind")
        data = storage.read_bytes(path)
        with naming(path):
            network = runtime.open(data)
            inputs = network.session.get_inputs()
            if len(inputs) != 1 or inputs[0].type not in _FLOATS:
                found = ", ".join(f"{each.name} {each.type}" for each in inputs)
                raise SourceError("no model of face crops", expected="one input of floats", found=found)
            n, dtype = inputs[0].shape[0], _FLOATS[inputs[0].type]
            is_fixed = isinstance(n, int) and n > 0
            body = Body(
                f"{path.stem}/{weights.fingerprint(data)}",
                lambda values: network(values.astype(dtype, copy=False))[0],
                n if is_fixed else _BATCH_ON_GPU if network.on_gpu else _BATCH,
                is_fixed,
                network.provider,
            )
            super().__init__(body, prepare(inputs[0].shape, given, _metadata(network, data)))


class InsightFaceEmbedder(OnnxEmbedder):
    """The recognition model of an insightface pack, which is downloaded if it is not there."""

    def __init__(self, runtime: Runtime, source: str, given: Given) -> None:
        super().__init__(runtime, str(find_embedder(insightface_pack.pack_folder(source))), given)


def find_embedder(folder: Path) -> Path:
    """The one .onnx of a pack that is no detector and none of points, age or sex. Raises SourceError."""
    files = sorted(folder.rglob("*.onnx"))
    found = [path for path in files if not path.stem.lower().startswith(_NOT_EMBEDDERS)]
    if len(found) != 1:
        raise SourceError(
            "no single embedder in this pack",
            path=folder,
            expected="one such as w600k_r50.onnx",
            found=", ".join(path.name for path in files) or "no .onnx file",
            remedy="Name the .onnx file itself.",
        )
    return found[0]


def _metadata(network: Network, data: bytes) -> Mapping[str, str]:
    told: dict[str, str] = dict(network.session.get_modelmeta().custom_metadata_map)
    if not told.keys() & {"mean", "std"} and _normalises(data):
        told |= {"mean": "0", "std": "1"}
    return told


def _normalises(data: bytes) -> bool:
    """Whether the graph subtracts and scales first, as the models that come from MXNet do."""
    try:
        import onnx
    except ImportError:
        return False
    nodes: list[Any] = list(onnx.load_model_from_string(data).graph.node[:_FIRST_NODES])
    kinds = {node.op_type for node in nodes}
    return "Sub" in kinds and bool(kinds & {"Mul", "Div"})
