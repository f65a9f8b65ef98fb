"""The TFLite operators that can be converted, with what each becomes in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from faceprep.core.arrays import Floats
from faceprep.models.onnx_graph import Value
from faceprep.models.tflite.operation import SAME, Operation

Convert = Callable[[Operation], Value]
_L2_EPSILON = 1e-6
_FAR = (1 << 31) - 1
_INT32, _INT64 = "<i4", "<i8"
_ONNX_TYPES = {"<f4": 1, _INT32: 6, _INT64: 7, "?": 9}
"""ONNX's codes of types."""


def _convolve(operation: Operation) -> Value:
    weights = operation.array(1)  # (out, height, width, in)
    n_groups = operation.tensor(0).shape[3] // weights.shape[3]
    return _add_convolution(operation, weights.transpose(0, 3, 1, 2), n_groups)


def _convolve_depthwise(operation: Operation) -> Value:
    weights = operation.array(1)  # (1, height, width, out)
    n_channels = operation.tensor(0).shape[3]
    return _add_convolution(operation, weights.transpose(3, 0, 1, 2), n_channels)


def _add_convolution(operation: Operation, weights: Floats, n_groups: int) -> Value:
    options = operation.options
    inputs = [operation.as_nchw(operation.value(0)), operation.graph.constant(weights)]
    strides = [options.strideH, options.strideW]
    dilations = [options.dilationHFactor, options.dilationWFactor]
    padding: dict[str, Any] = {"auto_pad": operation.padding()}
    if padding["auto_pad"] == SAME and max(dilations) > 1:  # ONNX Runtime forgets the dilation
        reach = [(side - 1) * step for side, step in zip(weights.shape[2:], dilations, strict=True)]
        padding = {"pads": _same_pads(operation.tensor(0).shape[1:3], reach, strides)}
    found = operation.add(
        "Conv",
        [*inputs, *operation.values(2)],
        strides=strides,
        dilations=dilations,
        group=n_groups,
        **padding,
    )
    return operation.activated(operation.as_nhwc(found))


