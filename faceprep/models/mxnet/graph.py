"""An ONNX graph that grows node by node, and what an MXNet operator sees of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import SourceError, loading
from faceprep.models.mxnet.attributes import Attributes
from faceprep.models.mxnet.params import Params
from faceprep.models.mxnet.symbol import Node

_OPSET, _IR_VERSION = 13, 8
_MAX_BYTES = (1 << 31) - (1 << 24)
"""Weights of an ONNX file, which protobuf limits to 2 GiB with its nodes."""
_CHANNELS = 3


class Value(NamedTuple):
    """A tensor of the graph and its number of dimensions."""

    name: str
    rank: int


class Variable(NamedTuple):
    """An input of a node that the checkpoint should have weights for."""

    name: str


class Graph:
    """A graph of float32 tensors. `scope` names the nodes that are added.

    `is_for_cpu` allows nodes that ONNX Runtime's CPU runs faster than the natural ones.
    """

    def __init__(self, is_for_cpu: bool = False) -> None:
        with loading("onnx", "pip install 'faceprep[embed]'"):
            import onnx
        self._onnx, self.scope, self.is_for_cpu = onnx, "", is_for_cpu
        self._model = onnx.ModelProto(ir_version=_IR_VERSION)
        self._model.opset_import.append(onnx.helper.make_opsetid("", _OPSET))
        self._model.producer_name = "faceprep"
        self._graph = self._model.graph
        self._graph.name = "mxnet"
        self._names: set[str] = set()
        self._constants: dict[str, Value] = {}
        self._renamed: dict[str, str] = {}
        self._n_bytes = 0

    def reserve(self, names: Sequence[str]) -> None:
        """Keep names for inputs and outputs."""
        self._names.update(names)

    def add(self, kind: str, inputs: Sequence[Value], rank: int, **attributes: Any) -> Value:
        """Add a node with one output of `rank` dimensions."""
        return self.add_many(kind, inputs, [rank], **attributes)[0]

    def add_many(
        self, kind: str, inputs: Sequence[Value], ranks: Sequence[int], **attributes: Any
    ) -> list[Value]:
        """Add a node with one output for each of `ranks`."""
        outputs = [Value(self._new_name(kind), rank) for rank in ranks]
        names = [value.name for value in inputs], [value.name for value in outputs]
        self._graph.node.append(
            self._onnx.helper.make_node(kind, *names, name=outputs[0].name, **attributes)
        )
        return outputs

    def weights(self, name: str, values: Floats) -> Value:
        """Add the weights `name`, once however often they are used."""
        if name not in self._constants:
            self._constants[name] = self._add_constant(name, values)
        return self._constants[name]

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> Value:
        """Add a constant."""
        return self._add_constant(f"{self.scope}/constant", np.asarray(values, dtype))

    def _add_constant(self, name: str, values: npt.NDArray[Any]) -> Value:
        self._n_bytes += values.nbytes
        if self._n_bytes > _MAX_BYTES:
            raise SourceError("too many weights for an ONNX file", expected=f"{_MAX_BYTES:,} bytes")
        name = self._free_name(name)
        tensor = self._graph.initializer.add(name=name, dims=values.shape)
        tensor.data_type = self._onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor.raw_data = values.tobytes()  # in place: a tensor made elsewhere would be copied
        return Value(name, values.ndim)

    def add_input(self, name: str) -> Value:
        """Add the input: images (n, 3, height, width)."""
        self._graph.input.append(self._describe(name, ["n", _CHANNELS, "height", "width"]))
        return Value(name, 4)

    def add_output(self, name: str, value: Value) -> None:
        """Make `value` an output of this name."""
        if not self._rename(value.name, name):
            source = self._renamed.get(value.name, value.name)
            node = self._onnx.helper.make_node("Identity", [source], [name], name=name)
            self._graph.node.append(node)
        sides = [f"{name}_{axis}" for axis in range(1, value.rank)]
        self._graph.output.append(self._describe(name, ["n", *sides]))

    def _rename(self, old: str, new: str) -> bool:
        """Rename the output of a node wherever it is used; return whether there is one."""
        nodes = self._graph.node
        if not any(old in node.output for node in nodes):
            return False
        for names in (names for node in nodes for names in (node.input, node.output)):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
        self._renamed[old] = new
        return True

    def add_metadata(self, texts: Mapping[str, str]) -> None:
        """State facts about the model in the file."""
        self._onnx.helper.set_model_props(self._model, dict(texts))

    def _describe(self, name: str, shape: list[Any]) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, shape)

    def to_bytes(self) -> bytes:
        """Return the graph as an ONNX file."""
        data: bytes = self._model.SerializeToString(deterministic=True)
        return data

    def _new_name(self, kind: str) -> str:
        return self._free_name(f"{self.scope}/{kind}")

    def _free_name(self, name: str) -> str:
        free, number = name, 1
        while free in self._names:
            number += 1
            free = f"{name}_{number}"
        self._names.add(free)
        return free


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
