"""A TFLite file as its operators, in their order, with weights and options.

Source: tensorflow/lite/schema/schema.fbs; the reader of that schema comes with ai-edge-litert.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.errors import SourceError, loading

_DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 4: "<i8", 6: "?"}
"""Types of numbers by their codes in the file; the others are quantised or are no numbers."""


class Tensor(NamedTuple):
    """A tensor: its name, its sides as they are in the file, and its type, None if unknown.

    `values` are those of a constant, else None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str | None
    values: npt.NDArray[Any] | None


class Operator(NamedTuple):
    """An operator: its kind, such as CONV_2D, its options, and the numbers of its tensors.

    An input is -1 where an optional one is left out.
    """

    kind: str
    options: Any
    inputs: Sequence[int]
    outputs: Sequence[int]


class TfliteGraph(NamedTuple):
    """The only graph of a file."""

    tensors: Sequence[Tensor]
    operators: Sequence[Operator]
    input: int
    outputs: Sequence[int]


def read_tflite(data: bytes) -> TfliteGraph:
    """Read a file. Raises MissingExtra, SourceError, and ValueError for other bytes."""
    problem = "converting a .tflite needs ai-edge-litert ({0})"
    with loading(problem, "pip install 'faceprep[tflite]'"):
        from ai_edge_litert import schema_py_generated as schema
    if data[4:8] != b"TFL3":
        raise ValueError("it does not begin as a TFLite file does")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    if len(model.subgraphs) != 1 or len(model.subgraphs[0].inputs) != 1:
        raise SourceError("a model that cannot be converted", expected="one graph with one input")
    graph = model.subgraphs[0]
    kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    codes = [max(each.builtinCode, each.deprecatedBuiltinCode) for each in model.operatorCodes]
    operators = [
        Operator(
            kinds.get(codes[each.opcodeIndex], "of an unknown kind"),
            each.builtinOptions,
            _numbers(each.inputs),
            _numbers(each.outputs),
        )
        for each in graph.operators
    ]
    tensors = [_read_tensor(each, model.buffers) for each in graph.tensors]
    return TfliteGraph(tensors, operators, int(graph.inputs[0]), _numbers(graph.outputs))


def _read_tensor(tensor: Any, buffers: Sequence[Any]) -> Tensor:
    shape, values = tuple(_numbers(tensor.shape)), None
    dtype, data = _DTYPES.get(tensor.type), buffers[tensor.buffer].data
    if dtype is not None and data is not None and len(data):
        values = np.frombuffer(bytes(data), dtype).reshape(shape)
    return Tensor(tensor.name.decode("utf-8", "replace"), shape, dtype, values)


def _numbers(values: Any) -> list[int]:
    return [] if values is None else [int(each) for each in values]
