"""dlib's network as an ONNX file: scales folded into the convolutions before them, uint8 RGB in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.errors import MissingExtra, SourceError
from faceprep.models.embedders import dlib_weights as dlib_file
from faceprep.models.embedders.dlib_weights import Layer

_OPSET, _IR_VERSION = 13, 8
_SHAPE = tuple[int, int, int]


class Graph:
    """Grows layer by layer; `shape` (channels, height, width) is that of the layer last added.

    Input `crops` (n, side, side, 3) uint8 RGB, output `vectors` (n, d) float32. What lies between
    two additions is a block, which adds what came in: reduced by a pool where there is one right
    before the addition, and the smaller of the two filled up with zeros, in channels, below and on
    the right.
    """

    def __init__(self, side: int, mean: npt.ArrayLike, scale: float) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra(
                "dlib-resnet needs the package onnx", remedy="pip install 'faceprep[embed]'"
            ) from error
        self._onnx, self._side = onnx, side
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._mean, self._scale = np.asarray(mean, np.float64), scale
        planes = self._node(
            "Transpose",
            [self._node("Cast", ["crops"], to=onnx.TensorProto.FLOAT)],
            perm=[0, 3, 1, 2],
        )
        self._value, self.shape = planes, (3, side, side)
        self._way_in: tuple[str, _SHAPE] = self._value, self.shape
        self._is_after_block = True

    def add(self, layer: Layer, following: list[Layer]) -> None:
        """One layer more; `following` are those after it. Raises SourceError."""
        kind = layer.kind
        if kind == dlib_file.CONVOLUTION:
            self._convolve(layer, following[0] if following else layer)
        elif kind == dlib_file.RELU:
            self._value = self._node("Relu", [self._value])
        elif kind == dlib_file.ADD:
            self._close_block()
        elif kind == dlib_file.PRODUCT:
            self._multiply(layer)
        elif kind == dlib_file.AVERAGE_POOL and following and following[0].kind == dlib_file.ADD:
            self._way_in = self._average(layer, *self._way_in)
        elif kind == dlib_file.AVERAGE_POOL:
            self._value, self.shape = self._whole_mean(layer)
        elif kind == dlib_file.MAX_POOL:
            self._max_pool(layer)
        if kind == dlib_file.MAX_POOL or (kind == dlib_file.RELU and self._is_after_block):
            self._way_in = self._value, self.shape
        self._is_after_block = kind == dlib_file.ADD

    def to_bytes(self) -> bytes:
        """The ONNX file."""
        helper, floats, bytes_ = (
            self._onnx.helper,
            self._onnx.TensorProto.FLOAT,
            self._onnx.TensorProto.UINT8,
        )
        self._nodes[-1].output[0] = "vectors"
        graph = helper.make_graph(
            self._nodes,
            "dlib",
            [helper.make_tensor_value_info("crops", bytes_, ["n", self._side, self._side, 3])],
            [helper.make_tensor_value_info("vectors", floats, ["n", self.shape[0]])],
            self._weights,
        )
        opset = [helper.make_opsetid("", _OPSET)]
        data: bytes = helper.make_model(
            graph, ir_version=_IR_VERSION, opset_imports=opset
        ).SerializeToString()
        return data

    # Layers

    def _convolve(self, layer: Layer, scale: Layer) -> None:
        n, height, width, *steps = layer.sizes
        channels = self.shape[0]
        n_weights = n * channels * height * width
        _expect(layer, n_weights + n)
        weights = layer.values[:n_weights].astype(np.float64).reshape(n, channels, height, width)
        biases = layer.values[n_weights:].astype(np.float64)
        if scale.kind == dlib_file.AFFINE:
            _expect(scale, 2 * n)
            scales, shifts = scale.values.astype(np.float64).reshape(2, n)
            weights, biases = weights * scales[:, None, None, None], biases * scales + shifts
        if self._value == self._nodes[1].output[0]:
            weights = weights / self._scale
            biases = biases - (weights * self._mean[:, None, None]).sum(axis=(1, 2, 3))
        self._value, self.shape = self._conv(self._value, self.shape, (weights, biases), steps)

    def _conv(
        self, value: str, shape: _SHAPE, numbers: tuple[Any, Any], steps: list[int]
    ) -> tuple[str, _SHAPE]:
        """`steps` are stride y, x, padding y, x."""
        weights, biases = numbers
        window = weights.shape[2:]
        inputs = [value, self._weight(weights), self._weight(biases)]
        made = self._node(
            "Conv", inputs, kernel_shape=window, strides=steps[:2], pads=steps[2:] * 2
        )
        return made, (len(weights), *_sides(shape, window, steps))

    def _max_pool(self, layer: Layer) -> None:
        window, steps = layer.sizes[:2], list(layer.sizes[2:])
        self._value = self._node(
            "MaxPool", [self._value], kernel_shape=window, strides=steps[:2], pads=steps[2:] * 2
        )
        self.shape = (self.shape[0], *_sides(self.shape, window, steps))

    def _average(self, layer: Layer, value: str, shape: _SHAPE) -> tuple[str, _SHAPE]:
        """As a convolution that gives as many channels as the block has, the others zero: half the
        time of a pool and a concatenation."""
        n, window = max(self.shape[0], shape[0]), layer.sizes[:2]
        weights = np.zeros((n, shape[0], *window))
        weights[range(shape[0]), range(shape[0])] = 1 / (window[0] * window[1])
        return self._conv(value, shape, (weights, np.zeros(n)), list(layer.sizes[2:]))

    def _close_block(self) -> None:
        other, other_shape = self._way_in
        size = [max(sides) for sides in zip(self.shape, other_shape, strict=True)]
        values = [
            self._filled(self._value, self.shape, size),
            self._filled(other, other_shape, size),
        ]
        self._value, self.shape = self._node("Add", values), (size[0], size[1], size[2])

    def _filled(self, value: str, shape: _SHAPE, size: list[int]) -> str:
        more = [side - own for side, own in zip(size, shape, strict=True)]
        return (
            self._node("Pad", [value, self._weight([0] * 5 + more, np.int64)])
            if any(more)
            else value
        )

    def _whole_mean(self, layer: Layer) -> tuple[str, _SHAPE]:
        if any(layer.sizes[:2]):
            raise SourceError(
                "a pool that is not known",
                expected="one of the whole image",
                found=str(layer.sizes),
            )
        return self._node("GlobalAveragePool", [self._value]), (self.shape[0], 1, 1)

    def _multiply(self, layer: Layer) -> None:
        """As a convolution, which treats each image alone: the sums of a product depend on the
        size of the batch.
        """
        n, n_inputs = layer.sizes
        _expect(layer, n * n_inputs)
        weights = layer.values.reshape(n_inputs, n).T[:, :, None, None]
        value, shape = self._conv(self._value, self.shape, (weights, np.zeros(n)), [1, 1, 0, 0])
        self._value, self.shape = self._node("Flatten", [value]), shape

    # Parts of the file

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"v{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _weight(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        name = f"w{len(self._weights)}"
        array = np.ascontiguousarray(np.asarray(values), dtype)
        self._weights.append(self._onnx.numpy_helper.from_array(array, name))
        return name


def _sides(shape: _SHAPE, window: Any, steps: list[int]) -> tuple[int, int]:
    height, width = (
        (side + 2 * padding - length) // stride + 1
        for side, length, stride, padding in zip(
            shape[1:], window, steps[:2], steps[2:], strict=True
        )
    )
    if min(height, width) < 1:
        raise SourceError(
            "a window larger than its image",
            expected=f"{shape[1:]} at most",
            found=f"{tuple(window)}",
        )
    return height, width


def _expect(layer: Layer, n: int) -> None:
    if layer.values.size != n:
        raise SourceError(
            f"a layer {layer.kind} of another size",
            expected=f"{n:,} numbers",
            found=f"{layer.values.size:,}",
        )


def build_graph(layers: list[Layer], side: int, mean: npt.ArrayLike, scale: float) -> bytes:
    """The ONNX file of a network of `layers` on crops of `side` × `side`, less `mean` (3,) RGB,
    divided by `scale`.
    """
    graph = Graph(side, mean, scale)
    for place, layer in enumerate(layers):
        graph.add(layer, layers[place + 1 :])
    return graph.to_bytes()
