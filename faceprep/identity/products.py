"""Matrix products of large blocks: BLAS on all cores, or ONNX Runtime where it has a GPU."""

from __future__ import annotations

import numpy as np

from faceprep.faces import Floats


def multiply(left: Floats, right: Floats, buffer: Floats | None = None) -> Floats:
    """left @ right.T of (n, d) and (m, d); into `buffer` (n·m or more,), to spare fresh memory for each block."""
    if buffer is None:
        return left @ right.T
    n, m = len(left), len(right)
    return np.matmul(left, right.T, out=buffer[: n * m].reshape(n, m))
