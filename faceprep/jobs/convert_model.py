"""`convert-model`: convert a model file to an ONNX file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core import storage
from faceprep.core.errors import OptionError, OutputError
from faceprep.core.hush import hush_libraries
from faceprep.core.job import Look
from faceprep.core.options import option
from faceprep.core.slow_step import Progress, ignore_progress
from faceprep.core.text import format_duration
from faceprep.core.types import OK, Summary
from faceprep.core.urls import as_output, as_paths
from faceprep.models.conversion import convert_model, describe_tensors

_SUFFIX = ".onnx"


@dataclass(frozen=True)
class Converted:
    """The path of the ONNX file, and the names and shapes of its tensors."""

    path: Path
    inputs: Sequence[str]
    outputs: Sequence[str]
    seconds: float
    failed: ClassVar[int] = 0

    def as_json(self) -> dict[str, Any]:
        tensors = {"model_inputs": list(self.inputs), "model_outputs": list(self.outputs)}
        summary = Summary(
            ConvertModel.command,
            unit="model",
            inputs=1,
            ok=1,
            by_status={OK: 1},
            outputs=1,
            seconds=self.seconds,
            output=str(self.path),
            details={"failures": None} | tensors,
        )
        return summary.as_json()

    def __str__(self) -> str:
        tensors = f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}"
        return f"{self.path}: {tensors} ({format_duration(self.seconds)})"


@dataclass(frozen=True)
class ConvertModel(Look):
    """Convert a model file to ONNX.

    SPEC is a .tflite, a Keras model (.keras, .h5, a SavedModel folder) or an MXNet checkpoint:
    PREFIX-symbol.json, which stands for the newest PREFIX-NNNN.params beside it, or PREFIX,EPOCH.
    A model that cannot be converted exactly is refused by name.

    Details:

    The ONNX file of a .tflite or a Keras model keeps its inputs, outputs and layout, and is
    compared with the model before it is written. A Keras model needs TensorFlow, and a quantised
    model is refused. An MXNet checkpoint needs no MXNet: OUT takes images (n, 3, height, width)
    float32 and has the outputs of the symbol, or `fc1` alone where there is one: the embedding of
    InsightFace's networks.
    """

    command: ClassVar[str] = "convert-model"

    overwrite: bool = option(False, "Replace OUT if it exists.")

    def look(
        self, spec: str | Path, out: str | Path, progress: Progress = ignore_progress
    ) -> Converted:
        """Convert the model that `spec` names to the file `out`. Raises FaceprepError."""
        started = time.monotonic()
        out = as_output(*as_paths(out))
        storage.refuse_store(out)
        if out.suffix.lower() != _SUFFIX:
            raise OptionError("OUT is an ONNX file", expected=f"FILE{_SUFFIX}", found=str(out))
        with hush_libraries():
            model = convert_model(str(spec))
        inputs, outputs = describe_tensors(model)
        if not self.overwrite:
            _refuse_other_file(out, model)
        storage.write_file(out, model)
        return Converted(out, inputs, outputs, time.monotonic() - started)


def _refuse_other_file(out: Path, model: bytes) -> None:
    """Refuse to replace a file with other contents. Raises OutputError."""
    if not os.path.lexists(out):
        return
    if storage.size_of(out) != len(model) or storage.read_bytes(out) != model:
        raise OutputError(
            "exists already",
            path=out,
            remedy="Choose another output, or use --overwrite to replace it.",
        )
