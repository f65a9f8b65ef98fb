"""The three networks of MTCNN as ONNX graphs, built from the weights of the package mtcnn (MIT).

Each graph takes (n, height, width, 3) float32 RGB, 0 … 255. The normalisation (x − 127.5) / 128 is
part of the first convolution, which does not pad. The heads are joined into one output: 4 shifts of
the box, 10 of the landmarks (O-Net only), and the difference of the two logits. The sigmoid of that
difference is the softmax's probability of a face.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceprep.core.arrays import Floats
from faceprep.models.onnx_graph import Graph, Value
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
    graph = Graph("mtcnn", extra="detect")
    weights = iter(layers)
    images = graph.add_input("images", ["n", "height", "width", 3])
    x = graph.add("Transpose", [images], perm=[0, 3, 1, 2])
    for row, pool in enumerate(_POOLS[name]):
        kernel, bias, slope = next(weights), next(weights), next(weights)
        if row == 0:
            kernel, bias = _for_bytes(kernel, bias)
        x = _convolve(graph, x, kernel, bias)
        x = _prelu(graph, x, slope.ravel())
        if pool:
            x = graph.add(
                "MaxPool", [x], kernel_shape=[pool[0]] * 2, strides=[2, 2], ceil_mode=pool[1]
            )
    if name == "pnet":
        x = _convolve(graph, x, *_join_heads(list(weights)))
    else:
        x = graph.add("Transpose", [x], perm=[0, 3, 2, 1])  # the weights count columns first
        x = graph.add("Flatten", [x], 2)
        x = _dense(graph, x, next(weights), next(weights))
        x = graph.add("PRelu", [x, graph.constant(next(weights))])
        x = _dense(graph, x, *_join_heads(list(weights)))
    graph.add_output("answers", x)
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


def _convolve(graph: Graph, x: Value, kernel: Floats, bias: Floats) -> Value:
    """Add a convolution with a `kernel` (height, width, channels in, channels out)."""
    return graph.add(
        "Conv", [x, graph.constant(kernel.transpose(3, 2, 0, 1)), graph.constant(bias)]
    )


def _prelu(graph: Graph, x: Value, slope: Floats) -> Value:
    """Add slope x + (1 − slope) max(x, 0), written as convolutions of single channels.

    ONNX Runtime leaves its fast channel layout for PRelu, which then takes most of the time.
    """
    of_all = graph.constant(slope.reshape(-1, 1, 1, 1))
    of_positive = graph.constant((1 - slope).reshape(-1, 1, 1, 1))
    positive = graph.add("Relu", [x])
    parts = [
        graph.add("Conv", [x, of_all], group=len(slope)),
        graph.add("Conv", [positive, of_positive], group=len(slope)),
    ]
    return graph.add("Add", parts)


def _dense(graph: Graph, x: Value, kernel: Floats, bias: Floats) -> Value:
    """Add a dense layer with a `kernel` (in, out)."""
    return graph.add("Gemm", [x, graph.constant(kernel), graph.constant(bias)])
