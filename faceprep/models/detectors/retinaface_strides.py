"""RetinaFace's graph without the heads of some strides, for faces whose size is known.

An anchor answers for faces of about its own size. A square in which the face has 100 pixels needs
only the stride whose anchors have 64 and 128. The heads of stride 8 take almost half of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faceprep.core.errors import loading

_VERSION = 1
"""Increase it when the same weights give another graph."""
STRIDES = (8, 16, 32)
"""The strides of the whole graph, in the order of its outputs."""


def name_graph(fingerprint: str, strides: Sequence[int]) -> str:
    """Name the graph of some strides in the cache; `fingerprint` is that of the whole one."""
    kept = "-".join(map(str, strides))
    return f"retinaface-{fingerprint}-strides{kept}-v{_VERSION}.onnx"


def keep_strides(model: bytes, strides: Sequence[int]) -> bytes:
    """Return the ONNX file `model` with the answers of `strides` alone, in their order.

    Each output joins the answers of all strides. Nodes and weights of the others are dropped.
    """
    with loading("onnx cannot be loaded ({0})", "pip install 'faceprep[detect]'"):
        import onnx
    loaded = onnx.load_from_string(model)
    graph = loaded.graph
    makers = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        node = makers[output.name]
        while node.op_type != "Concat":  # a softmax may follow
            node = makers[node.input[0]]
        parts = [node.input[STRIDES.index(stride)] for stride in strides]
        node.ClearField("input")
        node.input.extend(parts)
    _drop_unused(graph, makers)
    data: bytes = loaded.SerializeToString()
    return data


def _drop_unused(graph: Any, makers: dict[str, Any]) -> None:
    """Drop the nodes and weights that no output needs; `makers` are the nodes by output."""
    needed, waiting = set[str](), [output.name for output in graph.output]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += makers[name].input if name in makers else ()
    nodes = [node for node in graph.node if needed.intersection(node.output)]
    weights = [each for each in graph.initializer if each.name in needed]
    for field, kept in (("node", nodes), ("initializer", weights)):
        graph.ClearField(field)
        getattr(graph, field).extend(kept)
