"""MXNet's layers with weights or windows, as ONNX nodes.

Every function adds the nodes for one operation and returns its outputs.
"""

from __future__ import annotations

import numpy as np

from faceprep.models.mxnet.operation import Operation
from faceprep.models.onnx_graph import Value

_LAYOUTS = ("", "NCHW", "NCW", "NCDHW")
_ACTIVATIONS = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softrelu": "Softplus",
    "softsign": "Softsign",
}
_MAX_SIDE = 1 << 12
"""Sides of windows, strides and padding; more of them would overflow in ONNX Runtime."""
_LOWEST = float(np.finfo(np.float32).min)


def convolution(op: Operation) -> list[Value]:
    """Convert Convolution. Raises SourceError."""
    attributes = op.attributes
    kernel, n = attributes.integers("kernel"), attributes.integer("num_filter")
    inputs = [_spatial_input(op, kernel), op.constant(1, n, None, *kernel)]
    if not attributes.flag("no_bias"):
        inputs.append(op.constant(2, n))
    attributes.choice("layout", "", _LAYOUTS)
    return [op.graph.add("Conv", inputs, inputs[0].rank, **_windows(op, kernel))]


def deconvolution(op: Operation) -> list[Value]:
    """Convert Deconvolution. Raises SourceError."""
    attributes = op.attributes
    kernel, n = attributes.integers("kernel"), attributes.integer("num_filter")
    inputs = [_spatial_input(op, kernel), op.constant(1, None, n // _groups(op, n), *kernel)]
    if not attributes.flag("no_bias", True):
        inputs.append(op.constant(2, n))
    attributes.choice("layout", "", _LAYOUTS)
    if any(attributes.integers("target_shape")):
        raise attributes.error("target_shape", "none", attributes.text("target_shape"))
    added = attributes.integers("adj", (0,) * len(kernel))
    windows = _windows(op, kernel)
    return [op.graph.add("ConvTranspose", inputs, inputs[0].rank, output_padding=added, **windows)]


def _spatial_input(op: Operation, kernel: tuple[int, ...]) -> Value:
    """Return the input, which has a batch, channels, and one side for each side of the kernel."""
    if not kernel or min(kernel) < 1 or max(kernel) > _MAX_SIDE:
        raise op.attributes.error("kernel", f"sides of 1 to {_MAX_SIDE:,}", str(kernel))
    return op.expect_rank(len(kernel) + 2)


def _windows(op: Operation, kernel: tuple[int, ...]) -> dict[str, object]:
    """Return kernel, stride, dilation, padding and groups in ONNX's attributes."""
    pads = _sides(op, "pad", kernel, 0)
    return {
        "kernel_shape": kernel,
        "strides": _sides(op, "stride", kernel, 1),
        "dilations": _sides(op, "dilate", kernel, 1),
        "pads": pads + pads,
        "group": _groups(op, op.attributes.integer("num_filter")),
    }


def _groups(op: Operation, n_filters: int) -> int:
    """Return the number of groups, which divides that of the filters. Raises SourceError."""
    n = op.attributes.integer("num_group", 1)
    if n < 1 or n_filters < 1 or n_filters % n:
        raise op.attributes.error("num_group", f"a divisor of {n_filters}", str(n))
    return n


def _sides(op: Operation, name: str, kernel: tuple[int, ...], least: int) -> tuple[int, ...]:
    """Return one number of at least `least` for each side of the kernel. Raises SourceError."""
    numbers = op.attributes.integers(name, (least,) * len(kernel))
    if len(numbers) != len(kernel) or min(numbers) < least or max(numbers) > _MAX_SIDE:
        expected = f"{len(kernel)} of {least} to {_MAX_SIDE:,}"
        raise op.attributes.error(name, expected, str(numbers))
    return numbers


def fully_connected(op: Operation) -> list[Value]:
    """Convert FullyConnected. Raises SourceError."""
    n = op.attributes.integer("num_hidden")
    has_bias = not op.attributes.flag("no_bias")
    x = op.value()
    if not op.attributes.flag("flatten", True) and x.rank != 2:
        raise op.attributes.error("flatten", "True", "False")
    if x.rank != 2:
        x = op.graph.add("Flatten", [x], 2, axis=1)
    inputs = [x, op.constant(1, n, None)]
    if has_bias:
        inputs.append(op.constant(2, n))
    return [op.graph.add("Gemm", inputs, 2, transB=1)]


def batch_norm(op: Operation) -> list[Value]:
    """Convert BatchNorm, which uses the running means.

    Old symbols do not name those among the inputs. Raises SourceError.
    """
    attributes, x = op.attributes, op.value()
    if attributes.integer("axis", 1) != 1:
        raise attributes.error("axis", "1", attributes.text("axis"))
    if attributes.flag("output_mean_var"):
        raise attributes.error("output_mean_var", "False", "True")
    n = len(op.weights(2))
    if attributes.flag("fix_gamma", True):
        scale = op.graph.constant(np.ones(n))
    else:
        scale = op.constant(1, n)
    running = [_running(op, 3, "moving_mean", n), _running(op, 4, "moving_var", n)]
    inputs = [x, scale, op.constant(2, n), *running]
    epsilon = attributes.number("eps", 1e-3)
    return [op.graph.add("BatchNormalization", inputs, x.rank, epsilon=epsilon)]


def _running(op: Operation, row: int, name: str, n: int) -> Value:
    if op.n_inputs > row:
        return op.constant(row, n)
    own_name = f"{op.name}_{name}"
    values = op.read(own_name)
    op.expect_shape(values, [n])
    return op.graph.weights(own_name, values)


def activation(op: Operation) -> list[Value]:
    """Convert Activation. Raises SourceError."""
    x, kind = op.value(), op.attributes.choice("act_type", "", tuple(_ACTIVATIONS))
    return [op.graph.add(_ACTIVATIONS[kind], [x], x.rank)]


def leaky_relu(op: Operation) -> list[Value]:
    """Convert LeakyReLU of all kinds but gelu. Raises SourceError."""
    attributes, x = op.attributes, op.value()
    kind = attributes.choice("act_type", "leaky", ("leaky", "prelu", "elu", "selu", "rrelu"))
    slope = attributes.number("slope", 0.25)
    lower, upper = attributes.number("lower_bound", 0.125), attributes.number("upper_bound", 0.334)
    if kind == "prelu":
        return [_prelu(op, x)]
    if kind == "selu":
        return [op.graph.add("Selu", [x], x.rank)]
    if kind == "elu":
        return [op.graph.add("Elu", [x], x.rank, alpha=slope)]
    if kind == "rrelu":
        slope = (lower + upper) / 2
    return [op.graph.add("LeakyRelu", [x], x.rank, alpha=slope)]


def _prelu(op: Operation, x: Value) -> Value:
    """Add max(x, 0) + slope min(x, 0), with one slope for each channel or one for all.

    A graph for the CPU gets slope x + (1 - slope) max(x, 0) as convolutions of single channels:
    ONNX Runtime leaves its fast channel layout for PRelu, which then takes most of the time.
    """
    slopes, add, rank = op.weights(1), op.graph.add, x.rank
    op.expect_shape(slopes, [None])
    if not op.graph.is_for_cpu or rank != 4 or len(slopes) == 1:
        slope = op.graph.constant(slopes.reshape(-1, *[1] * (rank - 2)))
        return add("PRelu", [x, slope], rank)
    of_all, of_positive = (
        op.graph.constant(each.reshape(-1, 1, 1, 1)) for each in (slopes, 1 - slopes)
    )
    parts = [
        add("Conv", [x, of_all], rank, group=len(slopes)),
        add("Conv", [add("Relu", [x], rank), of_positive], rank, group=len(slopes)),
    ]
    return add("Add", parts, rank)


def pooling(op: Operation) -> list[Value]:
    """Convert Pooling of maxima and means. Raises SourceError."""
    attributes, x = op.attributes, op.value()
    kind = attributes.choice("pool_type", "max", ("max", "avg"))
    kernel = attributes.integers("kernel")
    attributes.choice("layout", "", _LAYOUTS)
    convention = attributes.choice("pooling_convention", "valid", ("valid", "full"))
    counts_padding = attributes.flag("count_include_pad", True)
    if attributes.flag("global_pool"):
        attributes.integers("stride"), attributes.integers("pad")
        return [
            op.graph.add({"max": "GlobalMaxPool", "avg": "GlobalAveragePool"}[kind], [x], x.rank)
        ]
    _spatial_input(op, kernel)
    strides, pads = _sides(op, "stride", kernel, 1), _sides(op, "pad", kernel, 0)
    ends = (0,) * len(kernel)
    if convention == "full":  # the last window may reach over the edge by a stride less one
        ends = tuple(stride - 1 for stride in strides)
    windows = {"kernel_shape": kernel, "strides": strides}
    if kind == "max":
        return [_max_pool(op, x, windows, (pads, ends))]
    return [_average_pool(op, x, windows, (pads, ends), counts_padding)]


Edges = tuple[tuple[int, ...], tuple[int, ...]]
"""Padding on both sides, and what a window may reach over the end."""


def _max_pool(op: Operation, x: Value, windows: dict[str, tuple[int, ...]], edges: Edges) -> Value:
    pads, ends = edges
    last = tuple(map(sum, zip(pads, ends, strict=True)))
    sides = zip(last, windows["kernel_shape"], strict=True)
    if any(pad >= side for pad, side in sides):  # ONNX Runtime itself pads by less
        x = _pad(op, x, pads, last, _LOWEST)
        pads = last = (0,) * len(pads)
    return op.graph.add("MaxPool", [x], x.rank, pads=pads + last, **windows)


def _average_pool(
    op: Operation, x: Value, windows: dict[str, tuple[int, ...]], edges: Edges, counts_padding: bool
) -> Value:
    """Add means that count the padding, if they should, but not what lies beyond it."""
    pads, ends = edges
    if counts_padding:
        if any(pads):
            x = _pad(op, x, pads, pads, 0)
        pads = (0,) * len(pads)
    last = tuple(map(sum, zip(pads, ends, strict=True)))
    kernel = windows["kernel_shape"]
    if any(pad >= side for pad, side in zip(last, kernel, strict=True)):
        raise op.error(
            "cannot convert the windows", expected=f"padding below {kernel}", found=str(last)
        )
    return op.graph.add("AveragePool", [x], x.rank, pads=pads + last, **windows)


def _pad(
    op: Operation, x: Value, first: tuple[int, ...], last: tuple[int, ...], value: float
) -> Value:
    amounts = op.graph.constant([0, 0, *first, 0, 0, *last], np.int64)
    return op.graph.add("Pad", [x, amounts, op.graph.constant(value)], x.rank)
