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
_UNCHANGED = {"mean": "0", "std": "1"}
"""The normalisation of a graph that takes pixels as they are."""
_FIRST_NODES = 8
_NOT_EMBEDDERS = ("det_", "scrfd", "2d106det", "1k3d68", "genderage", "inswapper")


class OnnxEmbedder(FileEmbedder):
    """A model with one input of crops and a first output (n, d).

    Its normalisation comes from the caller's options, else from `metadata`, else from mean, std,
    size and color in the file's own metadata. A graph of bytes, or one that begins with its own
    subtraction and scaling, gets pixels. Any other graph gets the normalisation of insightface's
    models: (x - 127.5) / 127.5, RGB.
    """

    def __init__(
        self,
        runtime: Runtime,
        source: str,
        options: InputOptions,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        path = Path(source).expanduser()
        if not path.is_file():
            raise SourceError("no such file", path=path, expected="an .onnx of ArcFace's kind")
        data = storage.read_bytes(path)
        with naming(path):
            network = runtime.open(data)
            shape, dtype = _read_input(network)
            opened = _open_model(f"{path.stem}/{weights.fingerprint(data)}", network, shape, dtype)
            known = _read_metadata(network, data) | dict(metadata or {})
            if dtype == np.uint8:
                if options.mean or options.std:
                    raise OptionError(
                        f"{path.name} takes bytes", remedy="Leave out --mean and --std."
                    )
                known |= _UNCHANGED
            super().__init__(opened, choose_preparation(shape, options, known))


class InsightFaceEmbedder(OnnxEmbedder):
    """The recognition model of an insightface pack, which is downloaded if it is missing."""

    def __init__(self, runtime: Runtime, source: str, options: InputOptions) -> None:
        folder = insightface_pack.pack_folder(source)
        path, metadata = read_manifest(folder) or (find_embedder(folder), {})
        super().__init__(runtime, str(path), options, metadata)


def read_manifest(folder: Path) -> tuple[Path, dict[str, str]] | None:
    """Return the file and normalisation of the recognition model in a pack's manifest.json.

    Returns None if the manifest is missing or names no such model. `preprocessing` in the
    manifest is {"mean": …, "std": …}, or "embedded" if the graph takes pixels. Raises SourceError.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    try:
        task = json.loads(storage.read_bytes(path))["tasks"].get("recognition")
        if task is None:
            return None
        file = folder / task["file"]
        normalisation = _read_preprocessing(task.get("preprocessing"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected = "tasks.recognition with file and preprocessing"
        raise SourceError(
            "not a manifest of a pack", path=path, expected=expected, found=str(error)
        ) from error
    if not file.resolve().is_relative_to(folder.resolve()):
        raise SourceError("names a file outside of the pack", path=path, found=str(task["file"]))
    return file, normalisation


def _read_preprocessing(preprocessing: Any) -> dict[str, str]:
    if preprocessing == "embedded":
        return dict(_UNCHANGED)
    if not preprocessing:
        return {}
    return {name: str(float(preprocessing[name])) for name in ("mean", "std")}


def find_embedder(folder: Path) -> Path:
    """Return the one .onnx file of a pack whose name is not that of a known other task.

    Other tasks are detection, landmarks, age and sex. Raises SourceError.
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


def _read_input(network: Network) -> tuple[list[Any], npt.DTypeLike]:
    """Return the shape and dtype of the only input. Raises SourceError if it cannot take crops."""
    inputs = network.session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _TYPES:
        raise SourceError(
            "not a model of face crops",
            expected="one input of floats or bytes",
            found=", ".join(f"{each.name} {each.type}" for each in inputs),
        )
    return inputs[0].shape, _TYPES[inputs[0].type]


def _open_model(name: str, network: Network, shape: list[Any], dtype: npt.DTypeLike) -> OpenModel:
    def run(values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        return network.run(values.astype(dtype, copy=False))[0]

    n = shape[0]
    if isinstance(n, int) and n > 0:
        return OpenModel(name, run, n, True, network.provider)
    batch = _BATCH_ON_GPU if network.on_gpu else _BATCH
    return OpenModel(name, run, batch, False, network.provider)


def _read_metadata(network: Network, data: bytes) -> dict[str, str]:
    metadata: dict[str, str] = dict(network.session.get_modelmeta().custom_metadata_map)
    if not metadata.keys() & {"mean", "std"} and _normalises(data):
        metadata |= _UNCHANGED
    return metadata


def _normalises(data: bytes) -> bool:
    """Return whether the graph subtracts and scales first, as models exported from MXNet do."""
    try:
        import onnx
    except ImportError:
        return False
    nodes: list[Any] = list(onnx.load_model_from_string(data).graph.node[:_FIRST_NODES])
    kinds = {node.op_type for node in nodes}
    return "Sub" in kinds and bool(kinds & {"Mul", "Div"})
