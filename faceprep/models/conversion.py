"""Conversion of model files to ONNX, checked against the model itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Floats
from faceprep.core.errors import FaceprepError, OptionError, SourceError, naming
from faceprep.models.files.keras_config import refuse_code
from faceprep.models.files.kinds import find_file_kind, open_file
from faceprep.models.files.open_model import OpenModel
from faceprep.models.files.tensorflow_session import errors_of, open_tensorflow
from faceprep.models.mxnet.checkpoint import Checkpoint
from faceprep.models.onnx_session import Runtime
from faceprep.models.tflite.convert import to_onnx
from faceprep.models.tflite.file import read_tflite

_CPU = Runtime("cpu")
_TOLERANCE = 1e-3
"""The greatest difference from the model, as a share of its greatest value."""
_SIDE = 112
"""The side of images for a model that takes any size."""
Lite = Callable[[Path], bytes]


def convert_model(spec: str) -> bytes:
    """Convert a model file to ONNX; the values agree with the model's to its own rounding.

    Raises OptionError, SourceError for a model that cannot be converted, and MissingExtra.
    """
    kind = find_file_kind(spec)
    if kind == "mxnet":
        checkpoint = Checkpoint.find(spec)
        with naming(checkpoint.symbol):
            return checkpoint.to_onnx()
    if kind not in _LITE:
        raise OptionError(
            "not a model that can be converted",
            expected="an MXNet checkpoint: PREFIX-symbol.json or PREFIX,EPOCH; or a .tflite, "
            ".keras or .h5 file, or a SavedModel folder",
            found=spec,
        )
    opened = open_file(_CPU, kind, spec)
    with errors_of(opened.path, "TensorFlow Lite"):
        graph = read_tflite(_LITE[kind](opened.path))
        model = to_onnx(graph)
        if not _agrees(model, opened, n_times=2):
            model = to_onnx(graph, is_any_number=False)
            if not _agrees(model, opened, n_times=1):
                raise SourceError("the ONNX file would give other values than the model")
    return model


def _from_keras(path: Path) -> bytes:
    tf, _, _ = open_tensorflow(_CPU)
    refuse_code(path)
    model = tf.keras.models.load_model(str(path), compile=False, safe_mode=True)
    with redirect_stdout(sys.stderr):  # Keras reports on stdout what it saves on the way
        lite: bytes = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    return lite


def _from_saved_model(path: Path) -> bytes:
    tf, _, _ = open_tensorflow(_CPU)
    lite: bytes = tf.lite.TFLiteConverter.from_saved_model(str(path)).convert()
    return lite


_LITE: dict[str, Lite] = {
    "tflite": storage.read_bytes,
    "keras": _from_keras,
    "savedmodel": _from_saved_model,
}
"""How a kind of file becomes a TFLite file."""


def _agrees(model: bytes, opened: OpenModel, n_times: int) -> bool:
    """Return whether both give the same values for `n_times` batches of random images."""
    network = _CPU.open(model)
    sides = [side if isinstance(side, int) and side > 0 else _SIDE for side in opened.shape[1:]]
    random = np.random.default_rng(0)
    batches = [
        random.uniform(-1, 1, (opened.batch, *sides)).astype(np.float32) for _ in range(n_times)
    ]
    try:
        found = network.run(np.concatenate(batches))
    except FaceprepError:  # the number of images does not fit the graph
        return False
    names = [each.name for each in network.session.get_outputs()]
    by_name = dict(zip(names, found, strict=True))
    wanted = [np.concatenate(each) for each in zip(*map(opened.run, batches), strict=True)]
    order = [each.name for each in opened.outputs]
    if set(order) != set(names):  # TFLite does not keep Keras's names, but their order
        order = names
    pairs = zip([by_name[name] for name in order], wanted, strict=True)
    return all(_are_close(np.asarray(ours), np.asarray(theirs)) for ours, theirs in pairs)


def _are_close(ours: Floats, theirs: Floats) -> bool:
    if ours.shape != theirs.shape:
        return False
    limit = _TOLERANCE * max(float(np.abs(theirs).max(initial=0.0)), 1e-6)
    return bool(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0) <= limit)


def describe_tensors(model: bytes) -> tuple[list[str], list[str]]:
    """Return the inputs and the outputs of an ONNX file, such as `fc1 (n, 512)`.

    A free side of an output is `?`.
    """
    session = _CPU.open(model).session
    inputs, outputs = map(_describe, (session.get_inputs(), session.get_outputs()))
    return inputs, outputs


def _describe(tensors: Any) -> list[str]:
    return [f"{each.name} ({', '.join(_describe_sides(each))})" for each in tensors]


def _describe_sides(tensor: Any) -> list[str]:
    own = f"{tensor.name}_"
    return ["?" if str(side).startswith(own) else str(side) for side in tensor.shape]
