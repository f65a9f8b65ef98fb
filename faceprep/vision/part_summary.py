"""Features by which copies of parts of an image are recognised, and the best copy is kept."""

from __future__ import annotations

from collections.abc import Sequence
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


Border = tuple[int, int, int, int]
"""Pixels at the left, top, right and bottom."""
NO_BORDER: Border = (0, 0, 0, 0)


class PartSummary(NamedTuple):
    """The features of one image by which copies of parts are recognised, and the best is kept.

    `large` is (48, 48) uint8 grey, without a flat border, whose pixels at the left, top, right and
    bottom are `border`. `quality` counts the pixels that are really used, in steps. `clipped` is in
    thousandths of the pixels.
    """

    large: Thumbnails
    border: Border
    quality: int
    clipped: int


def summarize_parts(image: Pixels) -> PartSummary:
    """Summarize an RGB image of any size and shape."""
    grey = _grey(image)
    border = _find_border(grey)
    inner = _leave_out(grey, border)
    return PartSummary(
        make_thumbnail(inner, LARGE), border, measure_quality(inner), measure_clipping(inner)
    )


def leave_out_border(image: Pixels) -> npt.NDArray[np.uint8]:
    """Return the grey levels of an RGB image without a flat border."""
    grey = _grey(image)
    return _leave_out(grey, _find_border(grey))


def _grey(image: Pixels) -> npt.NDArray[np.uint8]:
    return np.asarray(opencv().cvtColor(image, opencv().COLOR_RGB2GRAY), np.uint8)


def _leave_out(grey: npt.NDArray[np.uint8], border: Border) -> npt.NDArray[np.uint8]:
    left, top, right, bottom = border
    height, width = grey.shape
    return np.ascontiguousarray(grey[top : height - bottom, left : width - right])


def make_thumbnail(grey: npt.NDArray[np.uint8], side: int) -> Thumbnails:
    """Resize grey levels to (side, side), and stretch them to 0 … 255."""
    cv2 = opencv()
    if min(grey.shape) >= 4 * side:
        grey = cv2.resize(grey, (4 * side, 4 * side), interpolation=cv2.INTER_AREA)
    levels = cv2.resize(grey.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    low, high = float(levels.min()), float(levels.max())
    stretched = np.rint((levels - low) * (255 / max(high - low, 1)))
    return np.asarray(stretched, np.uint8)


def _find_border(grey: npt.NDArray[np.uint8]) -> Border:
    """Return the width of a flat border that ends in a sharp edge, up to a quarter of each side.

    A frame of one width around the image is looked for first: the sides of a dark photo in a black
    frame are flat further on.
    """
    sides = grey.T, grey, grey.T[::-1], grey[::-1]
    widths = [_flat_lines(lines) for lines in sides]
    frame = min(widths)
    if frame and _ends_sharply(sides, [frame] * 4):
        widths = [frame] * 4
    else:
        widths = [
            width if width and _ends_sharply([lines], [width]) else 0
            for lines, width in zip(sides, widths, strict=True)
        ]
    left, top, right, bottom = (width + 1 if width else 0 for width in widths)
    height, width = grey.shape
    if min(width - left - right, height - top - bottom) < SIDE // 2:
        return NO_BORDER
    return left, top, right, bottom


def _flat_lines(lines: npt.NDArray[np.uint8]) -> int:
    """Return the number of flat lines at the start; 0 if a quarter of them is flat."""
    level = float(np.median(lines[0]))
    most = len(lines) // 4
    n = 0
    while n <= most and (np.abs(lines[n] - level) > _FLAT).mean() <= _ODD_SHARE:
        n += 1
    return n if n <= most else 0


def _ends_sharply(sides: Sequence[npt.NDArray[np.uint8]], widths: Sequence[int]) -> bool:
    """Return whether most pixels behind borders of these widths differ from them.

    One more line is left out, because the edge is blurred.
    """
    after = [
        np.abs(lines[width + 1] - float(np.median(lines[0])))
        for lines, width in zip(sides, widths, strict=True)
    ]
    return bool((np.concatenate(after) > _EDGE).mean() > _EDGE_SHARE)
