"""The three networks of MTCNN as ONNX graphs, built from the weights of the package mtcnn (MIT).

Each graph takes (n, height, width, 3) float32 RGB, 0 … 255. The normalisation (x − 127.5) / 128 is
part of the first convolution, which does not pad. The heads are joined into one output: 4 shifts of
the box, 10 of the landmarks (O-Net only), and the difference of the two logits. The sigmoid of that
difference is the softmax's probability of a face.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from faceprep.core.arrays import Floats
from faceprep.core.errors import loading
from faceprep.models.onnx_graph import IR_VERSION, OPSET
from faceprep.models.weights import Layers

Pool = tuple[int, int]
"""Window, and 1 if the last window may be cut off (Keras's `same` at the sizes that occur)."""
_POOLS: dict[str, Sequence[Pool | None]] = {
    "pnet": [(2, 1), None, None],
    "rnet": [(3, 1), (3, 0), None],
    "onet": [(3, 1), (3, 0), (2, 1), None],
}


def mtcnn_graph(name: str, layers: Layers) -> bytes:
    """Build `pnet`, `rnet` or `onet` as an ONNX file from `weights.mtcnn_layers`.

    P-Net returns (n, 5, rows, columns), R-Net (n, 5), O-Net (n, 15).
    """
    graph = _Graph()
    weights = iter(layers)
    x = graph.add("Transpose", ["images"], perm=[0, 3, 1, 2])
    for row, pool in enumerate(_POOLS[name]):
        kernel, bias, slope = next(weights), next(weights), next(weights)
        if row == 0:
            kernel, bias = _for_bytes(kernel, bias)
        x = graph.convolution(x, kernel, bias)
        x = graph.prelu(x, slope.ravel())
        if pool:
            x = graph.add(
                "MaxPool", [x], kernel_shape=[pool[0]] * 2, strides=[2, 2], ceil_mode=pool[1]
            )
    if name == "pnet":
        kernel, bias = _join_heads(list(weights))
        graph.convolution(x, kernel, bias)
        return graph.to_bytes()
    x = graph.add("Transpose", [x], perm=[0, 3, 2, 1])  # the weights count columns first
    x = graph.add("Flatten", [x])
    x = graph.dense(x, next(weights), next(weights))
    x = graph.add("PRelu", [x, graph.constant(next(weights))])
    graph.dense(x, *_join_heads(list(weights)))
    return graph.to_bytes()


def _for_bytes(kernel: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Return the layer for inputs of 0 … 255 instead of (x − 127.5) / 128."""
    per_byte = kernel / np.float32(128)
    return per_byte, bias - per_byte.sum(axis=(0, 1, 2)) * np.float32(127.5)


def _join_heads(layers: Layers) -> tuple[Floats, Floats]:
    """Join all heads into one layer.

    The last head, of two classes, becomes the difference of its logits.
    """
    *kernels, classes = layers[::2]
    *biases, bias = layers[1::2]
    kernel = np.concatenate([*kernels, classes[..., 1:] - classes[..., :1]], axis=-1)
    return kernel, np.concatenate([*biases, bias[1:] - bias[:1]])


class _Graph:
    """A sequence of nodes, each with one output."""

    def __init__(self) -> None:
        with loading("onnx", "pip install 'faceprep[detect]'"):
            import onnx
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = f"x{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values: Floats) -> str:
        """Add a constant and return its name."""
        name = f"w{len(self._constants)}"
        array = np.ascontiguousarray(values, np.float32)
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def convolution(self, x: str, kernel: Floats, bias: Floats) -> str:
        """Add a convolution with a `kernel` (height, width, channels in, channels out)."""
        weights = self.constant(kernel.transpose(3, 2, 0, 1))
        return self.add("Conv", [x, weights, self.constant(bias)])

    def prelu(self, x: str, slope: Floats) -> str:
        """Add slope x + (1 − slope) max(x, 0), written as convolutions of single channels.

        ONNX Runtime leaves its fast channel layout for PRelu, which then takes most of the time.
        """
        of_all = self.constant(slope.reshape(-1, 1, 1, 1))
        of_positive = self.constant((1 - slope).reshape(-1, 1, 1, 1))
        positive = self.add("Relu", [x])
        parts = [
            self.add("Conv", [x, of_all], group=len(slope)),
            self.add("Conv", [positive, of_positive], group=len(slope)),
        ]
        return self.add("Add", parts)

    def dense(self, x: str, kernel: Floats, bias: Floats) -> str:
        """Add a dense layer with a `kernel` (in, out)."""
        return self.add("Gemm", [x, self.constant(kernel), self.constant(bias)])

    def to_bytes(self) -> bytes:
        """Return the ONNX file; the output of the last node is that of the graph."""
        helper, kinds = self._onnx.helper, self._onnx.TensorProto
        self._nodes[-1].output[0] = "answers"
        shape = ["n", "height", "width", 3]
        images = helper.make_tensor_value_info("images", kinds.FLOAT, shape)
        answers = helper.make_tensor_value_info("answers", kinds.FLOAT, None)
        graph = helper.make_graph(self._nodes, "mtcnn", [images], [answers], self._constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        data: bytes = model.SerializeToString()
        return data
