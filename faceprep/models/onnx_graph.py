"""An ONNX graph that grows node by node: what converters of models write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import SourceError, loading

OPSET, IR_VERSION = 13, 8
"""The operators and the format of all graphs that are built here."""
_MAX_BYTES = (1 << 31) - (1 << 24)
"""Weights of an ONNX file, which protobuf limits to 2 GiB with its nodes."""


class Value(NamedTuple):
    """A tensor of the graph and its number of dimensions."""

    name: str
    rank: int


class Graph:
    """A graph of tensors, called `name`. `scope` names the nodes that are added.

    `is_for_cpu` allows nodes that ONNX Runtime's CPU runs faster than the natural ones. `extra` is
    the extra of faceprep that has the package onnx for this use.
    """

    def __init__(self, name: str, is_for_cpu: bool = False, extra: str = "embed") -> None:
        with loading("onnx cannot be loaded ({0})", f"pip install 'faceprep[{extra}]'"):
            import onnx
        self._onnx, self.scope, self.is_for_cpu = onnx, "", is_for_cpu
        self._model = onnx.ModelProto(ir_version=IR_VERSION)
        self._model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
        self._model.producer_name = "faceprep"
        self._graph = self._model.graph
        self._graph.name = name
        self._names: set[str] = set()
        self._constants: dict[str, Value] = {}
        self._renamed: dict[str, str] = {}
        self._n_bytes = 0

    def reserve(self, names: Sequence[str]) -> None:
        """Keep names for inputs and outputs."""
        self._names.update(names)

    def add(
        self, kind: str, inputs: Sequence[Value], rank: int | None = None, **attributes: Any
    ) -> Value:
        """Add a node with one output of `rank` dimensions, by default those of the first input."""
        ranks = [inputs[0].rank if rank is None else rank]
        return self.add_many(kind, inputs, ranks, **attributes)[0]

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

    def add_input(
        self, name: str, sides: Sequence[int | str], dtype: npt.DTypeLike = np.float32
    ) -> Value:
        """Add the input; a side may be a number or a name for any number."""
        self._graph.input.append(self._describe(name, list(sides), dtype))
        return Value(name, len(sides))

    def add_output(self, name: str, value: Value, n: int | str = "n") -> None:
        """Make `value` an output of this name, of `n` rows."""
        if not self._rename(value.name, name):
            source = self._renamed.get(value.name, value.name)
            node = self._onnx.helper.make_node("Identity", [source], [name], name=name)
            self._graph.node.append(node)
        sides = [f"{name}_{axis}" for axis in range(1, value.rank)]
        self._graph.output.append(self._describe(name, [n, *sides]))

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

    def _describe(self, name: str, shape: list[Any], dtype: npt.DTypeLike = np.float32) -> Any:
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self._onnx.helper.make_tensor_value_info(name, kind, shape)

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
