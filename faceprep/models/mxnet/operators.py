"""Table of the operators of MXNet that can be converted.

A new one is a function and one line here, and one line in the tests against real MXNet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from faceprep.models.mxnet import arithmetic, layers, shapes
from faceprep.models.mxnet.operation import Operation
from faceprep.models.onnx_graph import Value


class Operator(NamedTuple):
    """The function that converts an operator.

    `without_effect` are attributes that change no output outside of training.
    """

    convert: Callable[[Operation], list[Value]]
    without_effect: tuple[str, ...] = ()


_SPEED = ("workspace", "cudnn_tune", "cudnn_off")
_TRAINING = ("grad_scale", "ignore_label", "use_ignore", "normalization", "out_grad")
_SOFTMAX_OUTPUT = Operator(arithmetic.softmax_output, (*_TRAINING, "smooth_alpha"))
_SLICE_CHANNEL = Operator(shapes.slice_channel)
_CONCAT = Operator(shapes.concat)
_FLATTEN = Operator(shapes.flatten)
_SUM = Operator(partial(arithmetic.combine, "Sum"))
_KEEP = Operator(arithmetic.keep)
_BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}
_SYMBOLS = {"plus": "Add", "minus": "Sub", "mul": "Mul", "div": "Div"}
_UNARY = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softsign": "Softsign",
    "exp": "Exp",
    "sqrt": "Sqrt",
    "abs": "Abs",
    "negative": "Neg",
}
_EXTREMES = {"maximum": "Max", "minimum": "Min"}


def _combination(kind: str) -> Operator:
    return Operator(partial(arithmetic.combine, kind))


def _scalar(kind: str, is_reversed: bool = False) -> Operator:
    return Operator(partial(arithmetic.with_scalar, kind, is_reversed), ("is_int",))


OPERATORS: dict[str, Operator] = {
    "Convolution": Operator(layers.convolution, _SPEED),
    "Deconvolution": Operator(layers.deconvolution, _SPEED),
    "FullyConnected": Operator(layers.fully_connected),
    "BatchNorm": Operator(
        layers.batch_norm,
        ("momentum", "use_global_stats", "cudnn_off", "min_calib_range", "max_calib_range"),
    ),
    "Activation": Operator(layers.activation),
    "LeakyReLU": Operator(layers.leaky_relu),
    "Pooling": Operator(layers.pooling, ("cudnn_off", "p_value")),
    "Reshape": Operator(shapes.reshape),
    "reshape": Operator(shapes.reshape),
    "Flatten": _FLATTEN,
    "flatten": _FLATTEN,
    "Concat": _CONCAT,
    "concat": _CONCAT,
    "Crop": Operator(shapes.crop),
    "SliceChannel": _SLICE_CHANNEL,
    "split": _SLICE_CHANNEL,
    "UpSampling": Operator(shapes.up_sampling, ("workspace", "num_filter", "multi_input_mode")),
    "transpose": Operator(shapes.transpose),
    "Dropout": Operator(arithmetic.dropout, ("p", "axes", "cudnn_off")),
    "_copy": _KEEP,
    "identity": _KEEP,
    "BlockGrad": _KEEP,
    "clip": Operator(arithmetic.clip),
    "hard_sigmoid": Operator(arithmetic.hard_sigmoid),
    "softmax": Operator(arithmetic.softmax, ("dtype",)),
    "SoftmaxActivation": Operator(arithmetic.softmax_activation),
    "SoftmaxOutput": _SOFTMAX_OUTPUT,
    "Softmax": _SOFTMAX_OUTPUT,
    "L2Normalization": Operator(arithmetic.l2_normalization),
    "add_n": _SUM,
    "ElementWiseSum": _SUM,
    "_rminus_scalar": _scalar("Sub", is_reversed=True),
    "_RMinusScalar": _scalar("Sub", is_reversed=True),
    "_rdiv_scalar": _scalar("Div", is_reversed=True),
    "_RDivScalar": _scalar("Div", is_reversed=True),
    "_power_scalar": _scalar("Pow"),
    **{f"elemwise_{name}": _combination(kind) for name, kind in _BINARY.items()},
    **{f"broadcast_{name}": _combination(kind) for name, kind in (_BINARY | _EXTREMES).items()},
    **{f"_{name.title()}": _combination(kind) for name, kind in _SYMBOLS.items()},
    **{f"_{name}_scalar": _scalar(kind) for name, kind in (_SYMBOLS | _EXTREMES).items()},
    **{f"_{name.title()}Scalar": _scalar(kind) for name, kind in _SYMBOLS.items()},
    **{name: Operator(partial(arithmetic.unary, kind)) for name, kind in _UNARY.items()},
}
