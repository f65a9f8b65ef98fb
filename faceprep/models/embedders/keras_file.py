"""Embedders in files of Keras and TensorFlow: .h5 and .keras, SavedModel folders, .tflite."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.errors import FaceprepError, MissingExtra, SourceError, naming
from faceprep.core.faces import Floats
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
"""With a mean of 127.5 what Keras_insightface trains with."""
_Run = Callable[[Floats], npt.NDArray[Any]]


class KerasEmbedder(FileEmbedder):
    """A Keras model in an .h5 or .keras file; code in it is not run."""

    def __init__(self, runtime: Runtime, source: str, given: InputOptions) -> None:
        path = _existing(source)
        tf, place, provider = _open_tensorflow(runtime)
        with _errors(path), tf.device(place):
            model = tf.keras.models.load_model(str(path), compile=False, safe_mode=True)
            body = OpenModel(
                f"{path.stem}/{fingerprint_of(path)}",
                lambda values: _on(tf, place, model.predict_on_batch, values),
                _BATCH,
                True,  # another size would be traced anew
                provider,
            )
            super().__init__(body, choose_preparation(_only(model.inputs).shape, given, {}, _STD))


class SavedModelEmbedder(FileEmbedder):
    """The signature `serving_default` of a SavedModel folder."""

    def __init__(self, runtime: Runtime, source: str, given: InputOptions) -> None:
        path = _existing(source)
        tf, place, provider = _open_tensorflow(runtime)
        with _errors(path), tf.device(place):
            model = tf.saved_model.load(str(path))
            call = model.signatures["serving_default"]
            name, spec = _only(list(call.structured_input_signature[1].items()))
            shape = spec.shape.as_list()

            def run(values: Floats) -> npt.NDArray[Any]:
                outputs = call(**{name: tf.constant(values)})
                vectors: npt.NDArray[Any] = next(iter(outputs.values())).numpy()
                return vectors

            name_and_bytes = f"{path.name}/{fingerprint_of(path)}"
            body = OpenModel(
                name_and_bytes,
                lambda values: _on(tf, place, run, values),
                shape[0] or _BATCH,
                True,
                provider,
            )
            self._model = model  # the signature does not keep its variables alive
            super().__init__(body, choose_preparation(shape, given, {}, _STD))


class TfliteEmbedder(FileEmbedder):
    """A .tflite file, of floats or of whole numbers with a scale; on the CPU."""

    def __init__(self, runtime: Runtime, source: str, given: InputOptions) -> None:
        path = _existing(source)
        tf, _, _ = _open_tensorflow(Runtime("cpu", runtime.threads), runtime)
        with _errors(path):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it says that it will move to another package
                interpreter = tf.lite.Interpreter(
                    model_path=str(path), num_threads=runtime.threads or None
                )
            into = _only(interpreter.get_input_details())
            shape = into["shape_signature"].tolist()
            n = shape[0] if shape[0] > 0 else _BATCH
            interpreter.resize_tensor_input(into["index"], [n, *into["shape"].tolist()[1:]])
            interpreter.allocate_tensors()
            out = interpreter.get_output_details()[0]

            def run(values: Floats) -> npt.NDArray[Any]:
                interpreter.set_tensor(into["index"], _quantised(values, into))
                interpreter.invoke()
                return _dequantised(interpreter.get_tensor(out["index"]), out)

            body = OpenModel(f"{path.stem}/{fingerprint_of(path)}", run, n, True)
            super().__init__(body, choose_preparation(shape, given, {}, _STD))


def _quantised(values: Floats, details: Any) -> npt.NDArray[Any]:
    """As the tensor has them: value = (number - zero) × scale."""
    kind, (scale, zero) = details["dtype"], details["quantization"]
    if not np.issubdtype(kind, np.integer):
        return values.astype(kind, copy=False)
    limits = np.iinfo(kind)
    numbers: npt.NDArray[Any] = np.clip(
        np.rint(values / (scale or 1)) + zero, limits.min, limits.max
    ).astype(kind)
    return numbers


def _dequantised(numbers: npt.NDArray[Any], details: Any) -> npt.NDArray[Any]:
    scale, zero = details["quantization"]
    if not np.issubdtype(details["dtype"], np.integer):
        return numbers
    return (numbers.astype(np.float32) - np.float32(zero)) * np.float32(scale or 1)


def _existing(source: str) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        raise SourceError("no such model", path=path, expected="a file, or a SavedModel folder")
    return path


def _only(inputs: list[Any]) -> Any:
    if len(inputs) != 1:
        raise SourceError(
            "not a model of face crops", expected="one input", found=f"{len(inputs)} inputs"
        )
    return inputs[0]


def _on(tf: Any, place: str, run: Callable[[Any], Any], values: Floats) -> npt.NDArray[Any]:
    with tf.device(place):
        return np.asarray(run(values))


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """What TensorFlow says of a model in one line."""
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
            f"no model that TensorFlow can open: {reason[:200]}", path=path
        ) from error


def _open_tensorflow(runtime: Runtime, asked: Runtime | None = None) -> tuple[Any, str, str]:
    """(module, its name of the device, that for people). Raises MissingExtra, or FaceprepError
    for a GPU.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # it greets on stderr, in every worker
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingExtra(
            f"this embedder needs TensorFlow ({error})", remedy="pip install 'faceprep[tensorflow]'"
        ) from error
    tf.get_logger().setLevel("ERROR")
    with suppress(RuntimeError):  # it runs already
        tf.config.threading.set_intra_op_parallelism_threads(runtime.threads)
    wanted = asked or runtime
    is_cpu = runtime.device == "cpu"
    n_gpus = 0 if is_cpu else len(tf.config.list_physical_devices("GPU"))
    number = int(wanted.device.partition(":")[2] or 0)
    if number < n_gpus:
        return tf, f"/GPU:{number}", f"CUDA (device {number})"
    if wanted.require_gpu or wanted.device not in ("auto", "cpu"):
        found = "a model that runs on the CPU only" if asked else f"{n_gpus} in TensorFlow"
        raise FaceprepError(
            "no GPU can be used", expected=f"a GPU for the device {wanted.device}", found=found
        )
    return tf, "/CPU:0", "CPU"
