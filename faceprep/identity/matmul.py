"""Matrix products of large blocks, by BLAS on all cores or by ONNX Runtime on a GPU."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceprep.core.arrays import Floats, Ints
from faceprep.core.cpu import my_cores

_CUDA = "CUDAExecutionProvider"
_MIN_GPU_OPERATIONS = 10**13
"""Number of operations from which starting the GPU saves time."""
_SMALL = 1 << 13
"""Number of entries up to which waking the threads of BLAS costs more than the product."""
_FEW = 8
_ERRORS = 3
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def count_own_threads() -> int:
    """Count the threads to start for products: the cores of this process where BLAS has one.

    Workers hold BLAS at one thread, because several of them share the machine.
    """
    if os.environ.get(_BLAS_THREADS) == "1":
        return my_cores()
    return 1


def multiply(left: Floats, right: Floats, buffer: Floats | None = None) -> Floats:
    """Compute left @ right.T (n, m) from (n, d) and (m, d).

    A `buffer` of n·m or more entries receives the product and saves new memory for each block.
    """
    n, m = len(left), len(right)
    if n * m <= _SMALL:
        return np.asarray(np.einsum("id,jd->ij", left, right))
    if buffer is None:
        return left @ right.T
    return np.matmul(left, right.T, out=buffer[: n * m].reshape(n, m))


def find_entries_above(products: Floats, floor: np.float32) -> tuple[Ints, Ints]:
    """Find rows and columns of entries of `floor` or more.

    Most blocks have few such rows, and only these are searched.
    """
    rows = np.flatnonzero(products.max(axis=1) >= floor)
    if not len(rows):
        return rows, rows
    if len(rows) < len(products):
        products = products[rows]
    i, j = np.nonzero(products >= floor)
    return rows[i], j


class CpuProducts:
    """Matrix products on the CPU, for blocks of up to `size` entries."""

    def __init__(self, size: int) -> None:
        self._buffer = np.empty(size, np.float32)

    def above(self, left: Floats, right: Floats, floor: np.float32) -> tuple[Ints, Ints]:
        """Find rows and columns where left @ right.T is `floor` or more."""
        return find_entries_above(multiply(left, right, self._buffer), floor)


@dataclass(frozen=True)
class SessionProducts:
    """Matrix products in ONNX Runtime.

    Products stay on the device. Only the maximum of each row is copied at first.
    """

    session: Any

    def above(self, left: Floats, right: Floats, floor: np.float32) -> tuple[Ints, Ints]:
        """Find rows and columns where left @ right.T is `floor` or more."""
        feeds = {"left": left, "right": right}
        rows = np.flatnonzero(self.session.run(["greatest"], feeds)[0] >= floor)
        if _FEW * len(rows) > len(left):
            return find_entries_above(self.session.run(["products"], feeds)[0], floor)
        i, j = find_entries_above(multiply(left[rows], right), floor)
        return rows[i], j


def open_products(operations: float, size: int) -> CpuProducts | SessionProducts:
    """Choose the CPU or the GPU by the number of operations, in blocks of `size` entries."""
    if operations >= _MIN_GPU_OPERATIONS:
        session = _gpu_session()
        if session is not None:
            return SessionProducts(session)
    return CpuProducts(size)


def build_product_graph() -> bytes:
    """Build the ONNX file for products (n, m) of left (n, d) and right (m, d).

    A second output holds the greatest entry of each row (n,).
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
    # The margin of the sieve does not cover the rounding of TF32, which has 10 bits.
    providers = [(_CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"]
    session = ort.InferenceSession(build_product_graph(), options, providers=providers)
    if session.get_providers()[0] != _CUDA:
        logging.getLogger("faceprep").warning(
            "similarity is computed on the CPU, because CUDA does not start"
        )
        return None
    return session
