"""Signs by which one of two copies is known to be altered: written on, or cut.

The two lie over each other, and their levels are fitted. Most pixels agree. The others are judged:

* Text, bars and logos add edges where the two differ, and differ from what lies around them.
* They mostly make their pixels brighter alike, or darker. A blurred piece differs from the sharp
  one in both directions, so the sharp one does not count as written on.
* A view that fits the other image after scaling shows whether one is cut out of the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Bools, Floats, Pixels, Thumbnails
from faceprep.core.opencv import opencv
from faceprep.vision.copy_views import Overlay
from faceprep.vision.part_summary import leave_out_border, make_thumbnail

WRITTEN_ON, CUT, CLIPPED = 40, 8, 4
"""Steps of quality that an alteration costs, as `measure_quality` counts them. Text counts as
detail there, up to 30 steps on a smooth photo. A clipped copy has more pixels at the limits of
brightness."""
_MOST_SIDE = 192
_SHARE_LEFT = 0.94
_LEAST_DIFFERENCE, _DEVIATIONS, _FEWEST = 8.0, 6.0, 4
"""Grey levels, and robust standard deviations, by which pixels differ; the fewest such pixels."""
_MORE_EDGES, _APART, _ONE_DIRECTION = 0.25, 0.5, 0.3
"""The least signs of writing: logarithms of ratios of edges, and of differences from what lies
around; the share of the differences that does not cancel out."""
_MARGIN, _AROUND, _WINDOW = 1 / 16, 1 / 32, 1 / 4
"""Shares of a side: the margin that is left out, the standard deviation of the weights of what lies
around a pixel, and the side of the window in which signs are compared."""
_MOST_GAIN = 5.0


class Alterations(NamedTuple):
    """The steps of quality that each of two copies loses."""

    one: int
    other: int


def measure_cuts(overlay: Overlay) -> Alterations:
    """Measure what each of two copies loses because it shows a part of the other."""
    share = overlay.share
    return Alterations(CUT * (share < _SHARE_LEFT), CUT * (1 / share < _SHARE_LEFT))


def may_be_written_on(one: Thumbnails, other: Thumbnails, overlay: Overlay) -> bool:
    """Return whether two large thumbnails differ in places, so that the images must be compared."""
    levels, target = overlay.lay(one, other)
    differs = _differs(levels, _fit(target, levels), overlay)
    return bool(np.count_nonzero(differs) >= _FEWEST)


def compare_closely(one: Pixels, other: Pixels, overlay: Overlay) -> Alterations:
    """Measure what each of two RGB images of the same scene loses because it is written on."""
    inner = [leave_out_border(each) for each in (one, other)]
    side = min(_MOST_SIDE, *inner[0].shape, *inner[1].shape)
    levels, target = overlay.lay(*(make_thumbnail(each, side) for each in inner))
    fitted = _fit(target, levels)
    differs = _differs(levels, fitted, overlay)
    if np.count_nonzero(differs) < _FEWEST:
        return Alterations(0, 0)
    return Alterations(
        WRITTEN_ON * _is_written_on(levels, fitted, differs),
        WRITTEN_ON * _is_written_on(fitted, levels, differs),
    )


def _fit(levels: Floats, target: Floats) -> Floats:
    """Scale and shift levels so that most of them agree with the target."""
    fitted = _scale(levels, target, _spread(target) / _spread(levels))
    for _ in range(3):
        kept = np.abs(fitted - target) <= 3 * _spread(fitted - target)
        apart = levels - levels[kept].mean()
        wanted = target - target[kept].mean()
        gain = (apart * wanted)[kept].sum() / max(float((apart * apart)[kept].sum()), 1e-6)
        gain = np.clip(gain, 1 / _MOST_GAIN, _MOST_GAIN)
        fitted = np.asarray(target[kept].mean() + gain * apart, np.float32)
    return fitted


def _scale(levels: Floats, target: Floats, gain: float) -> Floats:
    """Scale levels about their median, which becomes that of the target."""
    return np.asarray(np.median(target) + gain * (levels - np.median(levels)), np.float32)


def _spread(levels: Floats) -> float:
    """Return the robust standard deviation, at least one grey level."""
    return max(1.4826 * float(np.median(np.abs(levels - np.median(levels)))), 1.0)


def _differs(one: Floats, other: Floats, overlay: Overlay) -> Bools:
    """Mark the pixels that differ. Those at the margin of scaled pictures do not count."""
    differs = np.abs(one - other) > max(_DEVIATIONS * _spread(one - other), _LEAST_DIFFERENCE)
    if overlay.is_scaled:
        margin = round(_MARGIN * len(one))
        differs[:margin] = differs[-margin:] = False
        differs[:, :margin] = differs[:, -margin:] = False
    return np.asarray(differs)


def _is_written_on(one: Floats, other: Floats, differs: Bools) -> bool:
    """Return whether the first picture, where the two differ, looks foreign and the other not."""
    cv2 = opencv()
    near = cv2.dilate(differs.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    edges = _ratio(_edges(one)[near], _edges(other)[near])
    edges -= _ratio(_edges(one)[~near], _edges(other)[~near])
    apart = _ratio(*(_apart_from_around(each, near)[differs] for each in (one, other)))
    if edges <= _MORE_EDGES and not (edges > 0 and apart > _APART):
        return False
    return _one_direction(np.where(differs, one - other, np.float32(0))) > _ONE_DIRECTION


def _ratio(one: Floats, other: Floats) -> float:
    """Return the logarithm of the ratio of two root mean squares, both raised by one level."""
    a, b = (float(np.sqrt(np.mean(each * each))) + 1 for each in (one, other))
    return float(np.log(a / b))


def _edges(levels: Floats) -> Floats:
    """Return the length of the gradient of each pixel."""
    across = np.diff(levels, axis=1, prepend=levels[:, :1])
    down = np.diff(levels, axis=0, prepend=levels[:1])
    return np.asarray(np.hypot(across, down))


def _one_direction(differences: Floats) -> float:
    """Return 1 if near differences have the same sign, and less the more they cancel out."""
    window = (max(round(_WINDOW * len(differences)), 1),) * 2
    sums, lengths = (opencv().blur(each, window) for each in (differences, np.abs(differences)))
    return float(np.abs(sums).sum() / max(float(lengths.sum()), 1e-6))


def _apart_from_around(levels: Floats, left_out: Bools) -> Floats:
    """Return the difference of each pixel from the weighted mean of those that are not left out."""
    cv2 = opencv()
    kept = (~left_out).astype(np.float32)
    around = _AROUND * len(levels)
    total = cv2.GaussianBlur(levels * kept, (0, 0), around)
    weight = cv2.GaussianBlur(kept, (0, 0), around)
    return np.asarray(levels - total / np.maximum(weight, 1e-3))
