"""ONNX files: opened, with the normalisation that their graphs or metadata show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Floats
from faceprep.core.errors import SourceError, loading, naming
from faceprep.models.files.open_model import OpenModel, Output
from faceprep.models.files.preparation import ARCFACE_STD, KERAS_STD, UNCHANGED
from faceprep.models.files.scaling import Graph, Node, Reading, read_scaling
from faceprep.models.onnx_session import Network, Runtime
from faceprep.models.weights import find_model, fingerprint, fingerprint_files

_BATCH, _BATCH_ON_GPU = 16, 128
_TYPES: dict[str, npt.DTypeLike] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_KERAS_EXPORTERS = ("tf2onnx", "keras2onnx")
_REMEDY = "pip install 'faceprep[embed]'"


def open_onnx(runtime: Runtime, source: str) -> OpenModel:
    """Open an .onnx file with one input of crops, and its external data beside it.

    A graph that scales pixels itself, and one that takes bytes, gets pixels. Otherwise mean, std,
    size and color in the file's own metadata count. Raises SourceError, MissingExtra.
    """
    path = find_model(source, "an .onnx file")
    data = storage.read_bytes(path)
    with naming(path):
        graph = _parse(data)
        external = [path.parent / name for name in _external_files(graph.proto, path.parent)]
        if not external:
            return open_graph(runtime, path, data, f"{path.stem}/{fingerprint(data)}")
        name = f"{path.stem}/{fingerprint_files(path, *external)}"
        return _describe(runtime.open(data, path), graph, path, name)


def open_graph(runtime: Runtime, path: Path, data: bytes, name: str) -> OpenModel:
    """Open a graph in the bytes of an ONNX file that were made of `path`.

    `name` names the weights in fingerprints. Raises SourceError, MissingExtra.
    """
    with naming(path):
        return _describe(runtime.open(data), _parse(data), path, name)


def _describe(network: Network, graph: _File, path: Path, name: str) -> OpenModel:
    shape, dtype = _read_input(network)
    session = network.session

    def run(values: Floats) -> Sequence[npt.NDArray[Any]]:
        return network.run(values.astype(dtype, copy=False))

    n = shape[0]
    is_fixed = isinstance(n, int) and n > 0
    if not is_fixed:
        n = _BATCH_ON_GPU if network.on_gpu else _BATCH
    made_by = {name: node.op_type for node in graph.proto.graph.node for name in node.output}
    outputs = [
        Output(each.name, tuple(each.shape), made_by.get(each.name, ""))
        for each in session.get_outputs()
    ]
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    reading = _read_normalisation(graph, session.get_inputs()[0].name, dtype, metadata)
    default_std = ARCFACE_STD
    if graph.proto.producer_name in _KERAS_EXPORTERS:
        default_std = KERAS_STD
    return OpenModel(
        path=path,
        name=name,
        run=run,
        outputs=tuple(outputs),
        shape=shape,
        batch=n,
        is_fixed=is_fixed,
        provider=network.provider,
        reading=reading._replace(stated=metadata | dict(reading.stated)),
        default_std=default_std,
        takes_bytes=dtype == np.uint8,
    )


def _read_normalisation(
    graph: _File, input_name: str, dtype: npt.DTypeLike, metadata: Mapping[str, str]
) -> Reading:
    """Return what the metadata state, else what the graph shows."""
    if dtype == np.uint8:
        return Reading(UNCHANGED, "the graph takes bytes")
    if metadata.keys() & {"mean", "std"}:
        return Reading(origin="as the file's metadata states")
    return read_scaling(Graph(graph.nodes(), graph.constant).find_scaling(input_name))


def _read_input(network: Network) -> tuple[list[Any], npt.DTypeLike]:
    """Return the shape and dtype of the only input. Raises SourceError if it cannot take crops."""
    inputs = network.session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _TYPES or len(inputs[0].shape) != 4:
        raise SourceError(
            "not a model of face crops",
            expected="one input (n, 3, height, width) or (n, height, width, 3) of floats or bytes",
            found=", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs),
        )
    return inputs[0].shape, _TYPES[inputs[0].type]


# The graph


class _File(NamedTuple):
    """The parsed file; weights in other files are not loaded."""

    proto: Any
    numpy_helper: Any

    def nodes(self) -> Iterator[Node]:
        for node in self.proto.graph.node:
            settings = {each.name: each.f for each in node.attribute if each.name == "epsilon"}
            yield Node(node.op_type, tuple(node.input), tuple(node.output), settings)

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """Return the numbers of a weight in the file, or of a node Constant."""
        for weight in self.proto.graph.initializer:
            if weight.name == name and not weight.external_data:
                numbers: npt.NDArray[Any] = self.numpy_helper.to_array(weight)
                return numbers
        for node in self.proto.graph.node:
            if node.op_type == "Constant" and name in node.output:
                return self._value_of(node)
        return None

    def _value_of(self, node: Any) -> npt.NDArray[Any] | None:
        for each in node.attribute:
            if each.name == "value" and not each.t.external_data:
                numbers: npt.NDArray[Any] = self.numpy_helper.to_array(each.t)
                return numbers
            if each.name == "value_float":
                return np.array(each.f)
            if each.name == "value_floats":
                return np.array(each.floats)
        return None


def _parse(data: bytes) -> _File:
    """Parse the file. Raises SourceError, MissingExtra."""
    with loading("onnx cannot be loaded ({0})", _REMEDY):
        import onnx
        from google.protobuf.message import DecodeError
    try:
        proto = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise SourceError(
            "not a model that ONNX Runtime can open", found=str(error).partition("\n")[0]
        ) from error
    return _File(proto, onnx.numpy_helper)


def _external_files(proto: Any, folder: Path) -> list[str]:
    """Return the names of the files that hold the graph's weights. Raises SourceError."""
    tensors = list(proto.graph.initializer)
    tensors += [
        each.t for node in proto.graph.node for each in node.attribute if each.HasField("t")
    ]
    names = {
        entry.value
        for tensor in tensors
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for name in sorted(names):
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise SourceError("names weights outside of its folder", found=name)
        if not path.is_file():
            raise SourceError(
                "holds its weights in another file",
                expected=f"{name} beside it",
                found="no such file",
                remedy="Copy it beside the model.",
            )
    return sorted(names)
