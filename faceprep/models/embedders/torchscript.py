"""Embedders in TorchScript files, where PyTorch is installed: it comes with no extra, being
what users choose.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy.typing as npt

from faceprep.core.errors import FaceprepError, MissingExtra, SourceError
from faceprep.core.faces import Floats
from faceprep.models.embedders.preprocess import Body, FileEmbedder, Given, fingerprint_of, prepare
from faceprep.models.onnx_session import Runtime

_BATCH, _BATCH_ON_GPU = 16, 128
_END_OF_SENTENCE = re.compile(r"\n|\.\s")


class TorchEmbedder(FileEmbedder):
    """A TorchScript module that takes (n, 3, height, width); a pickled one, whose code would
    run, is not read.
    """

    def __init__(self, runtime: Runtime, source: str, given: Given) -> None:
        path = Path(source).expanduser()
        if not path.is_file():
            raise SourceError("no such file", path=path, expected="a TorchScript .pt")
        torch = _torch()
        device, provider = _device(torch, runtime)
        try:
            with (
                catch_warnings()
            ):  # PyTorch 2.13 would rather be given other files; it goes on reading these
                simplefilter("ignore", DeprecationWarning)
                module = torch.jit.load(str(path), map_location=device).eval()
        except (RuntimeError, ValueError) as error:
            reason = _END_OF_SENTENCE.split(str(error).strip(), 1)[0]
            raise SourceError(
                f"no TorchScript module: {reason}", path=path, expected="torch.jit.save's file"
            ) from error

        def run(values: Floats) -> npt.NDArray[Any]:
            with torch.inference_mode():
                vectors: npt.NDArray[Any] = (
                    module(torch.from_numpy(values).to(device)).float().cpu().numpy()
                )
                return vectors

        preparation = prepare((None, 3, None, None), given, {})
        batch = _BATCH_ON_GPU if device != "cpu" else _BATCH
        try:
            super().__init__(
                Body(f"{path.stem}/{fingerprint_of(path)}", run, batch, provider=provider),
                preparation,
            )
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise SourceError(
                f"does not take crops of {preparation.size}: {reason}", path=path
            ) from error


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra(
            f"TorchScript needs PyTorch ({error})", remedy="pip install torch"
        ) from error
    return torch


def _device(torch: Any, runtime: Runtime) -> tuple[str, str]:
    """(PyTorch's name of the device, that for people). Raises FaceprepError."""
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    number = int(runtime.device.partition(":")[2] or 0)
    if runtime.device != "cpu" and torch.cuda.is_available() and number < torch.cuda.device_count():
        return f"cuda:{number}", f"CUDA (device {number})"
    if runtime.require_gpu or runtime.device not in ("auto", "cpu"):
        found = "a PyTorch without such a CUDA device"
        raise FaceprepError(
            "no GPU can be used", expected=f"CUDA for the device {runtime.device}", found=found
        )
    return "cpu", "CPU"
