"""Embedders in ONNX files of ArcFace's kind, and those of insightface's packs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.errors import OptionError, SourceError, naming
from faceprep.models import weights
from faceprep.models.detectors import insightface as insightface_pack
from faceprep.models.embedders.preprocess import (
    FileEmbedder,
    InputOptions,
    OpenModel,
    choose_preparation,
)
from faceprep.models.onnx_session import Network, Runtime

_BATCH, _BATCH_ON_GPU = 16, 128
_TYPES: dict[str, npt.DTypeLike] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_PIXELS = {"mean": "0", "std": "1"}
_FIRST_NODES = 8
_NOT_EMBEDDERS = ("det_", "scrfd", "2d106det", "1k3d68", "genderage", "inswapper")


class OnnxEmbedder(FileEmbedder):
    """A model with one input of crops and a first output (n, d).

    Its normalisation is what is given, or mean, std, size and color in the file's metadata or as
    `told` beside it; a graph of bytes, or one that begins with its own subtraction and scaling,
    gets pixels; others what insightface's models take, (x - 127.5) / 127.5, RGB.
    """

    def __init__(
        self,
        runtime: Runtime,
        source: str,
        given: InputOptions,
        told: Mapping[str, str] | None = None,
    ) -> None:
        path = Path(source).expanduser()
        if not path.is_file():
            raise SourceError("no such file", path=path, expected="an .onnx of ArcFace's kind")
        data = storage.read_bytes(path)
        with naming(path):
            network = runtime.open(data)
            inputs = network.session.get_inputs()
            if len(inputs) != 1 or inputs[0].type not in _TYPES:
                found = ", ".join(f"{each.name} {each.type}" for each in inputs)
                raise SourceError(
                    "not a model of face crops",
                    expected="one input of floats or bytes",
                    found=found,
                )
            n, dtype = inputs[0].shape[0], _TYPES[inputs[0].type]
            is_fixed = isinstance(n, int) and n > 0
            body = OpenModel(
                f"{path.stem}/{weights.fingerprint(data)}",
                lambda values: network(values.astype(dtype, copy=False))[0],
                n if is_fixed else _BATCH_ON_GPU if network.on_gpu else _BATCH,
                is_fixed,
                network.provider,
            )
            known = _metadata(network, data) | dict(told or {})
            if dtype == np.uint8:
                if given.mean or given.std:
                    raise OptionError(
                        f"{path.name} takes bytes", remedy="Leave out --mean and --std."
                    )
                known |= _PIXELS
            super().__init__(body, choose_preparation(inputs[0].shape, given, known))


class InsightFaceEmbedder(OnnxEmbedder):
    """The recognition model of an insightface pack, which is downloaded if it is not there."""

    def __init__(self, runtime: Runtime, source: str, given: InputOptions) -> None:
        folder = insightface_pack.pack_folder(source)
        path, told = read_manifest(folder) or (find_embedder(folder), {})
        super().__init__(runtime, str(path), given, told)


def read_manifest(folder: Path) -> tuple[Path, dict[str, str]] | None:
    """(file, normalisation) of the recognition model that a pack's manifest.json names; None where
    it names none.

    `preprocessing` there is {"mean": …, "std": …}, or "embedded" where the graph takes pixels.
    Raises SourceError.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    try:
        task = json.loads(storage.read_bytes(path))["tasks"].get("recognition")
        if task is None:
            return None
        how, file = task.get("preprocessing"), folder / task["file"]
        scale = (
            {name: str(float(how[name])) for name in ("mean", "std")}
            if how and how != "embedded"
            else {}
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected = "tasks.recognition with file and preprocessing"
        raise SourceError(
            "no manifest of a pack", path=path, expected=expected, found=str(error)
        ) from error
    if not file.resolve().is_relative_to(folder.resolve()):
        raise SourceError("names a file outside of the pack", path=path, found=str(task["file"]))
    return file, dict(_PIXELS) if how == "embedded" else scale


def find_embedder(folder: Path) -> Path:
    """The one .onnx of a pack that is no detector and none of points, age or sex. Raises
    SourceError.
    """
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


def _metadata(network: Network, data: bytes) -> dict[str, str]:
    told: dict[str, str] = dict(network.session.get_modelmeta().custom_metadata_map)
    if not told.keys() & {"mean", "std"} and _normalises(data):
        told |= _PIXELS
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
