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
_FLAT, _ODD_SHARE, _EDGE, _EDGE_SHARE, _FRAME_SHARE = 12, 0.02, 20, 0.6, 0.3
"""Grey levels, and shares of the pixels of a line, by which a border and its edge are known; the
last share is enough for a frame of one level."""


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
    frame are flat further on. Sides that are flat inside the frame are left out too, because they
    are left out of the photo without its frame.
    """
    frame = _find_frame(grey)
    inner = _leave_out(grey, (frame, frame, frame, frame))
    left, top, right, bottom = (frame + width for width in _find_flat_sides(inner))
    height, width = grey.shape
    if min(width - left - right, height - top - bottom) < SIDE // 2:
        return NO_BORDER
    return left, top, right, bottom


def _sides_of(grey: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], ...]:
    """Return the image four times: its lines begin at the left, top, right and bottom."""
    return grey.T, grey, grey.T[::-1], grey[::-1]


def _find_frame(grey: npt.NDArray[np.uint8]) -> int:
    """Return the width of a frame, with its blurred edge; 0 if there is none.

    If all four sides have the same level, fewer pixels must differ behind them: black corners of
    a turned crop hide the edge of a black frame.
    """
    sides = _sides_of(grey)
    width = min(_count_flat_lines(lines) for lines in sides)
    if not 0 < width <= min(grey.shape) // 4:
        return 0
    levels = [float(np.median(lines[0])) for lines in sides]
    least = _FRAME_SHARE if max(levels) - min(levels) <= _FLAT else _EDGE_SHARE
    return width + 1 if _edge_share(sides, width) > least else 0


def _find_flat_sides(grey: npt.NDArray[np.uint8]) -> Border:
    """Return the width of each flat side, with its blurred edge; 0 where there is none."""
    widths = []
    for lines in _sides_of(grey):
        width = _count_flat_lines(lines)
        is_border = 0 < width <= len(lines) // 4 and _edge_share([lines], width) > _EDGE_SHARE
        widths.append(width + 1 if is_border else 0)
    left, top, right, bottom = widths
    return left, top, right, bottom


def _count_flat_lines(lines: npt.NDArray[np.uint8]) -> int:
    """Return the number of flat lines at the start; more than a quarter of them are not counted."""
    level = float(np.median(lines[0]))
    most = len(lines) // 4
    n = 0
    while n <= most and (np.abs(lines[n] - level) > _FLAT).mean() <= _ODD_SHARE:
        n += 1
    return n


def _edge_share(sides: Sequence[npt.NDArray[np.uint8]], width: int) -> float:
    """Return the share of the pixels behind borders of this width that differ from them.

    One more line is left out, because the edge is blurred.
    """
    after = [np.abs(lines[width + 1] - float(np.median(lines[0]))) for lines in sides]
    return float((np.concatenate(after) > _EDGE).mean())
