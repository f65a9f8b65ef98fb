"""Finds out which of two copies of the same size was encoded from the other.

A JPEG rounds each frequency of a block of 8 × 8 pixels to a multiple of its step. Between two
copies, look at the frequencies that one rounds more coarsely:

* If the fine copy holds nothing but what the coarse one has, it was encoded from the coarse one at
  a higher quality, or decoded from it.
* If it holds values that the coarse one has rounded away, it is nearer to the original.

Blocks that were changed, such as by text, are left out. A shift of brightness changes only the
mean of a block, which does not count.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Bools, Floats, Pixels
from faceprep.core.io.image_header import read_header
from faceprep.core.io.jpeg_steps import read_steps
from faceprep.core.types import Buffer

BLOCK = 8
"""Pixels of a side of a block of a JPEG."""
_MOST_SIDE = 256
_LOSSLESS = frozenset([".png", ".bmp", ".pgm", ".ppm"])
_ROUNDING = 1.0
"""Rounding error of a frequency after decoding to whole grey levels."""
_COARSER, _BEYOND = 1.4, 2.0
"""Minimum factor between two steps that can be told apart, and the margin beyond that error."""
_SOUND, _OWN = 0.5, 0.95
"""Minimum shares of unchanged blocks, and of frequencies near multiples of the image's own steps. A
rotated JPEG does not reach the second."""
_FEWEST, _SAME, _MORE = 30, 0.02, 0.04
"""Minimum number of values to judge by; the maximum share of them that the coarse copy lacks if it
came first; the minimum share that it lacks if the fine copy came first."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FREQUENCIES = np.arange(BLOCK)
_COSINES = np.sqrt(2 / BLOCK) * np.cos(
    np.pi * (2 * _FREQUENCIES + 1) * _FREQUENCIES[:, None] / (2 * BLOCK)
)
_COSINES[0] = np.sqrt(1 / BLOCK)

UNKNOWN = -1
"""The coarseness of a format whose steps are not known."""


class Encoded(NamedTuple):
    """RGB pixels, and the steps (8, 8) to which encoding rounded them: zeros where lossless.

    `steps` is None for other formats than JPEG that lose detail.
    """

    pixels: Pixels
    steps: Floats | None


def steps_of(data: Buffer) -> Floats | None:
    """Return the steps (8, 8) of an encoded image, as in `Encoded`."""
    suffix = read_header(data).suffix
    if suffix in _LOSSLESS:
        return np.zeros((BLOCK, BLOCK), np.float32)
    steps = read_steps(data) if suffix == ".jpg" else None
    return None if steps is None else np.array(steps, np.float32)


def measure_coarseness(steps: Floats | None) -> int:
    """Return the sum of the steps of `Encoded`, or UNKNOWN."""
    return UNKNOWN if steps is None else int(steps.sum())


def is_encoded_from(one: Encoded, other: Encoded) -> bool | None:
    """Return whether the first of two copies comes later; None where neither can be known.

    An image whose detail is a rounded form of the other's comes later, and so does one of finer
    steps that has only the detail of the other.
    """
    if one.steps is None or other.steps is None or one.pixels.shape != other.pixels.shape:
        return None
    blocks = [_transform(each.pixels) for each in (one, other)]
    sound = blocks[0].is_sound & blocks[1].is_sound
    ones, others = (each.frequencies[sound] for each in blocks)
    if not _has_steps(ones, one.steps) or not _has_steps(others, other.steps):
        return None
    apart = np.abs(ones - others)
    apart[:, 0, 0] = 0
    near = (apart <= np.maximum(one.steps, other.steps) / 2 + _ROUNDING).all(axis=(1, 2))
    if near.sum() < max(_SOUND * len(near), 1):
        return None
    finer = _is_first(np.abs(ones[near]), apart[near], one.steps, other.steps)
    coarser = _is_first(np.abs(others[near]), apart[near], other.steps, one.steps)
    return _join(finer, coarser)


def _is_first(fine: Floats, apart: Floats, steps: Floats, coarse_steps: Floats) -> bool | None:
    """Return whether the copy with fine steps came before the coarse one; None if unknown.

    `fine` and `apart` (n, 8, 8) are its frequencies and their distances from the coarse ones. Only
    frequencies that it rounds less count.
    """
    is_finer = coarse_steps > _COARSER * steps + _BEYOND
    is_finer[0, 0] = False
    least = (steps / 2 + _ROUNDING)[is_finer]
    n_values = np.count_nonzero(fine[:, is_finer] > least)
    if n_values < _FEWEST:
        return None
    share = np.count_nonzero(apart[:, is_finer] > least) / n_values
    if _SAME < share < _MORE:
        return None
    return bool(share >= _MORE)


def _join(one_first: bool | None, other_first: bool | None) -> bool | None:
    """Return whether the first came later; both may be finer at some frequencies."""
    if one_first is None:
        return other_first
    if other_first is None or other_first != one_first:
        return not one_first
    return None


class _Blocks(NamedTuple):
    """The frequencies (n, 8, 8) of blocks, and marks (n,) of those without clipped pixels."""

    frequencies: Floats
    is_sound: Bools


def _transform(pixels: Pixels) -> _Blocks:
    """Transform the blocks of the middle of an image, at most 256 × 256 pixels."""
    rows, columns = (_middle(side) for side in pixels.shape[:2])
    middle = pixels[rows, columns]
    blocks = _cut(middle.astype(np.float32) @ _LUMA)
    cosines = _COSINES.astype(np.float32)
    clipped = _cut(((middle == 0) | (middle == 255)).any(axis=2)).any(axis=(1, 2))
    return _Blocks(cosines @ blocks @ cosines.T, np.asarray(~clipped))


def _middle(side: int) -> slice:
    n = min(side, _MOST_SIDE) // BLOCK * BLOCK
    start = (side - n) // (2 * BLOCK) * BLOCK
    return slice(start, start + n)


def _cut(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    height, width = (side // BLOCK for side in values.shape)
    return values.reshape(height, BLOCK, width, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK, BLOCK)


def _has_steps(frequencies: Floats, steps: Floats) -> bool:
    """Return whether the frequencies lie near multiples of the steps that tell them apart."""
    told = steps > 2 * _ROUNDING + _BEYOND
    told[0, 0] = False
    if not told.any() or not len(frequencies):
        return True
    values, units = frequencies[:, told], steps[told]
    near = np.abs(values - units * np.rint(values / units)) <= _ROUNDING
    return bool(near.mean() >= _OWN)
