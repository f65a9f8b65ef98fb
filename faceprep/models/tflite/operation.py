"""What a TFLite operator sees of the ONNX graph that it is added to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.errors import SourceError
from faceprep.models.onnx_graph import Graph, Value
from faceprep.models.tflite.file import Operator, Tensor

_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
_NONE, _RELU, _RELU_N1_TO_1, _RELU6, _TANH = range(5)
_CLIPPED = {_RELU_N1_TO_1: (-1.0, 1.0), _RELU6: (0.0, 6.0)}
SAME = "SAME_UPPER"
_PADDINGS = {0: SAME, 1: "VALID"}


class Operation:
    """An operator while it is converted: its options, inputs and constants."""

    def __init__(
        self,
        operator: Operator,
        graph: Graph,
        tensors: Sequence[Tensor],
        find_value: Callable[[int], Value],
    ) -> None:
        self.graph, self.kind, self.options = graph, operator.kind, operator.options
        self._numbers = [number for number in operator.inputs if number >= 0]
        self._tensors = [tensors[number] for number in self._numbers]
        self._find_value = find_value
        self.n_inputs = len(self._numbers)
        self.output = tensors[operator.outputs[0]]
        self.rank = len(self.output.shape)

    def value(self, row: int) -> Value:
        """Return input `row` in the ONNX graph. Raises SourceError."""
        self.tensor(row)
        return self._find_value(self._numbers[row])

    def values(self, start: int = 0) -> list[Value]:
        """Return the inputs except for the first `start`. Raises SourceError."""
        return [self.value(row) for row in range(start, self.n_inputs)]

    def add(self, kind: str, inputs: Sequence[Value], rank: int = -1, **attributes: Any) -> Value:
        """Add a node with an output of `rank` dimensions, by default those of the operator."""
        return self.graph.add(kind, inputs, self.rank if rank < 0 else rank, **attributes)

    def tensor(self, row: int) -> Tensor:
        """Return input `row` as the file has it. Raises SourceError."""
        if row >= len(self._tensors):
            raise self.error("too few inputs", expected=f"{row + 1}", found=str(len(self._tensors)))
        return self._tensors[row]

    def array(self, row: int) -> npt.NDArray[Any]:
        """Return the constant that input `row` stands for. Raises SourceError."""
        values = self.tensor(row).values
        if values is None:
            raise self.error("a computed input", expected="a constant")
        return values

    def integers(self, row: int) -> list[int]:
        """Return the whole numbers that input `row` stands for. Raises SourceError."""
        return [int(each) for each in self.array(row).ravel()]

    def ints(self, values: Sequence[int]) -> Value:
        """Add a constant of whole numbers."""
        return self.graph.constant(values, np.int64)

    def padding(self) -> str:
        """Return the padding of a convolution or a pool, as ONNX calls it. Raises SourceError."""
        return self.choice("padding", _PADDINGS)

    def choice(self, name: str, known: dict[int, str]) -> str:
        """Return what an option means. Raises SourceError for a value that is not known."""
        value = int(getattr(self.options, name))
        if value not in known:
            raise self.error("an option that cannot be converted", found=f"{name} {value}")
        return known[value]

    def refuse(self, *names: str) -> None:
        """Refuse options of which only the value 0 is converted. Raises SourceError."""
        for name in names:
            if getattr(self.options, name):
                raise self.error("an option that cannot be converted", found=name)

    def as_nchw(self, value: Value) -> Value:
        """Add a change of layout for a convolution or a pool."""
        return self.add("Transpose", [value], perm=_TO_NCHW)

    def as_nhwc(self, value: Value) -> Value:
        """Add the change back."""
        return self.add("Transpose", [value], perm=_TO_NHWC)

    def activated(self, value: Value) -> Value:
        """Add the activation that the operator ends with. Raises SourceError."""
        number = int(getattr(self.options, "fusedActivationFunction", _NONE))
        if number == _NONE:
            return value
        if number == _RELU:
            return self.add("Relu", [value])
        if number == _TANH:
            return self.add("Tanh", [value])
        if number not in _CLIPPED:
            raise self.error("an activation that cannot be converted", found=str(number))
        return self.clipped(value, *_CLIPPED[number])

    def clipped(self, value: Value, low: float, high: float) -> Value:
        """Add limits."""
        limits = [self.graph.constant(limit) for limit in (low, high)]
        return self.add("Clip", [value, *limits])

    def error(self, problem: str, **facts: str) -> SourceError:
        """Return the error for this operator."""
        return SourceError(problem, where=f"operator {self.kind}", **facts)
