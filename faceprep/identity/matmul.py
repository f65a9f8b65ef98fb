"""Matrix products of large blocks, and where they are great: BLAS on all cores, or ONNX Runtime
where it has a GPU.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceprep.core.faces import Floats
from faceprep.identity.vectors import Ints

_CUDA = "CUDAExecutionProvider"
_WORTH_IT = 10**13
"""Operations from which starting a GPU is."""
_SMALL = 1 << 13
_FEW = 8
_ERRORS = 3


def multiply(left: Floats, right: Floats, buffer: Floats | None = None) -> Floats:
    """left @ right.T of (n, d) and (m, d); into `buffer` (n·m or more,), to spare fresh memory
    for each block.
    """
    n, m = len(left), len(right)
    if n * m <= _SMALL:  # less than what it costs to wake BLAS's threads, on busy cores far less
        return np.asarray(np.einsum("id,jd->ij", left, right))
    if buffer is None:
        return left @ right.T
    return np.matmul(left, right.T, out=buffer[: n * m].reshape(n, m))


def where_above(products: Floats, floor: np.float32) -> tuple[Ints, Ints]:
    """Find rows and columns of entries of `floor` or more.

    Most blocks have few such rows, and only these are searched.
    """
    rows = np.flatnonzero(products.max(axis=1) >= floor)
    if not len(rows):
        return rows, rows
    i, j = np.nonzero((products if len(rows) == len(products) else products[rows]) >= floor)
    return rows[i], j


class CpuProducts:
    """Products of blocks of up to `size` entries."""

    def __init__(self, size: int) -> None:
        self._buffer = np.empty(size, np.float32)

    def above(self, left: Floats, right: Floats, floor: np.float32) -> tuple[Ints, Ints]:
        """Find rows and columns where left @ right.T is `floor` or more."""
        return where_above(multiply(left, right, self._buffer), floor)


@dataclass(frozen=True)
class SessionProducts:
    """Products in ONNX Runtime; they stay on the device, and only the greatest of each row
    comes back at first.
    """

    session: Any

    def above(self, left: Floats, right: Floats, floor: np.float32) -> tuple[Ints, Ints]:
        """Find rows and columns where left @ right.T is `floor` or more."""
        feeds = {"left": left, "right": right}
        rows = np.flatnonzero(self.session.run(["greatest"], feeds)[0] >= floor)
        if _FEW * len(rows) > len(left):
            return where_above(self.session.run(["products"], feeds)[0], floor)
        i, j = where_above(multiply(left[rows], right), floor)
        return rows[i], j


def open_products(operations: float, size: int) -> CpuProducts | SessionProducts:
    """Choose the CPU or the GPU by the number of operations, in blocks of `size` entries."""
    session = _gpu_session() if operations >= _WORTH_IT else None
    return CpuProducts(size) if session is None else SessionProducts(session)


def product_graph() -> bytes:
    """The ONNX file: left (n, d), right (m, d) -> products (n, m) and the greatest of each row
    (n,).
    """
    onnx = importlib.import_module("onnx")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    sides = [
        helper.make_tensor_value_info(name, real, [rows, "d"])
        for name, rows in (("left", "n"), ("right", "m"))
    ]
    output_shapes = [("products", ["n", "m"]), ("greatest", ["n"])]
    axis = helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Gemm", ["left", "right"], ["products"], transB=1),
        helper.make_node("ReduceMax", ["products", "axis"], ["greatest"], keepdims=0),
    ]
    outputs = [helper.make_tensor_value_info(name, real, shape) for name, shape in output_shapes]
    graph = helper.make_graph(nodes, "products", sides, outputs, [axis])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


@functools.cache
def _gpu_session() -> Any:
    """Open a session on the GPU; None if ONNX Runtime has no GPU or it does not start."""
    if not all(importlib.util.find_spec(name) for name in ("onnxruntime", "onnx")):
        return None
    ort = importlib.import_module("onnxruntime")
    if _CUDA not in ort.get_available_providers():
        return None
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS
    # TF32 has 10 bits: its rounding is not what the sieve's margin is for.
    session = ort.InferenceSession(
        product_graph(), options, providers=[(_CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"]
    )
    if session.get_providers()[0] != _CUDA:
        logging.getLogger("faceprep").warning(
            "similarity is computed on the CPU, because CUDA does not start"
        )
        return None
    return session
