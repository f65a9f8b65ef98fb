"""A network of known answers in the form of insightface's detectors: there are no weights of
theirs here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SIDE, STRIDES = 64, (8, 16, 32)
CELL = (3, 2)
"""Column and row, at the middle stride, of the one face that the network claims."""


def scrfd_like(path: Path, n_outputs: int = 9) -> Path:
    """Finds one face in any image of 64 × 64; its score is how red the image is: (mean − 127.5)
    / 128.
    """
    constants, nodes, outputs = [], [], []
    for kind, width in (("score", 1), ("box", 4), ("points", 10)):
        for stride in STRIDES:
            values = np.zeros(((SIDE // stride) ** 2 * 2, width), np.float32)
            if stride == 16:
                row = (CELL[1] * (SIDE // stride) + CELL[0]) * 2
                values[row] = {"score": 1, "box": [1, 0.5, 1, 1.5], "points": np.arange(10) / 8}[
                    kind
                ]
            name = f"{kind}_{stride}"
            constants.append(numpy_helper.from_array(values, f"fixed_{name}"))
            nodes.append(
                helper.make_node(
                    "Mul", [f"fixed_{name}", "red" if kind == "score" else "one"], [name]
                )
            )
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape))
    constants += [
        numpy_helper.from_array(np.array(values, kind), name)
        for name, values, kind in (("zero", 0, "i8"), ("one", 1, "f4"), ("all", [-1], "i8"))
    ]
    first = [
        helper.make_node("Gather", ["input", "zero"], ["channel"], axis=1),
        helper.make_node("ReduceMean", ["channel"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "all"], ["red"]),
    ]
    shape = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])
    graph = helper.make_graph([*first, *nodes], "scrfd", [shape], outputs[:n_outputs], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
