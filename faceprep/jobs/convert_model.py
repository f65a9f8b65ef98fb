"""`convert-model`: convert an MXNet checkpoint to an ONNX file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core import storage
from faceprep.core.errors import OptionError, OutputError, naming
from faceprep.core.job import Look
from faceprep.core.options import option
from faceprep.core.text import format_duration
from faceprep.core.types import OK, Summary
from faceprep.models.mxnet.checkpoint import Checkpoint, is_checkpoint
from faceprep.models.onnx_session import Runtime

Progress = Callable[[int, int], None]
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
    """Convert an MXNet checkpoint to ONNX, without MXNet.

    SPEC is PREFIX-symbol.json, which stands for the newest PREFIX-NNNN.params beside it, or
    PREFIX,EPOCH. OUT.onnx takes images (n, 3, height, width) float32 and has the outputs of the
    symbol, or `fc1` alone where there is one: the embedding of InsightFace's networks. An operator
    that cannot be converted exactly is refused by name.
    """

    command: ClassVar[str] = "convert-model"

    overwrite: bool = option(False, "Replace OUT if it exists.")

    def look(
        self, spec: Path, out: Path, progress: Progress = lambda n_done, total: None
    ) -> Converted:
        started = time.monotonic()
        if not is_checkpoint(str(spec)):
            raise OptionError(
                "not a model that can be converted",
                expected="an MXNet checkpoint: PREFIX-symbol.json or PREFIX,EPOCH",
                found=str(spec),
            )
        if out.suffix.lower() != _SUFFIX:
            raise OptionError("OUT is an ONNX file", expected=f"FILE{_SUFFIX}", found=str(out))
        checkpoint = Checkpoint.find(str(spec))
        with naming(checkpoint.symbol):
            model = checkpoint.to_onnx()
            session = Runtime("cpu").open(model).session
        if not self.overwrite:
            _refuse_other_file(out, model)
        storage.write_file(out, model)
        inputs, outputs = map(_describe, (session.get_inputs(), session.get_outputs()))
        return Converted(out, inputs, outputs, time.monotonic() - started)


def _refuse_other_file(out: Path, model: bytes) -> None:
    """Refuse to replace a file with other contents. Raises OutputError."""
    if not os.path.lexists(out):
        return
    if storage.size_of(out) != len(model) or storage.read_bytes(out) != model:
        raise OutputError(
            "exists already", path=out, remedy="Choose another output, or use --overwrite."
        )


def _describe(tensors: Sequence[Any]) -> list[str]:
    """Describe tensors, such as `fc1 (n, 512)`; a free side of an output is `?`."""
    return [f"{each.name} ({', '.join(_describe_sides(each))})" for each in tensors]


def _describe_sides(tensor: Any) -> list[str]:
    own = f"{tensor.name}_"
    return ["?" if str(side).startswith(own) else str(side) for side in tensor.shape]
