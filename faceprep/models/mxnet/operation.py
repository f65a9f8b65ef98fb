"""What an MXNet operator sees of the ONNX graph that it is added to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Floats
from faceprep.core.errors import SourceError
from faceprep.models.mxnet.attributes import Attributes
from faceprep.models.mxnet.params import Params
from faceprep.models.mxnet.symbol import Node
from faceprep.models.onnx_graph import Graph, Value


class Variable(NamedTuple):
    """An input of a node that the checkpoint should have weights for."""

    name: str


class Operation:
    """A node of the symbol while it is converted: its attributes, inputs and weights."""

    def __init__(
        self, node: Node, graph: Graph, params: Params, inputs: Sequence[Value | Variable]
    ) -> None:
        self.graph, self.name, self.operator = graph, node.name, node.operator
        self.attributes = Attributes(node.attributes, node.place)
        self.n_inputs = len(inputs)
        self._place, self._params, self._inputs = node.place, params, inputs

    def value(self, row: int = 0) -> Value:
        """Return input `row` as a tensor. Raises SourceError."""
        value = self._input(row)
        if isinstance(value, Value):
            return value
        return self.graph.weights(value.name, self.weights(row))

    def values(self) -> list[Value]:
        """Return all inputs as tensors. Raises SourceError."""
        return [self.value(row) for row in range(self.n_inputs)]

    def weights(self, row: int) -> Floats:
        """Read the weights that input `row` stands for, as float32. Raises SourceError."""
        value = self._input(row)
        if isinstance(value, Value):
            raise self.error("computed weights", expected="weights of the checkpoint")
        return self.read(value.name)

    def constant(self, row: int, *shape: int | None) -> Value:
        """Add the weights that input `row` stands for, which have `shape`; None is any side.

        Raises SourceError.
        """
        value, values = self._input(row), self.weights(row)
        self.expect_shape(values, shape)
        return self.graph.weights(value.name, values)

    def read(self, name: str) -> Floats:
        """Read the weights `name` as float32. Raises SourceError."""
        if name not in self._params:
            raise self.error(f"no weights {name!r} in the checkpoint")
        values = self._params.read(name)
        if values.dtype.kind != "f":
            raise self.error("unknown weights", expected="floats", found=str(values.dtype))
        if not values.size:
            raise self.error(f"the weights {name!r} are empty")
        return values.astype(np.float32, copy=False)

    def expect_shape(self, values: Floats, shape: Sequence[int | None]) -> None:
        """Compare the shape of weights; None is any side. Raises SourceError."""
        sides = [side if wanted is None else wanted for side, wanted in zip(values.shape, shape)]  # noqa: B905
        if values.shape != tuple(sides) or len(values.shape) != len(shape):
            expected = " × ".join("n" if side is None else str(side) for side in shape)
            found = " × ".join(map(str, values.shape))
            raise self.error("weights of another shape", expected=expected, found=found)

    def expect_rank(self, *ranks: int) -> Value:
        """Return the first input, which has one of these numbers of dimensions."""
        value = self.value()
        if value.rank not in ranks:
            expected = " or ".join(map(str, ranks)) + " dimensions"
            raise self.error("cannot convert the input", expected=expected, found=str(value.rank))
        return value

    def error(self, problem: str, **facts: str) -> SourceError:
        """Return the error for this node."""
        return SourceError(problem, where=self._place, **facts)

    def _input(self, row: int) -> Value | Variable:
        if row >= self.n_inputs:
            raise self.error("too few inputs", expected=f"{row + 1}", found=str(self.n_inputs))
        return self._inputs[row]
