"""MXNet's arithmetic and softmax, as ONNX nodes."""

from __future__ import annotations

import numpy as np

from faceprep.models.mxnet.operation import Operation
from faceprep.models.onnx_graph import Value


def keep(op: Operation) -> list[Value]:
    """Return the input: the operator does nothing outside of training."""
    return [op.value()]


def dropout(op: Operation) -> list[Value]:
    """Return the input. Raises SourceError for a Dropout outside of training."""
    op.attributes.choice("mode", "training", ("training",))
    return [op.value()]


def unary(kind: str, op: Operation) -> list[Value]:
    """Convert a function of one input to the ONNX node `kind`."""
    x = op.value()
    return [op.graph.add(kind, [x], x.rank)]


def combine(kind: str, op: Operation) -> list[Value]:
    """Convert an operator on several tensors of one rank to the ONNX node `kind`."""
    op.attributes.integer("num_args", 2)
    values = op.values()
    if len({value.rank for value in values}) != 1:
        raise op.error("inputs of different dimensions")
    return [op.graph.add(kind, values, values[0].rank)]


def with_scalar(kind: str, is_reversed: bool, op: Operation) -> list[Value]:
    """Convert an operator on a tensor and a number; `is_reversed` puts the number first."""
    x, scalar = op.value(), op.graph.constant(op.attributes.number("scalar"))
    inputs = [scalar, x] if is_reversed else [x, scalar]
    return [op.graph.add(kind, inputs, x.rank)]


def clip(op: Operation) -> list[Value]:
    """Convert clip. Raises SourceError."""
    limits = [op.graph.constant(op.attributes.number(name)) for name in ("a_min", "a_max")]
    return [op.graph.add("Clip", [op.value(), *limits], op.value().rank)]


def hard_sigmoid(op: Operation) -> list[Value]:
    """Convert hard_sigmoid. Raises SourceError."""
    alpha, beta = op.attributes.number("alpha", 0.2), op.attributes.number("beta", 0.5)
    x = op.value()
    return [op.graph.add("HardSigmoid", [x], x.rank, alpha=alpha, beta=beta)]


def softmax(op: Operation) -> list[Value]:
    """Convert softmax without a temperature or a length. Raises SourceError."""
    if op.attributes.number("temperature", 1.0) != 1:
        raise op.attributes.error("temperature", "1", op.attributes.text("temperature"))
    if op.attributes.flag("use_length"):
        raise op.attributes.error("use_length", "False", "True")
    x, axis = op.value(), op.attributes.integer("axis", -1)
    return [op.graph.add("Softmax", [x], x.rank, axis=axis)]


def softmax_activation(op: Operation) -> list[Value]:
    """Convert SoftmaxActivation: over the channels, or over the last axis. Raises SourceError."""
    mode, x = op.attributes.choice("mode", "instance", ("instance", "channel")), op.value()
    axis = {"instance": x.rank - 1, "channel": 1}[mode]
    return [op.graph.add("Softmax", [x], x.rank, axis=axis)]


def softmax_output(op: Operation) -> list[Value]:
    """Convert SoftmaxOutput; the label is for training. Raises SourceError."""
    is_multi = op.attributes.flag("multi_output")
    keeps_shape = op.attributes.flag("preserve_shape")
    if is_multi:
        return [op.graph.add("Softmax", [op.value()], op.value().rank, axis=1)]
    x = op.value()
    if not keeps_shape:  # of other dimensions, MXNet's two ways to compute it differ
        x = op.expect_rank(2)
    return [op.graph.add("Softmax", [x], x.rank, axis=x.rank - 1)]


def l2_normalization(op: Operation) -> list[Value]:
    """Convert L2Normalization: x / sqrt(sum of squares + eps). Raises SourceError."""
    graph, x = op.graph, op.value()
    mode = op.attributes.choice("mode", "instance", ("instance", "channel", "spatial"))
    first, stop = {"instance": (1, x.rank), "channel": (1, 2), "spatial": (2, x.rank)}[mode]
    axes = graph.constant(range(first, stop), np.int64)
    squares = graph.add("ReduceSum", [graph.add("Mul", [x, x], x.rank), axes], x.rank, keepdims=1)
    epsilon = graph.constant(op.attributes.number("eps", 1e-10))
    lengths = graph.add("Sqrt", [graph.add("Add", [squares, epsilon], x.rank)], x.rank)
    return [graph.add("Div", [x, lengths], x.rank)]
