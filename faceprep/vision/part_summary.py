"""Features by which copies of parts of an image are recognised, and the best copy is kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Pixels, Thumbnails
from faceprep.core.opencv import opencv
from faceprep.vision.perceptual_hash import SIDE
from faceprep.vision.resolution import measure_clipping, measure_quality

LARGE = 2 * SIDE
"""Side of a large thumbnail."""
_FLAT, _ODD_SHARE, _EDGE, _EDGE_SHARE = 12, 0.02, 20, 0.6
"""Grey levels, and shares of the pixels of a line, by which a border and its edge are known."""


class PartSummary(NamedTuple):
    """The features of one image by which copies of parts are recognised, and the best is kept.

    `large` is (48, 48) uint8 grey, without a flat border if `is_trimmed`. `quality` counts the
    pixels that are really used, in steps. `clipped` is in thousandths of the pixels.
    """

    large: Thumbnails
    is_trimmed: bool
    quality: int
    clipped: int


def summarize_parts(image: Pixels) -> PartSummary:
    """Summarize an RGB image of any size and shape."""
    inner = leave_out_border(image)
    return PartSummary(
        make_thumbnail(inner, LARGE),
        inner.shape != image.shape[:2],
        measure_quality(inner),
        measure_clipping(inner),
    )


def leave_out_border(image: Pixels) -> npt.NDArray[np.uint8]:
    """Return the grey levels of an RGB image without a flat border."""
    grey = np.asarray(opencv().cvtColor(image, opencv().COLOR_RGB2GRAY), np.uint8)
    return np.ascontiguousarray(_trim(grey))


def make_thumbnail(grey: npt.NDArray[np.uint8], side: int) -> Thumbnails:
    """Resize grey levels to (side, side), and stretch them to 0 … 255."""
    cv2 = opencv()
    if min(grey.shape) >= 4 * side:
        grey = cv2.resize(grey, (4 * side, 4 * side), interpolation=cv2.INTER_AREA)
    levels = cv2.resize(grey.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    low, high = float(levels.min()), float(levels.max())
    stretched = np.rint((levels - low) * (255 / max(high - low, 1)))
    return np.asarray(stretched, np.uint8)


def _trim(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Leave out flat borders that end in a sharp edge, up to a quarter of each side."""
    top, bottom = _border(grey), _border(grey[::-1])
    left, right = _border(grey.T), _border(grey.T[::-1])
    height, width = grey.shape
    inner = grey[top : height - bottom, left : width - right]
    if min(inner.shape) < SIDE // 2:
        return grey
    return inner


def _border(lines: npt.NDArray[np.uint8]) -> int:
    """Return the number of flat lines at the start, and one more for the blurred edge."""
    level = float(np.median(lines[0]))
    most = len(lines) // 4
    n = 0
    while n <= most and (np.abs(lines[n] - level) > _FLAT).mean() <= _ODD_SHARE:
        n += 1
    if n == 0 or n > most:
        return 0
    after = np.abs(lines[n + 1] - level)
    return n + 1 if (after > _EDGE).mean() > _EDGE_SHARE else 0
