"""TFLite files of floats, or of integers with a scale. They run on the CPU."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import loading
from faceprep.core.hush import discard_stderr
from faceprep.models.files.open_model import OpenModel, Output
from faceprep.models.files.preparation import KERAS_STD
from faceprep.models.files.scaling import Graph, Node, Reading, read_scaling
from faceprep.models.files.tensorflow_session import BATCH, errors_of, only_input
from faceprep.models.onnx_session import Runtime
from faceprep.models.weights import find_model, fingerprint_files

_PROGRAM = "TensorFlow Lite"


def open_tflite(runtime: Runtime, source: str) -> OpenModel:
    """Open a .tflite file. Raises SourceError, MissingExtra, FaceprepError."""
    path = find_model(source, "a TFLite file")
    runtime.refuse_cpu("a .tflite, which runs on the CPU only")
    load = find_interpreter()
    with errors_of(path, _PROGRAM), discard_stderr():  # it prints the name of its delegate
        interpreter = _open_interpreter(load, path, runtime.threads)
        input_ = only_input(interpreter.get_input_details())
        nodes = _read_nodes(interpreter)
        reading = _read_graph(interpreter, nodes, str(input_["index"]))
        made_by = {name: node.kind for node in nodes for name in node.outputs}
        shape = input_["shape_signature"].tolist()
        n = shape[0] if shape[0] > 0 else BATCH
        interpreter.resize_tensor_input(input_["index"], [n, *input_["shape"].tolist()[1:]])
        interpreter.allocate_tensors()
        details = sorted(interpreter.get_output_details(), key=lambda output: output["name"])

    def run(values: Floats) -> list[npt.NDArray[Any]]:
        with errors_of(path, _PROGRAM):
            interpreter.set_tensor(input_["index"], _quantise(values, input_))
            interpreter.invoke()
            return [_dequantise(interpreter.get_tensor(each["index"]), each) for each in details]

    outputs = [
        Output(
            each["name"],
            tuple(each["shape_signature"].tolist()),
            made_by.get(str(each["index"]), ""),
        )
        for each in details
    ]
    return OpenModel(
        path=path,
        name=f"{path.stem}/{fingerprint_files(path)}",
        run=run,
        outputs=tuple(outputs),
        shape=shape,
        batch=n,
        is_fixed=True,
        reading=reading,
        default_std=KERAS_STD,
    )


def find_interpreter() -> Any:
    """Return the interpreter's class of ai-edge-litert, or of TensorFlow. Raises MissingExtra."""
    problem = "a .tflite needs ai-edge-litert or TensorFlow ({0})"
    with loading(problem, "pip install 'faceprep[tflite]'"):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            import tensorflow as tf

            return tf.lite.Interpreter
    return Interpreter


def _open_interpreter(load: Any, path: Path, threads: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's announces its move to another package
        return load(model_path=str(path), num_threads=threads or None)


def _read_nodes(interpreter: Any) -> list[Node]:
    """Return the operators of the file.

    Once memory is allocated, most of them are hidden in one that TensorFlow puts in their place.
    """
    return [
        Node(
            each["op_name"].capitalize(),
            tuple(str(index) for index in each["inputs"] if index >= 0),
            tuple(map(str, each["outputs"])),
        )
        for each in interpreter._get_ops_details()
    ]


def _read_graph(interpreter: Any, nodes: list[Node], start: str) -> Reading:
    """Follow the input through the operators of the file."""
    computed = {name for node in nodes for name in node.outputs} | {start}

    def constant(name: str) -> Any:
        return None if name in computed else interpreter.get_tensor(int(name))

    return read_scaling(Graph(nodes, constant).find_scaling(start))


def _quantise(values: Floats, details: Any) -> npt.NDArray[Any]:
    """Convert floats to the numbers of a tensor, with value = (number - zero) × scale."""
    dtype, (scale, zero) = details["dtype"], details["quantization"]
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    rounded = np.rint(values / (scale or 1)) + zero
    numbers: npt.NDArray[Any] = np.clip(rounded, limits.min, limits.max).astype(dtype)
    return numbers


def _dequantise(numbers: npt.NDArray[Any], details: Any) -> npt.NDArray[Any]:
    scale, zero = details["quantization"]
    if not np.issubdtype(details["dtype"], np.integer):
        return numbers
    return (numbers.astype(np.float32) - np.float32(zero)) * np.float32(scale or 1)
