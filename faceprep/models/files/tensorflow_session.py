"""TensorFlow, where a model needs it: its device, and its errors in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from faceprep.core.errors import SourceError, as_out_of_memory, loading, naming
from faceprep.models.onnx_session import Runtime

BATCH = 32


def only_input(inputs: list[Any]) -> Any:
    """Return the one input of a model. Raises SourceError."""
    if len(inputs) != 1:
        raise SourceError(
            "not a model of face crops", expected="one input", found=f"{len(inputs)} inputs"
        )
    return inputs[0]


@contextmanager
def errors_of(path: Path, program: str = "TensorFlow") -> Iterator[None]:
    """Turn an error of the `program` into a SourceError of one line that names `path`."""
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
        raise as_out_of_memory(error) or SourceError(
            f"not a model that {program} can open: {reason[:200]}", path=path
        ) from error


def open_tensorflow(runtime: Runtime) -> tuple[Any, str, str]:
    """Return the module, its name of the device, and the device's name for people.

    Raises MissingExtra, or FaceprepError if a required GPU cannot be used.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # every worker would print a greeting
    with loading("this model needs TensorFlow ({0})", "pip install 'faceprep[tensorflow]'"):
        import tensorflow as tf
    tf.get_logger().setLevel("ERROR")
    with suppress(RuntimeError):  # raised if TensorFlow has already started
        tf.config.threading.set_intra_op_parallelism_threads(runtime.threads)
    n_gpus = _count_gpus(tf, runtime)
    if (number := runtime.gpu_number) < n_gpus:
        return tf, f"/GPU:{number}", f"CUDA (device {number})"
    runtime.refuse_cpu(f"{n_gpus} in TensorFlow")
    return tf, "/CPU:0", "CPU"


def _count_gpus(tf: Any, runtime: Runtime) -> int:
    if runtime.device == "cpu":
        return 0
    return len(tf.config.list_physical_devices("GPU"))
