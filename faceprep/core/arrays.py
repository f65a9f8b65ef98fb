"""Types of NumPy arrays, each under one name; shapes are given where they are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3) RGB."""
Thumbnails = npt.NDArray[np.uint8]
"""(n, height, width) grey."""
Octets = npt.NDArray[np.uint8]
"""Bytes as numbers, in any shape."""
Words = npt.NDArray[np.uint32]
"""Bytes as numbers of 32 bits."""
Hashes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
"""Indices, for choosing."""
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complexfloating[Any, Any]]
"""Points x + iy, or vectors."""
Reals = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[Any]