def _same_pads(sides: Sequence[int], reach: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Return the pads of TensorFlow's padding `same`: top, left, bottom, right.

    `reach` is the distance from the first to the last weight of a side.
    """
    widths = [
        max((-(-side // stride) - 1) * stride + far + 1 - side, 0)
        for side, far, stride in zip(sides, reach, strides, strict=True)
    ]
    return [width // 2 for width in widths] + [width - width // 2 for width in widths]


def _connect_fully(operation: Operation) -> Value:
    operation.refuse("weightsFormat")
    x, weights = operation.value(0), operation.array(1)
    if not operation.options.keepNumDims:
        sides = operation.ints([-1, weights.shape[1]])
        x = operation.add("Reshape", [x, sides], 2)
    found = operation.add("MatMul", [x, operation.graph.constant(weights.T)])
    if operation.n_inputs > 2:  # noqa: PLR2004
        found = operation.add("Add", [found, operation.value(2)])
    return operation.activated(found)


def _pool(kind: str) -> Convert:
    def convert(operation: Operation) -> Value:
        options = operation.options
        found = operation.add(
            kind,
            [operation.as_nchw(operation.value(0))],
            auto_pad=operation.padding(),
            kernel_shape=[options.filterHeight, options.filterWidth],
            strides=[options.strideH, options.strideW],
        )
        return operation.activated(operation.as_nhwc(found))

    return convert


def _node(kind: str) -> Convert:
    """Return the conversion to one node with the same inputs."""
    return lambda operation: operation.activated(operation.add(kind, operation.values()))


def _clip(low: float, high: float) -> Convert:
    return lambda operation: operation.clipped(operation.value(0), low, high)


def _leak(operation: Operation) -> Value:
    return operation.add("LeakyRelu", operation.values(), alpha=float(operation.options.alpha))


def _swish(operation: Operation) -> Value:
    x = operation.value(0)
    shifted = operation.add("Add", [x, operation.graph.constant(3.0)])
    share = operation.add(
        "Div", [operation.clipped(shifted, 0.0, 6.0), operation.graph.constant(6.0)]
    )
    return operation.add("Mul", [x, share])


def _softmax(operation: Operation) -> Value:
    x = operation.value(0)
    if operation.options.beta != 1:
        x = operation.add("Mul", [x, operation.graph.constant(operation.options.beta)])
    return operation.add("Softmax", [x], axis=-1)


def _invert_root(operation: Operation) -> Value:
    root = operation.add("Sqrt", operation.values())
    return operation.add("Div", [operation.graph.constant(1.0), root])


def _square(operation: Operation) -> Value:
    return operation.add("Mul", [operation.value(0)] * 2)


def _square_difference(operation: Operation) -> Value:
    difference = operation.add("Sub", operation.values())
    return operation.add("Mul", [difference, difference])


def _scale_to_unit(operation: Operation) -> Value:
    x = operation.value(0)
    length = operation.add("ReduceL2", [x], axes=[-1], keepdims=1)
    limit = operation.graph.constant(_L2_EPSILON)
    return operation.activated(operation.add("Div", [x, operation.add("Max", [length, limit])]))


def _reduce(kind: str) -> Convert:
    def convert(operation: Operation) -> Value:
        x, keeps = operation.value(0), int(operation.options.keepDims)
        axes = operation.integers(1)
        if kind == "ReduceSum":
            return operation.add(kind, [x, operation.ints(axes)], keepdims=keeps)
        return operation.add(kind, [x], axes=axes, keepdims=keeps)

    return convert


def _reshape(operation: Operation) -> Value:
    if operation.n_inputs > 1 and operation.tensor(1).values is None:
        sides = operation.add("Cast", [operation.value(1)], 1, to=_ONNX_TYPES[_INT64])
        return operation.add("Reshape", [operation.value(0), sides])
    if operation.n_inputs > 1:
        numbers = operation.integers(1)
    else:
        numbers = [int(each) for each in operation.options.newShape]
    if numbers[:1] == [*operation.tensor(0).shape[:1]]:
        numbers[0] = 0  # as many as the input has
    return operation.add("Reshape", [operation.value(0), operation.ints(numbers)])


def _pad(operation: Operation) -> Value:
    widths = operation.array(1).astype(np.int64).T.ravel()
    return operation.add(
        "Pad", [operation.value(0), operation.ints(widths.tolist()), *operation.values(2)]
    )


def _transpose(operation: Operation) -> Value:
    return operation.add("Transpose", [operation.value(0)], perm=operation.integers(1))


def _concatenate(operation: Operation) -> Value:
    found = operation.add("Concat", operation.values(), axis=int(operation.options.axis))
    return operation.activated(found)


def _squeeze(operation: Operation) -> Value:
    axes = [int(axis) for axis in operation.options.squeezeDims]
    if not axes:
        raise operation.error("an option that cannot be converted", found="no axes")
    return operation.add("Squeeze", [operation.value(0), operation.ints(axes)])


def _expand(operation: Operation) -> Value:
    return operation.add("Unsqueeze", [operation.value(0), operation.ints(operation.integers(1))])


def _pack(operation: Operation) -> Value:
    axis = int(operation.options.axis)
    axes = operation.ints([axis])
    parts = [operation.add("Unsqueeze", [each, axes]) for each in operation.values()]
    return operation.add("Concat", parts, axis=axis)


def _measure_shape(operation: Operation) -> Value:
    sides = operation.add("Shape", operation.values())
    return operation.add("Cast", [sides], to=_ONNX_TYPES[_INT32])


def _cast(operation: Operation) -> Value:
    code = _ONNX_TYPES.get(operation.output.dtype or "")
    if code is None:
        raise operation.error("a type that cannot be converted", found=str(operation.output.dtype))
    return operation.add("Cast", operation.values(), to=code)


def _slice(operation: Operation) -> Value:
    options = operation.options
    operation.refuse("ellipsisMask", "newAxisMask")
    starts, stops, steps = (operation.integers(row) for row in (1, 2, 3))
    dropped = []
    for axis, step in enumerate(steps):
        if step <= 0:
            raise operation.error("an option that cannot be converted", found=f"step {step}")
        if options.shrinkAxisMask >> axis & 1:
            dropped.append(axis)
            stops[axis] = starts[axis] + 1 or _FAR
            continue
        if options.beginMask >> axis & 1:
            starts[axis] = 0
        if options.endMask >> axis & 1:
            stops[axis] = _FAR
    rank = len(operation.tensor(0).shape)
    axes = list(range(len(starts)))
    bounds = [operation.ints(each) for each in (starts, stops, axes, steps)]
    found = operation.add("Slice", [operation.value(0), *bounds], rank)
    if dropped:
        found = operation.add("Squeeze", [found, operation.ints(dropped)])
    return found


OPERATORS: Mapping[str, Convert] = {
    "CONV_2D": _convolve,
    "DEPTHWISE_CONV_2D": _convolve_depthwise,
    "FULLY_CONNECTED": _connect_fully,
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "ADD": _node("Add"),
    "SUB": _node("Sub"),
    "MUL": _node("Mul"),
    "DIV": _node("Div"),
    "POW": _node("Pow"),
    "MAXIMUM": _node("Max"),
    "MINIMUM": _node("Min"),
    "RELU": _node("Relu"),
    "RELU6": _clip(0.0, 6.0),
    "RELU_N1_TO_1": _clip(-1.0, 1.0),
    "LEAKY_RELU": _leak,
    "PRELU": _node("PRelu"),
    "ELU": _node("Elu"),
    "LOGISTIC": _node("Sigmoid"),
    "TANH": _node("Tanh"),
    "HARD_SWISH": _swish,
    "SOFTMAX": _softmax,
    "ABS": _node("Abs"),
    "NEG": _node("Neg"),
    "EXP": _node("Exp"),
    "LOG": _node("Log"),
    "SQRT": _node("Sqrt"),
    "RSQRT": _invert_root,
    "SQUARE": _square,
    "SQUARED_DIFFERENCE": _square_difference,
    "L2_NORMALIZATION": _scale_to_unit,
    "MEAN": _reduce("ReduceMean"),
    "SUM": _reduce("ReduceSum"),
    "REDUCE_MAX": _reduce("ReduceMax"),
    "RESHAPE": _reshape,
    "PAD": _pad,
    "PADV2": _pad,
    "TRANSPOSE": _transpose,
    "CONCATENATION": _concatenate,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand,
    "PACK": _pack,
    "SHAPE": _measure_shape,
    "CAST": _cast,
    "STRIDED_SLICE": _slice,
    "GREATER": _node("Greater"),
    "GREATER_EQUAL": _node("GreaterOrEqual"),
    "LESS": _node("Less"),
    "LESS_EQUAL": _node("LessOrEqual"),
    "EQUAL": _node("Equal"),
    "SELECT": _node("Where"),
    "SELECT_V2": _node("Where"),
}
