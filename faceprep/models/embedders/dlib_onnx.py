"""dlib's network as an ONNX file that takes uint8 RGB.

Scales are folded into the convolutions before them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.errors import SourceError
from faceprep.models.embedders.dlib_weights import (
    ADD,
    AFFINE,
    AVERAGE_POOL,
    CONVOLUTION,
    MAX_POOL,
    PRODUCT,
    RELU,
    Layer,
)
from faceprep.models.onnx_graph import Graph, Value

_SHAPE = tuple[int, int, int]
_FLOAT = 1
"""The number of float32 in ONNX."""


class _Network:
    """A network that grows layer by layer.

    Its input is `crops` (n, side, side, 3) uint8 RGB, its output `vectors` (n, d) float32. `shape`
    (channels, height, width) is that of the last layer.

    The layers between two additions form a block, and the second addition adds the block's input
    to its output. An average pool right before the addition reduces the input. The smaller of the
    two is padded with zeros: in channels, at the bottom and on the right.
    """

    def __init__(self, side: int, mean: npt.ArrayLike, scale: float) -> None:
        self._graph = graph = Graph("dlib")
        self._mean, self._scale = np.asarray(mean, np.float64), scale
        crops = graph.add_input("crops", ["n", side, side, 3], np.uint8)
        floats = graph.add("Cast", [crops], to=_FLOAT)
        self._pixels = graph.add("Transpose", [floats], perm=[0, 3, 1, 2])
        self._value, self.shape = self._pixels, (3, side, side)
        self._block_input: tuple[Value, _SHAPE] = self._value, self.shape
        self._is_after_block = True

    def add(self, layer: Layer, following: list[Layer]) -> None:
        """Add a layer; `following` are the layers after it. Raises SourceError."""
        kind = layer.kind
        if kind == CONVOLUTION:
            self._convolve(layer, following[0] if following else layer)
        elif kind == RELU:
            self._value = self._graph.add("Relu", [self._value])
        elif kind == ADD:
            self._close_block()
        elif kind == PRODUCT:
            self._multiply(layer)
        elif kind == AVERAGE_POOL and following and following[0].kind == ADD:
            self._block_input = self._average(layer, *self._block_input)
        elif kind == AVERAGE_POOL:
            self._value, self.shape = self._mean_of_image(layer)
        elif kind == MAX_POOL:
            self._max_pool(layer)
        if kind == MAX_POOL or (kind == RELU and self._is_after_block):
            self._block_input = self._value, self.shape
        self._is_after_block = kind == ADD

    def to_bytes(self) -> bytes:
        """Return the graph as an ONNX file."""
        self._graph.add_output("vectors", self._value)
        return self._graph.to_bytes()

    # Layers

    def _convolve(self, layer: Layer, scale: Layer) -> None:
        n, height, width, *steps = layer.sizes
        channels = self.shape[0]
        n_weights = n * channels * height * width
        _expect(layer, n_weights + n)
        weights = layer.values[:n_weights].astype(np.float64).reshape(n, channels, height, width)
        biases = layer.values[n_weights:].astype(np.float64)
        if scale.kind == AFFINE:
            _expect(scale, 2 * n)
            scales, shifts = scale.values.astype(np.float64).reshape(2, n)
            weights, biases = weights * scales[:, None, None, None], biases * scales + shifts
        if self._value == self._pixels:
            weights = weights / self._scale
            biases = biases - (weights * self._mean[:, None, None]).sum(axis=(1, 2, 3))
        self._value, self.shape = self._conv(self._value, self.shape, (weights, biases), steps)

    def _conv(
        self, value: Value, shape: _SHAPE, numbers: tuple[Any, Any], steps: list[int]
    ) -> tuple[Value, _SHAPE]:
        """Add a convolution of `value` and return its output and shape.

        `numbers` are weights and biases; `steps` are stride y, x, padding y, x.
        """
        weights, biases = numbers
        window = weights.shape[2:]
        inputs = [value, self._graph.constant(weights), self._graph.constant(biases)]
        output = self._graph.add(
            "Conv", inputs, kernel_shape=window, strides=steps[:2], pads=steps[2:] * 2
        )
        return output, (len(weights), *_sides_after(shape, window, steps))

    def _max_pool(self, layer: Layer) -> None:
        window, steps = layer.sizes[:2], list(layer.sizes[2:])
        self._value = self._graph.add(
            "MaxPool", [self._value], kernel_shape=window, strides=steps[:2], pads=steps[2:] * 2
        )
        self.shape = (self.shape[0], *_sides_after(self.shape, window, steps))

    def _average(self, layer: Layer, value: Value, shape: _SHAPE) -> tuple[Value, _SHAPE]:
        """Pool as a convolution with as many channels as the block, the surplus ones zero.

        It takes half the time of a pool and a concatenation.
        """
        n, window = max(self.shape[0], shape[0]), layer.sizes[:2]
        weights = np.zeros((n, shape[0], *window))
        weights[range(shape[0]), range(shape[0])] = 1 / (window[0] * window[1])
        return self._conv(value, shape, (weights, np.zeros(n)), list(layer.sizes[2:]))

    def _close_block(self) -> None:
        other, other_shape = self._block_input
        size = [max(sides) for sides in zip(self.shape, other_shape, strict=True)]
        values = [self._pad(self._value, self.shape, size), self._pad(other, other_shape, size)]
        self._value, self.shape = self._graph.add("Add", values), (size[0], size[1], size[2])

    def _pad(self, value: Value, shape: _SHAPE, size: list[int]) -> Value:
        missing = [side - own for side, own in zip(size, shape, strict=True)]
        if not any(missing):
            return value
        return self._graph.add("Pad", [value, self._graph.constant([0] * 5 + missing, np.int64)])

    def _mean_of_image(self, layer: Layer) -> tuple[Value, _SHAPE]:
        if any(layer.sizes[:2]):
            raise SourceError(
                "an unknown pool", expected="one of the whole image", found=str(layer.sizes)
            )
        return self._graph.add("GlobalAveragePool", [self._value]), (self.shape[0], 1, 1)

    def _multiply(self, layer: Layer) -> None:
        """Multiply as a convolution, which computes each image by itself.

        The sums of a matrix product would depend on the size of the batch.
        """
        n, n_inputs = layer.sizes
        _expect(layer, n * n_inputs)
        weights = layer.values.reshape(n_inputs, n).T[:, :, None, None]
        value, shape = self._conv(self._value, self.shape, (weights, np.zeros(n)), [1, 1, 0, 0])
        self._value, self.shape = self._graph.add("Flatten", [value], 2), shape


def _sides_after(shape: _SHAPE, window: Any, steps: list[int]) -> tuple[int, int]:
    """Return height and width after a window. Raises SourceError if the window does not fit."""
    strides, paddings = np.array(steps).reshape(2, 2)
    sides = (np.array(shape[1:]) + 2 * paddings - np.array(window)) // strides + 1
    height, width = sides.tolist()
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
    """Build the ONNX file of a network of `layers` on crops of `side` × `side`.

    The graph subtracts `mean` (3,) RGB from the pixels and divides them by `scale`.
    """
    network = _Network(side, mean, scale)
    for row, layer in enumerate(layers):
        network.add(layer, layers[row + 1 :])
    return network.to_bytes()
