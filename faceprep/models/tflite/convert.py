"""Conversion of a TFLite file to ONNX.

The ONNX file has the input and the outputs of the file, under their names and in their layout. It
takes any number of images, unless the file computes with the number itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from faceprep.core.errors import SourceError
from faceprep.models.files.preparation import KERAS_STD
from faceprep.models.onnx_graph import Graph, Value
from faceprep.models.tflite.file import Operator, TfliteGraph
from faceprep.models.tflite.operation import Operation
from faceprep.models.tflite.operators import OPERATORS

_PIXELS = {"mean": "127.5", "std": f"{KERAS_STD:g}"}
"""What such models take where their graphs do not scale."""
_DEQUANTIZE, _HALF = "DEQUANTIZE", "<f2"


def to_onnx(model: TfliteGraph, is_any_number: bool = True) -> bytes:
    """Convert a graph; with `is_any_number`, the file takes any number of images.

    Raises SourceError, which names what cannot be converted.

    >>> sorted(OPERATORS)[:3]
    ['ABS', 'ADD', 'AVERAGE_POOL_2D']
    """
    _refuse_unknown(model)
    graph = Graph("tflite")
    graph.add_metadata(_PIXELS)
    given = model.tensors[model.input]
    names = _distinct([model.tensors[number].name for number in model.outputs], given.name)
    graph.reserve([given.name, *names])
    n = "n" if is_any_number else given.shape[0]
    conversion = _Conversion(model, graph)
    conversion.values[model.input] = graph.add_input(given.name, [n, *given.shape[1:]])
    for operator in model.operators:
        conversion.convert(operator)
    for name, number in zip(names, model.outputs, strict=True):
        graph.add_output(name, conversion.value(number), n)
    return graph.to_bytes()


def _refuse_unknown(model: TfliteGraph) -> None:
    """Refuse numbers that are quantised, and operators that are not known."""
    used = {number for each in model.operators for number in (*each.inputs, *each.outputs)} - {-1}
    odd = [model.tensors[number].name for number in used if model.tensors[number].dtype is None]
    if odd:
        raise SourceError(
            "a quantised model cannot be converted exactly", expected="floats", found=min(odd)
        )
    known = OPERATORS.keys() | {_DEQUANTIZE}
    unknown = sorted({each.kind for each in model.operators} - known)
    if unknown:
        raise SourceError(
            "the model has operators that cannot be converted", found=", ".join(unknown)
        )


def _distinct(names: Sequence[str], taken: str) -> list[str]:
    """Return names of outputs that differ from one another and from that of the input."""
    found: list[str] = []
    for name in names:
        free, number = name, 1
        while free in (taken, *found):
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


class _Conversion:
    """The course of one conversion: the values of the tensors so far, by their numbers."""

    def __init__(self, model: TfliteGraph, graph: Graph) -> None:
        self._model, self._graph = model, graph
        self._tensors = list(model.tensors)
        self.values: dict[int, Value] = {}

    def convert(self, operator: Operator) -> None:
        """Add one operator. Raises SourceError."""
        output = operator.outputs[0]
        if operator.kind == _DEQUANTIZE:
            self._widen(operator.inputs[0], output)
            return
        if len(operator.outputs) > 1:
            raise SourceError("several outputs", where=f"operator {operator.kind}")
        self._graph.scope = self._tensors[output].name
        operation = Operation(operator, self._graph, self._tensors, self.value)
        self.values[output] = OPERATORS[operator.kind](operation)

    def value(self, number: int) -> Value:
        """Return a tensor; a constant is added when it is first used. Raises SourceError."""
        if number not in self.values:
            tensor = self._tensors[number]
            if tensor.values is None:
                raise SourceError("a tensor that nothing computes", found=tensor.name)
            self.values[number] = self._graph.constant(tensor.values, tensor.values.dtype)
        return self.values[number]

    def _widen(self, number: int, output: int) -> None:
        """Read weights of 16 bits as float32. Raises SourceError for other numbers."""
        tensor = self._tensors[number]
        if tensor.values is None or tensor.dtype != _HALF:
            raise SourceError("computed numbers of 16 bits cannot be converted", found=tensor.name)
        values = tensor.values.astype("<f4")
        self._tensors[output] = self._tensors[output]._replace(values=values)
