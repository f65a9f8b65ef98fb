"""Tiny embedders in the files of other programs: the mean of each 28 × 28 pixels, 48 numbers,
flattened.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from faceprep.core.arrays import Floats, Pixels

SIDE, CELL = 112, 28
DIM = 3 * (SIDE // CELL) ** 2


def expected(
    crops: Pixels, mean: Any = 127.5, std: Any = 127.5, channels_last: bool = False
) -> Floats:
    """Compute the output of the models below for crops (n, 112, 112, 3)."""
    values = (crops.astype(np.float64) - np.array(mean)) / np.array(std)
    cells = values.reshape(len(crops), SIDE // CELL, CELL, SIDE // CELL, CELL, 3).mean(axis=(2, 4))
    cells = cells if channels_last else cells.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(cells).reshape(len(crops), -1).astype(np.float32)


def onnx_model(
    shape: tuple[Any, ...] = ("n", 3, SIDE, SIDE),
    metadata: Mapping[str, str] | None = None,
    own_scale: tuple[float, float] | None = None,
    half: bool = False,
    whole: bool = False,
    last: str = "Identity",
) -> bytes:
    """An ONNX file; with `own_scale` it subtracts and multiplies itself; it takes bytes
    where it is `whole`; `last` is done to the vectors."""
    pytest.importorskip("onnx", reason="pip install onnx onnxruntime")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    nodes, weights, value = [], [], "data"
    if whole:
        nodes.append(helper.make_node("Cast", ["data"], ["floats"], to=TensorProto.FLOAT))
        value = "floats"
    for op, number in zip(("Sub", "Mul"), own_scale or (), strict=False):
        weights.append(numpy_helper.from_array(np.array(number, np.float32), op))
        nodes.append(helper.make_node(op, [value, op], [f"{op}_out"]))
        value = f"{op}_out"
    if shape[3] == 3:
        nodes.append(helper.make_node("Transpose", [value], ["planes"], perm=[0, 3, 1, 2]))
        value = "planes"
    nodes.append(
        helper.make_node(
            "AveragePool", [value], ["cells"], kernel_shape=[CELL] * 2, strides=[CELL] * 2
        )
    )
    nodes.append(helper.make_node("Flatten", ["cells"], ["flat"]))
    nodes.append(helper.make_node(last, ["flat"], ["vectors"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("data", TensorProto.UINT8 if whole else kind, list(shape))],
        [helper.make_tensor_value_info("vectors", kind, [shape[0], None])],
        weights,
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def save_onnx(path: Path, **options: Any) -> Path:
    """`onnx_model` as a file."""
    path.write_bytes(onnx_model(**options))
    return path


def save_heads(path: Path, outputs: Mapping[str, int], last: str = "Identity") -> Path:
    """A network with dense outputs of so many numbers, of the mean colour; `last` is done to each.

    The weights of `head_weights` are theirs.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("GlobalAveragePool", ["data"], ["pooled"])]
    weights, declared = [], []
    for name, n in outputs.items():
        matrix = head_weights(n).reshape(n, 3, 1, 1)
        weights.append(numpy_helper.from_array(matrix, f"w_{name}"))
        nodes += [
            helper.make_node("Conv", ["pooled", f"w_{name}"], [f"raw_{name}"]),
            helper.make_node("Flatten", [f"raw_{name}"], [f"flat_{name}"]),
            helper.make_node(last, [f"flat_{name}"], [name]),
        ]
        declared.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", n]))
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "heads", [data], declared, weights)
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), path)
    return path


def head_weights(n: int) -> Floats:
    """The weights (n, 3) of an output of n numbers."""
    return np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)


def keras_model() -> Any:
    """The same in Keras, channels last."""
    import keras

    return keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.AveragePooling2D(CELL), keras.layers.Flatten()]
    )


def save_saved_model(folder: Path) -> None:
    """The same as TensorFlow's SavedModel."""
    keras_model().export(folder, verbose=False)


def save_tflite(path: Path) -> None:
    """The same for TensorFlow Lite."""
    import tensorflow as tf

    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras_model()).convert())


def save_torchscript(path: Path) -> None:
    """The same in PyTorch."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a DeprecationWarning, or from 2.14 a FutureWarning
        torch.jit.script(torch.nn.Sequential(torch.nn.AvgPool2d(CELL), torch.nn.Flatten())).save(
            str(path)
        )


def random_crops(n: int, side: int = SIDE, seed: int = 0) -> Pixels:
    """Smooth noise, so that crops differ in more than their last digits."""
    rng = np.random.default_rng(seed)
    coarse: npt.NDArray[np.uint8] = rng.integers(0, 256, (n, 8, 8, 3), np.uint8)
    return coarse.repeat(side // 8 + 1, 1).repeat(side // 8 + 1, 2)[:, :side, :side].copy()
