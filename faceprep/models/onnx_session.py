"""ONNX Runtime: the device of a graph, checked after loading."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from faceprep.core.cpu import worker_number
from faceprep.core.errors import FaceprepError, OptionError, SourceError, as_out_of_memory, loading

log = logging.getLogger("faceprep")
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_BATCH_ON_GPU = 16
_ONLY_FATAL = 4
"""ONNX Runtime prints an error as well as raising it; it is reported once."""
_DEVICES = re.compile(r"auto|cpu|cuda|cuda:\d+(,cuda:\d+)*", re.ASCII)
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime 1.32 writes a device id and events into the user's cache, and sends them."""
_NODE = re.compile(r"while running (\w+) node\. Name:'([^']*)'", re.ASCII)
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


class Network:
    """An open graph with one input."""

    def __init__(self, session: Any, failures: tuple[type[Exception], ...] = ()) -> None:
        self.session, self._failures = session, failures
        self._input = session.get_inputs()[0].name

    def run(self, batch: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the graph's outputs in its own order. Raises SourceError, MemoryError."""
        try:
            outputs: list[npt.NDArray[Any]] = self.session.run(None, {self._input: batch})
        except self._failures as error:
            if as_out_of_memory(error):
                raise MemoryError from error
            raise SourceError(
                f"ONNX Runtime cannot run the model on {tuple(batch.shape)}",
                found=_describe_failure(error),
            ) from error
        return outputs

    @property
    def on_gpu(self) -> bool:
        """Return whether the session runs on a GPU."""
        return bool(self.session.get_providers()[0] == _CUDA)

    @property
    def provider(self) -> str:
        """Return `CPU` or `CUDA (device 0)`, as reported by the session."""
        if not self.on_gpu:
            return "CPU"
        options = self.session.get_provider_options()[_CUDA]
        return f"CUDA (device {options.get('device_id', 0)})"

    @property
    def best_batch(self) -> int:
        """Return the fastest batch size for images of the size of a frame.

        On a CPU it is 1, because a larger batch does not fit into the cache.
        """
        return _BATCH_ON_GPU if self.on_gpu else 1


@dataclass(frozen=True, slots=True)
class Runtime:
    """The device that graphs run on: auto, cpu, cuda or cuda:N; auto prefers a GPU.

    Several devices, cuda:0,cuda:1, are given to the workers in turn; `device` is then this
    worker's.

    `threads` is the number of CPU threads of one graph. With 0, ONNX Runtime takes all cores.

    >>> Runtime("gpu")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.OptionError: invalid --device: expected auto, ... found 'gpu'
    """

    device: str = "auto"
    threads: int = 0
    require_gpu: bool = False

    def __post_init__(self) -> None:
        if not _DEVICES.fullmatch(self.device):
            raise OptionError(
                "--device",
                expected="auto, cpu, cuda, cuda:N, or several as cuda:0,cuda:1",
                found=repr(self.device),
            )
        devices = self.device.split(",")
        object.__setattr__(self, "device", devices[worker_number() % len(devices)])
        if self.threads < 0:
            raise OptionError(
                "invalid number of threads", expected="0 or more", found=str(self.threads)
            )
        if self.require_gpu and self.device == "cpu":
            raise OptionError(
                "a GPU is required, but the device is cpu", remedy="Use --device auto or cuda."
            )

    @property
    def gpu_number(self) -> int:
        """Return N of the device cuda:N, else 0."""
        return int(self.device.partition(":")[2] or 0)

    def refuse_cpu(self, found: str) -> None:
        """Raise FaceprepError if a GPU is asked for, with what was `found` in its place."""
        if self.require_gpu or self.device not in ("auto", "cpu"):
            raise FaceprepError(
                "no GPU can be used", expected=f"CUDA for the device {self.device}", found=found
            )

    def open(self, model: bytes, path: Path | None = None) -> Network:
        """Load the ONNX file `model`, or the file at `path`, whose weights lie in files beside it.

        Raises SourceError, OutOfMemory, or FaceprepError if a required GPU cannot be used.
        """
        ort, source = onnxruntime(), model if path is None else str(path)
        if self.device != "cpu":
            session, problem = self._open_on_gpu(ort, source)
            if session is not None:
                return Network(session, _failures(ort))
            if self.device != "auto" or self.require_gpu:
                raise FaceprepError(
                    "no GPU can be used",
                    expected=f"CUDA for the device {self.device}",
                    found=problem,
                    remedy="Uninstall onnxruntime and pip install onnxruntime-gpu, or use "
                    "--device cpu.",
                )
            if _CUDA in ort.get_available_providers():
                log.warning("the CPU is used, because no GPU can be used: %s", problem)
        try:
            session = ort.InferenceSession(
                source, self._options(ort), providers=[_CPU], enable_fallback=0
            )
        except _failures(ort) as error:
            raise as_out_of_memory(error) or SourceError(
                "not a model that ONNX Runtime can open", found=_first_line(error)
            ) from error
        return Network(session, _failures(ort))

    def _open_on_gpu(self, ort: Any, model: bytes | str) -> tuple[Any, str]:
        """Return (session, ""), or (None, the problem)."""
        available = ort.get_available_providers()
        if _CUDA not in available:
            return None, f"an ONNX Runtime with {', '.join(available)} only"
        if hasattr(ort, "preload_dlls"):  # finds the CUDA that pip installed
            ort.preload_dlls()
        # A search for the best convolution would run again for each new size of photo, and TF32
        # would move landmarks by more than the CPU's rounding.
        cuda = {
            "device_id": str(self.gpu_number),
            "cudnn_conv_algo_search": "HEURISTIC",
            "use_tf32": "0",
        }
        try:
            session = ort.InferenceSession(
                model, self._options(ort), providers=[(_CUDA, cuda), _CPU], enable_fallback=0
            )
        except _failures(ort) as error:
            return None, _first_line(error)
        if session.get_providers()[0] != _CUDA:
            return None, (
                "a CUDA installation that does not start (driver, CUDA or cuDNN missing or too old)"
            )
        return session, ""

    def _options(self, ort: Any) -> Any:
        options = ort.SessionOptions()
        options.log_severity_level = _ONLY_FATAL
        options.intra_op_num_threads = self.threads
        return options


def onnxruntime() -> Any:
    """Import the module onnxruntime, without its telemetry. Raises MissingExtra."""
    os.environ[_NO_TELEMETRY] = "1"  # read when the module is loaded
    with loading("ONNX Runtime cannot be loaded ({0})", "pip install 'faceprep[detect]'"):
        import onnxruntime as ort
    ort.set_default_logger_severity(_ONLY_FATAL)
    return ort


def _failures(ort: Any) -> tuple[type[Exception], ...]:
    """Return the errors that ONNX Runtime raises for a model or a device.

    They share no base class of their own.
    """
    state = ort.capi.onnxruntime_pybind11_state
    names = (
        "EPFail",
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NotImplemented",
        "RuntimeException",
    )
    known = [getattr(state, name) for name in names if hasattr(state, name)]
    return RuntimeError, ValueError, *known


def _describe_failure(error: Exception) -> str:
    """Name the node at which a run failed, where ONNX Runtime does; its own words are logged."""
    text = _first_line(error)
    node = _NODE.search(text)
    if node is None:
        return text
    log.debug("ONNX Runtime: %s", text)
    return f"an error at its {node[1]} node {node[2]}, which does not accept its input"


def _first_line(error: Exception) -> str:
    return _PREFIX.sub("", str(error).strip().partition("\n")[0])
