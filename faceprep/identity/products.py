"""Matrix products of large blocks: BLAS on all cores, or ONNX Runtime where it has a GPU."""

from __future__ import annotations

from faceprep.faces import Floats


def multiply(left: Floats, right: Floats) -> Floats:
    """left @ right.T of (n, d) and (m, d)."""
    return left @ right.T
