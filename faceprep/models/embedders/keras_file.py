"""Embedders in files of Keras and TensorFlow: .h5 and .keras, SavedModel folders, .tflite."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import FaceprepError, MissingExtra, SourceError, naming
from faceprep.models.embedders.preprocess import (
    FileEmbedder,
    InputOptions,
    OpenModel,
    choose_preparation,
    fingerprint_of,
)
from faceprep.models.onnx_session import Runtime

_BATCH = 32
_STD = 128.0
"""Keras_insightface trains with this and a mean of 127.5."""


class KerasEmbedder(FileEmbedder):
    """A Keras model in an .h5 or .keras file. Code in the file is not run."""

    def __init__(self, runtime: Runtime, source: str, options: InputOptions) -> None:
        path = _find_model(source)
        tf, device, provider = _open_tensorflow(runtime)
        with _errors_of(path), tf.device(device):
            model = tf.keras.models.load_model(str(path), compile=False, safe_mode=True)

            def run(values: Floats) -> npt.NDArray[Any]:
                with tf.device(device):
                    return np.asarray(model.predict_on_batch(values))

            name = f"{path.stem}/{fingerprint_of(path)}"
            # The batch is fixed, because TensorFlow traces the model again for another size.
            opened = OpenModel(name, run, _BATCH, True, provider)
            shape = _only_input(model.inputs).shape
            super().__init__(opened, choose_preparation(shape, options, {}, _STD))


class SavedModelEmbedder(FileEmbedder):
    """The signature `serving_default` of a SavedModel folder."""

    def __init__(self, runtime: Runtime, source: str, options: InputOptions) -> None:
        path = _find_model(source)
        tf, device, provider = _open_tensorflow(runtime)
        with _errors_of(path), tf.device(device):
            model = tf.saved_model.load(str(path))
            call = model.signatures["serving_default"]
            input_name, spec = _only_input(list(call.structured_input_signature[1].items()))
            shape = spec.shape.as_list()

            def run(values: Floats) -> npt.NDArray[Any]:
                with tf.device(device):
                    outputs = call(**{input_name: tf.constant(values)})
                    return np.asarray(next(iter(outputs.values())).numpy())

            name = f"{path.name}/{fingerprint_of(path)}"
            opened = OpenModel(name, run, shape[0] or _BATCH, True, provider)
            self._model = model  # the signature does not keep its variables alive
            super().__init__(opened, choose_preparation(shape, options, {}, _STD))


class TfliteEmbedder(FileEmbedder):
    """A .tflite file of floats, or of integers with a scale. It runs on the CPU."""

    def __init__(self, runtime: Runtime, source: str, options: InputOptions) -> None:
        path = _find_model(source)
        tf, _, _ = _open_tensorflow(Runtime("cpu", runtime.threads), runtime)
        with _errors_of(path):
            interpreter = _open_interpreter(tf, path, runtime.threads)
            input_ = _only_input(interpreter.get_input_details())
            shape = input_["shape_signature"].tolist()
            n = shape[0] if shape[0] > 0 else _BATCH
            interpreter.resize_tensor_input(input_["index"], [n, *input_["shape"].tolist()[1:]])
            interpreter.allocate_tensors()
            output = interpreter.get_output_details()[0]

            def run(values: Floats) -> npt.NDArray[Any]:
                interpreter.set_tensor(input_["index"], _quantise(values, input_))
                interpreter.invoke()
                return _dequantise(interpreter.get_tensor(output["index"]), output)

            opened = OpenModel(f"{path.stem}/{fingerprint_of(path)}", run, n, True)
            super().__init__(opened, choose_preparation(shape, options, {}, _STD))


def _open_interpreter(tf: Any, path: Path, threads: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its move to another package
        return tf.lite.Interpreter(model_path=str(path), num_threads=threads or None)


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


def _find_model(source: str) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        raise SourceError("no such model", path=path, expected="a file, or a SavedModel folder")
    return path


def _only_input(inputs: list[Any]) -> Any:
    if len(inputs) != 1:
        raise SourceError(
            "not a model of face crops", expected="one input", found=f"{len(inputs)} inputs"
        )
    return inputs[0]


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Turn an error of TensorFlow into a SourceError of one line that names `path`."""
    try:
        with naming(path):
            yield
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OSError,
        ImportError,
        RuntimeError,
    ) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SourceError(
            f"not a model that TensorFlow can open: {reason[:200]}", path=path
        ) from error


def _open_tensorflow(runtime: Runtime, requested: Runtime | None = None) -> tuple[Any, str, str]:
    """Return the module, its name of the device, and the device's name for people.

    `requested` is what the user asked for, if `runtime` differs from it. Raises MissingExtra, or
    FaceprepError if a required GPU cannot be used.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # every worker would print a greeting
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingExtra(
            f"this embedder needs TensorFlow ({error})", remedy="pip install 'faceprep[tensorflow]'"
        ) from error
    tf.get_logger().setLevel("ERROR")
    with suppress(RuntimeError):  # raised if TensorFlow has already started
        tf.config.threading.set_intra_op_parallelism_threads(runtime.threads)
    wanted = requested or runtime
    n_gpus = _count_gpus(tf, runtime)
    number = int(wanted.device.partition(":")[2] or 0)
    if number < n_gpus:
        return tf, f"/GPU:{number}", f"CUDA (device {number})"
    if wanted.require_gpu or wanted.device not in ("auto", "cpu"):
        found = "a model that runs on the CPU only" if requested else f"{n_gpus} in TensorFlow"
        raise FaceprepError(
            "no GPU can be used", expected=f"a GPU for the device {wanted.device}", found=found
        )
    return tf, "/CPU:0", "CPU"


def _count_gpus(tf: Any, runtime: Runtime) -> int:
    if runtime.device == "cpu":
        return 0
    return len(tf.config.list_physical_devices("GPU"))
