"""Conversion of an MXNet checkpoint to ONNX, without MXNet.

The graph takes images (n, 3, height, width) float32 and has the outputs of the symbol, under
their MXNet names. Values agree with MXNet's to its own rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

from faceprep.core.errors import SourceError
from faceprep.models.mxnet.operation import Operation, Variable
from faceprep.models.mxnet.operators import OPERATORS
from faceprep.models.mxnet.params import Params
from faceprep.models.mxnet.symbol import VARIABLE, Link, Node, Symbol
from faceprep.models.onnx_graph import Graph, Value

VERSION = 1
"""Increase it when the same checkpoint gives other values."""
EMBEDDING = "fc1"
"""The node with the embedding, in every network of InsightFace."""
PIXELS_AS_THEY_ARE = {"mean": "0", "std": "1", "color": "rgb"}
"""The normalisation of InsightFace's networks, which scale inside of the graph."""
_IMAGES = ("n", 3, "height", "width")
_LABELLED = ("SoftmaxOutput", "Softmax")
"""Operators whose second input is a label, which only training has."""


def to_onnx(symbol: Symbol, params: Params, is_for_cpu: bool = False) -> bytes:
    """Convert a checkpoint to an ONNX file.

    A symbol with a node `fc1` gives that output alone, so that a training head needs no removal;
    the file then states that it takes RGB pixels.
    `is_for_cpu` writes what ONNX Runtime's CPU runs faster, with the same values but for rounding.
    Raises SourceError, which names an operator or attribute that cannot be converted.

    >>> sorted(OPERATORS)[:3]
    ['Activation', 'BatchNorm', 'BlockGrad']
    """
    embedding, graph = symbol.find(EMBEDDING), Graph("mxnet", is_for_cpu)
    if embedding is None:
        return _Conversion(symbol, params, symbol.heads).run(graph)
    graph.add_metadata(PIXELS_AS_THEY_ARE)
    return _Conversion(symbol, params, [embedding]).run(graph)


class _Conversion:
    """The course of one conversion: the values of each node so far."""

    def __init__(self, symbol: Symbol, params: Params, outputs: Sequence[Link]) -> None:
        self._symbol, self._params, self._outputs = symbol, params, outputs
        self._values: dict[int, list[Value | Variable]] = {}

    def run(self, graph: Graph) -> bytes:
        """Convert the nodes in the order of the data flow. Raises SourceError."""
        rows = self._needed_rows()
        name = self._find_input(rows)
        names = self._name_outputs()
        graph.reserve([name, *names])
        for row in rows:
            node = self._symbol.nodes[row]
            if node.operator != VARIABLE:
                self._values[row] = list(self._convert(node, graph))
            elif node.name == name:
                self._values[row] = [graph.add_input(name, _IMAGES)]
            else:
                self._values[row] = [Variable(node.name)]
        for output, link in zip(names, self._outputs, strict=True):
            graph.add_output(output, self._computed(link))
        return graph.to_bytes()

    def _needed_rows(self) -> list[int]:
        """Return the rows that the outputs depend on; first, refuse operators that are not known.

        Labels are left out.
        """
        nodes = [
            node._replace(inputs=node.inputs[:1]) if node.operator in _LABELLED else node
            for node in self._symbol.nodes
        ]
        self._symbol = Symbol(nodes, self._symbol.heads)
        rows = self._symbol.rows_before(self._outputs)
        kinds = {nodes[row].operator for row in rows} - {VARIABLE}
        if unknown := sorted(kinds - OPERATORS.keys()):
            named = [node.place for node in nodes if node.operator in unknown]
            raise SourceError(
                "the symbol has operators that cannot be converted",
                where=named[0],
                expected="operators of InsightFace's networks",
                found=", ".join(unknown),
            )
        return rows

    def _find_input(self, rows: Sequence[int]) -> str:
        """Return the name of the only variable without weights. Raises SourceError."""
        nodes = [self._symbol.nodes[row] for row in rows]
        names = [node.name for node in nodes if node.operator == VARIABLE]
        inputs = [name for name in names if name not in self._params]
        if len(inputs) != 1:
            raise SourceError(
                "not a checkpoint of a network with one input",
                expected="weights for every variable but the data",
                found=f"none for {', '.join(inputs[:5]) or 'no variable'}",
            )
        return inputs[0]

    def _name_outputs(self) -> list[str]:
        """Return the names of the outputs: that of the node, with a number if it has several."""
        names = [self._symbol.nodes[row].name for row, _ in self._outputs]
        return [
            name if names.count(name) == 1 else f"{name}_output{row}"
            for row, name in enumerate(names)
        ]

    def _convert(self, node: Node, graph: Graph) -> list[Value]:
        inputs = [self._linked(link) for link in node.inputs]
        graph.scope = node.name
        operator = OPERATORS[node.operator]
        operation = Operation(node, graph, self._params, inputs)
        values = operator.convert(operation)
        unread = set(operation.attributes.unread()) - {*operator.without_effect}
        if unread:
            names = ", ".join(sorted(unread))
            raise operation.error("attributes that cannot be converted", found=names)
        return values

    def _linked(self, link: Link) -> Value | Variable:
        row, number = link
        values = self._values[row]
        if number >= len(values):
            raise SourceError(
                "an output that cannot be converted",
                where=self._symbol.nodes[row].place,
                expected=f"output 0 to {len(values) - 1}",
                found=str(number),
            )
        return values[number]

    def _computed(self, link: Link) -> Value:
        value = self._linked(link)
        if isinstance(value, Value):
            return value
        raise SourceError("an output that is a weight", found=value.name)
