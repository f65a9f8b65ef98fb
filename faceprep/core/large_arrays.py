"""Arrays that may be larger than memory: beyond a limit they lie in a temporary file.

The system writes the pages of such a file back when memory is short, which it cannot do with
ordinary memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.scratch import map_temporary

IN_MEMORY = 1 << 28
"""Bytes up to which an array is ordinary memory."""
_JOINED_IN_MEMORY = 1 << 30
"""Bytes of files up to which they are joined in memory."""


def allocate(
    shape: tuple[int, ...], dtype: npt.DTypeLike, in_memory: int = IN_MEMORY
) -> npt.NDArray[Any]:
    """Return an array of zeros, in a temporary file if it has more than `in_memory` bytes.

    The file is below TMPDIR. Raises OutputError where there is too little space.

    >>> allocate((2, 3), "f4", in_memory=0).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes <= max(in_memory, 0):
        return np.zeros(shape, dtype)
    return np.frombuffer(map_temporary(n_bytes), dtype).reshape(shape)


def copy_array(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy of an array that may be large, as `allocate` returns one of zeros."""
    copy = allocate(array.shape, array.dtype)
    copy[...] = array
    return copy


def join_files(
    paths: Sequence[Path], joined: Path, dtype: npt.DTypeLike = np.uint8
) -> npt.NDArray[Any]:
    """Return the numbers of these files, one after the other, as a read-only array.

    If they are many, they are copied to the file `joined` and mapped from it.
    """
    if sum(storage.size_of(path) or 0 for path in paths) <= _JOINED_IN_MEMORY:
        return np.frombuffer(b"".join(storage.read_bytes(path) for path in paths), dtype)
    with storage.AtomicFile(joined, durable=False) as file:
        for path in paths:
            storage.append_file(path, file)
    return np.memmap(joined, dtype, "r")
