"""Signs by which one of two copies is known to be altered: written on, cut, or clipped.

The two lie over each other, and their levels are fitted. Most pixels agree. The others are judged:

* Text, bars and logos add edges where the two differ, and differ from what lies around them.
* A translucent mark leaves less contrast of what lies under it, which still shows.
* They mostly make their pixels brighter alike, or darker. A blurred piece differs from the sharp
  one in both directions, so the sharp one does not count as written on.
* A view that fits the other image after scaling shows whether one is cut out of the other.
"""

from __future__ import annotations

import math

import numpy as np

from faceprep.core.arrays import Bools, Floats, Pixels, Thumbnails
from faceprep.core.opencv import opencv
from faceprep.vision.overlays import Overlay
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
_SAME_DIRECTION, _SHOWS_THROUGH, _LESS_CONTRAST = 0.9, 0.7, 0.95
"""The signs of a translucent mark: the least share of the differences in one direction, the least
correlation with what lies under it, and the most contrast that is left."""
_MARGIN, _AROUND, _WINDOW = 1 / 16, 1 / 32, 1 / 4
"""Shares of a side: the margin that is left out, the standard deviation of the weights of what lies
around a pixel, and the side of the window in which signs are compared."""
_MOST_GAIN = 5.0


def lost_by_cut(overlay: Overlay) -> int:
    """Return the steps that the first of two copies loses because it shows a part of the other."""
    return CUT * (overlay.share < _SHARE_LEFT)


def may_be_written_on(one: Thumbnails, other: Thumbnails, overlay: Overlay) -> bool:
    """Return whether two large thumbnails differ in places, so that the images must be compared."""
    levels, target = overlay.lay(one, other)
    differs = _differs(levels, _fit(target, levels), overlay)
    return bool(np.count_nonzero(differs) >= _FEWEST)


def is_written_on(one: Pixels, other: Pixels, overlay: Overlay) -> bool:
    """Return whether the first of two RGB images of the same scene is written on."""
    inner = [leave_out_border(each) for each in (one, other)]
    side = min(_MOST_SIDE, *inner[0].shape, *inner[1].shape)
    levels, target = overlay.lay(*(make_thumbnail(each, side) for each in inner))
    fitted = _fit(target, levels)
    differs = _differs(levels, fitted, overlay)
    return bool(np.count_nonzero(differs) >= _FEWEST) and _looks_foreign(levels, fitted, differs)


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
    return np.asarray(_median(target) + gain * (levels - _median(levels)), np.float32)


def _spread(levels: Floats) -> float:
    """Return the robust standard deviation, at least one grey level."""
    return max(1.4826 * _median(np.abs(levels - _median(levels))), 1.0)


def _median(levels: Floats) -> float:
    """Return the upper median. NumPy's function takes three times as long on a thumbnail."""
    values, middle = levels.ravel(), levels.size // 2
    return float(np.partition(values, middle)[middle])


def _differs(one: Floats, other: Floats, overlay: Overlay) -> Bools:
    """Mark the pixels that differ. Those at the margin of scaled pictures do not count."""
    differs = np.abs(one - other) > max(_DEVIATIONS * _spread(one - other), _LEAST_DIFFERENCE)
    if overlay.is_scaled:
        margin = round(_MARGIN * len(one))
        differs[:margin] = differs[-margin:] = False
        differs[:, :margin] = differs[:, -margin:] = False
    return np.asarray(differs)


def _looks_foreign(one: Floats, other: Floats, differs: Bools) -> bool:
    """Return whether the first picture, where the two differ, looks foreign and the other not."""
    cv2 = opencv()
    near = cv2.dilate(differs.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    direction = _one_direction(np.where(differs, one - other, np.float32(0)))
    if direction <= _ONE_DIRECTION:
        return False
    if direction > _SAME_DIRECTION and _is_veiled(one[differs], other[differs]):
        return True
    edges = _ratio(_edges(one)[near], _edges(other)[near])
    edges -= _ratio(_edges(one)[~near], _edges(other)[~near])
    if edges > _MORE_EDGES:
        return True
    apart = _ratio(*(_apart_from_around(each, near)[differs] for each in (one, other)))
    return edges > 0 and apart > _APART


def _is_veiled(one: Floats, other: Floats) -> bool:
    """Return whether pixels of the first picture are those of the other with less contrast."""
    a, b = one - one.mean(), other - other.mean()
    own, theirs = float((a * a).sum()), float((b * b).sum())
    alike = float((a * b).sum()) / max(math.sqrt(own * theirs), 1e-6)
    return alike > _SHOWS_THROUGH and own < _LESS_CONTRAST**2 * theirs


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
