"""Measures how many pixels of an image are really used, to tell originals from enlarged copies.

An image is made smaller and larger again, more and more, until it differs. Enlarging adds no
detail, so an enlarged copy can be made as small as its original was. Noise looks like detail, and
counts against an image.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from faceprep.core.opencv import opencv

_STEP = 1.12
"""The factor of one step of quality."""
_FINE_STEP, _N_STEPS = 1.06, 63
_ENLARGED = 1.15
"""The exponent of the used share: of two that use as many pixels, the smaller image is better."""
_DIFFERENCE = 4.0
"""The root of the mean squared difference, in grey levels, up to which an image stays the same."""
_NOISE = 3.0
"""The standard deviation of noise that cameras have."""
_BLOCK = 8
_CLIPPED = (8, 247)
_NEAR_LIMIT, _BEYOND = 3, 0.001
"""Grey levels that count as the limit, and the share of the pixels beyond it, at either end."""


def measure_quality(grey: npt.NDArray[np.uint8]) -> int:
    """Return the logarithm of the used pixels of grey levels (height, width), less for noise.

    One step is a factor of 1.12.
    """
    levels = grey.astype(np.float32)
    excess = 2 * max(_measure_noise(levels) - _NOISE, 0)
    used = grey.size * _used_share(levels, excess) ** _ENLARGED
    return round(math.log(max(used / (1 + excess * excess), 1), _STEP))


def measure_clipping(grey: npt.NDArray[np.uint8]) -> int:
    """Return the thousandths of the pixels at the limits of grey levels (height, width).

    The limits are the darkest and brightest levels of the image itself, so that a copy that is only
    brighter has as many.

    >>> measure_clipping(np.array([[40, 240], [100, 150]], np.uint8))
    500
    """
    shares = np.bincount(grey.ravel(), minlength=256) / grey.size
    low, high = (int((ends.cumsum() > _BEYOND).argmax()) for ends in (shares, shares[::-1]))
    ends = shares[: low + _NEAR_LIMIT], shares[::-1][: high + _NEAR_LIMIT]
    return round(1000 * min(float(sum(each.sum() for each in ends)), 1.0))


def _used_share(levels: npt.NDArray[np.float32], noise: float) -> float:
    """Return the share of the pixels that the image can be reduced to, by bisection.

    Noise of this standard deviation may be lost too.
    """
    low, high = 0, _N_STEPS
    most = math.hypot(_DIFFERENCE, noise)
    while low < high:
        step = (low + high + 1) // 2
        if _difference(levels, _FINE_STEP**-step) <= most:
            low = step
        else:
            high = step - 1
    return float(_FINE_STEP ** (-2 * low))


def _difference(levels: npt.NDArray[np.float32], share: float) -> float:
    cv2 = opencv()
    height, width = levels.shape
    size = max(round(width * share), 1), max(round(height * share), 1)
    small = cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    again = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return float(np.sqrt(np.mean((again - levels) ** 2)))


def _measure_noise(levels: npt.NDArray[np.float32]) -> float:
    """Return the standard deviation of the noise, by the flattest blocks that are not clipped.

    J. Immerkær, "Fast noise variance estimation", 1996.
    """
    cv2 = opencv()
    height, width = (length // _BLOCK * _BLOCK for length in levels.shape)
    if min(height, width) < 2 * _BLOCK:
        return 0.0
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    rough = np.abs(cv2.filter2D(levels, -1, kernel))
    shape = height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK
    blocks = [
        values[:height, :width].reshape(shape).mean(axis=(1, 3)).ravel()
        for values in (rough, levels)
    ]
    low, high = _CLIPPED
    sound = blocks[0][(blocks[1] > low) & (blocks[1] < high)]
    if not len(sound):
        return 0.0
    return float(np.quantile(sound, 0.2)) * math.sqrt(math.pi / 2) / 6
