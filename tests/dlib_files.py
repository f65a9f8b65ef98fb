"""Writes networks as dlib stores them, and carries them out in NumPy."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Pixels
from faceprep.models.embedders.dlib_weights import (
    ADD,
    AFFINE,
    AVERAGE_POOL,
    CONVOLUTION,
    MAX_POOL,
    PRODUCT,
    RELU,
    Layer,
)


def integer(number: int) -> bytes:
    """Pack an integer as dlib does: length and sign, then the digits."""
    n_bytes = max((abs(number).bit_length() + 7) // 8, 1)
    return bytes([n_bytes | (0x80 if number < 0 else 0)]) + abs(number).to_bytes(n_bytes, "little")


def packed(layers: Sequence[Layer], between: bytes = b"\x01\x00\x0b110\x01\x02") -> bytes:
    """The file; `between` stands for what else dlib writes of a layer."""
    data = integer(1) * 3
    for layer in layers:
        sizes = [integer(size) for size in layer.sizes]
        shape = (
            (layer.sizes[1], layer.sizes[0], 1, 1)
            if layer.kind == PRODUCT
            else (layer.values.size, 1, 1, 1)
        )
        tensor = integer(2) + b"".join(map(integer, shape)) + layer.values.astype("<f4").tobytes()
        parts = (
            [*sizes, tensor]
            if layer.kind == PRODUCT
            else [tensor if layer.values.size else b"", *sizes]
        )
        data += (
            struct.pack("2B", 1, len(layer.kind)) + layer.kind.encode() + b"".join(parts) + between
        )
    return data


def small_network(seed: int = 0) -> list[Layer]:
    """All kinds of layers for crops of 21 × 21: a block that keeps the size, one that halves
    it, 5 numbers.
    """
    rng = np.random.default_rng(seed)

    def numbers(n: int) -> npt.NDArray[np.float32]:
        return rng.standard_normal(n).astype(np.float32) / 4

    def conv(n: int, k: int, side: int, stride: int, padding: int) -> list[Layer]:
        sizes = (n, side, side, stride, stride, padding, padding)
        return [
            Layer(CONVOLUTION, numbers(n * k * side * side + n), sizes),
            Layer(AFFINE, numbers(2 * n)),
        ]

    relu, add = Layer(RELU), Layer(ADD)
    return [
        *conv(4, 3, 5, 2, 0),
        relu,
        Layer(MAX_POOL, sizes=(3, 3, 2, 2, 0, 0)),
        *conv(4, 4, 3, 1, 1),
        relu,
        *conv(4, 4, 3, 1, 1),
        add,
        relu,
        *conv(6, 4, 3, 2, 0),
        relu,
        *conv(6, 6, 3, 1, 1),
        Layer(AVERAGE_POOL, sizes=(2, 2, 2, 2, 0, 0)),
        add,
        relu,
        Layer(AVERAGE_POOL, sizes=(0, 0, 1, 1, 0, 0)),
        Layer(PRODUCT, numbers(6 * 5), (5, 6)),
    ]


SIDE, MEAN, SCALE = 21, (100.0, 110.0, 120.0), 64.0


def carried_out(layers: Sequence[Layer], crop: Pixels) -> Doubles:
    """Compute the network's output for one crop, following dlib's description of its layers."""
    x: Doubles = ((crop - np.array(MEAN)) / SCALE).transpose(2, 0, 1)
    way_in = x
    for place, layer in enumerate(layers):
        kind, after = layer.kind, layers[place - 1].kind if place else ADD
        if kind == CONVOLUTION:
            n, side, _, stride, _, padding, _ = layer.sizes
            weights = layer.values[:-n].astype(np.float64).reshape(n, -1)
            windows = _windows(np.pad(x, [(0, 0), (padding,) * 2, (padding,) * 2]), side, stride)
            x = np.einsum("nk,khw->nhw", weights, windows) + layer.values[-n:, None, None]
        elif kind == AFFINE:
            scales, shifts = layer.values.astype(np.float64).reshape(2, -1, 1, 1)
            x = x * scales + shifts
        elif kind == RELU:
            x = np.maximum(x, 0)
        elif kind == ADD:
            size = np.maximum(x.shape, way_in.shape)
            x, other = (np.pad(y, [(0, more) for more in size - y.shape]) for y in (x, way_in))
            x = x + other
        elif kind == MAX_POOL:
            x = (
                _windows(x, layer.sizes[0], layer.sizes[2])
                .reshape(len(x), -1, *_after(x, layer))
                .max(axis=1)
            )
        elif kind == AVERAGE_POOL and layer.sizes[0]:
            y = way_in
            way_in = (
                _windows(y, layer.sizes[0], layer.sizes[2])
                .reshape(len(y), -1, *_after(y, layer))
                .mean(axis=1)
            )
        elif kind == AVERAGE_POOL:
            x = x.mean(axis=(1, 2), keepdims=True)
        elif kind == PRODUCT:
            x = x.reshape(-1) @ layer.values.astype(np.float64).reshape(
                layer.sizes[1], layer.sizes[0]
            )
        if kind == MAX_POOL or (kind == RELU and after == ADD):
            way_in = x
    return x


def _windows(x: Doubles, side: int, stride: int) -> Doubles:
    """(channels × side × side, height, width)."""
    view = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))[
        :, ::stride, ::stride
    ]
    flat: Doubles = view.transpose(0, 3, 4, 1, 2).reshape(-1, *view.shape[1:3])
    return flat


def _after(x: Doubles, layer: Layer) -> tuple[int, int]:
    height, width = ((length - layer.sizes[0]) // layer.sizes[2] + 1 for length in x.shape[1:])
    return height, width
