"""TorchScript files. No extra installs PyTorch: users choose its build themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import SourceError, as_out_of_memory, loading
from faceprep.models.files.open_model import OpenModel, Output
from faceprep.models.onnx_session import Runtime
from faceprep.models.weights import find_model, fingerprint_files

_BATCH, _BATCH_ON_GPU = 16, 128
_END_OF_SENTENCE = re.compile(r"\n|\.\s")


def open_torchscript(runtime: Runtime, source: str) -> OpenModel:
    """Open a TorchScript module that takes (n, 3, height, width) and returns one tensor.

    A pickled module is refused, because loading it would run its code. Raises SourceError,
    MissingExtra, FaceprepError.
    """
    path = find_model(source, "a TorchScript .pt")
    with loading("TorchScript needs PyTorch ({0})", "pip install torch"):
        import torch
    device, provider = _choose_device(torch, runtime)
    module = _load_module(torch, path, device)
    batch = _BATCH if device == "cpu" else _BATCH_ON_GPU

    def run(values: Floats) -> list[npt.NDArray[Any]]:
        try:
            with torch.inference_mode():
                output = module(torch.from_numpy(values).to(device))
                return [output.float().cpu().numpy()]
        except (RuntimeError, AttributeError) as error:  # the latter if not a tensor
            if as_out_of_memory(error):
                raise MemoryError from error
            size = values.shape[2:]
            reason = str(error).strip().splitlines()[-1]
            raise SourceError(f"does not take crops of {size}: {reason}", path=path) from error

    return OpenModel(
        path=path,
        name=f"{path.stem}/{fingerprint_files(path)}",
        run=run,
        outputs=(Output("output"),),
        shape=(None, 3, None, None),
        batch=batch,
        provider=provider,
    )


def _load_module(torch: Any, path: Path, device: str) -> Any:
    """Load a TorchScript module in evaluation mode. Raises SourceError."""
    try:
        with catch_warnings():
            # PyTorch deprecates these files but still reads them: in 2.13 with a
            # DeprecationWarning, in 2.14 with a FutureWarning, which every user would see.
            simplefilter("ignore", DeprecationWarning)
            simplefilter("ignore", FutureWarning)
            return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        reason = _END_OF_SENTENCE.split(str(error).strip(), 1)[0]
        raise as_out_of_memory(error) or SourceError(
            f"not a TorchScript module: {reason}", path=path, expected="torch.jit.save's file"
        ) from error


def _choose_device(torch: Any, runtime: Runtime) -> tuple[str, str]:
    """Return PyTorch's name of the device and its name for people. Raises FaceprepError."""
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    number = runtime.gpu_number
    if runtime.device != "cpu" and torch.cuda.is_available() and number < torch.cuda.device_count():
        return f"cuda:{number}", f"CUDA (device {number})"
    runtime.refuse_cpu("a PyTorch without such a CUDA device")
    return "cpu", "CPU"
