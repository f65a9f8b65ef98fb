"""Lays two thumbnails of the same scene over each other, by a shift and a scale of each axis.

A cut (4,) says which shares of a view are left out at the left, top, right and bottom, so that the
rest shows what the whole shows. A share below 0 means that the whole shows more. A copy is not
turned, so these four numbers are all that differ. They are found by least squares on the levels of
equal local contrast (Lucas and Kanade, "An iterative image registration technique", 1981). Pixels
that differ much, such as those of text, count less.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Floats, Thumbnails
from faceprep.core.opencv import opencv
from faceprep.vision.part_summary import LARGE

NO_CUT = np.zeros(4)
_FOUND, _MOST_STEP, _MOST_CUT = 3e-4, 0.025, 0.3
"""The shares of a side by which the last round moves, any round moves at most, and an overlay
differs at most."""
_MOST_SPREADS = (0.5, 0.3, 0.22, *[0.19] * 9)
"""The most that levels of equal contrast may differ before each round, as a robust standard
deviation. In 98 of 100 copies it is at most 0.33, 0.22, 0.19 and 0.19 before the first rounds; half
of the other pairs are given up before the second one, and most before the fourth."""
_ODD = 2.5
"""Pixels that differ by more robust standard deviations than this count for less."""
_MARGIN = 3
_N_PIXELS = (LARGE - 2 * _MARGIN) ** 2
"""Pixels of a large thumbnail that are left out at each side, and the number of the others."""
_EVERY = 4
"""Every fourth pixel is enough to estimate the standard deviation."""


class Overlay(NamedTuple):
    """The way in which two copies lie over each other.

    The view without `cut` shows what the whole shows, which is mirrored first if `is_mirrored`.
    The whole is the first copy, or the second if `is_swapped`.
    """

    cut: Doubles
    is_mirrored: bool
    is_swapped: bool

    @property
    def is_scaled(self) -> bool:
        """Return whether one is moved or scaled to lie over the other."""
        return bool(self.cut.any())

    @property
    def share(self) -> float:
        """Return the area that the first copy shows, as a share of that of the second one."""
        left, top, right, bottom = self.cut.tolist()
        area = float((1 - left - right) * (1 - top - bottom))
        return 1 / area if self.is_swapped else area

    def turn(self) -> Overlay:
        """Return how the second copy lies over the first."""
        return self._replace(is_swapped=not self.is_swapped)

    def lay(self, first: Thumbnails, second: Thumbnails) -> tuple[Floats, Floats]:
        """Resample thumbnails (n, n) of any side, so that they lie over each other."""
        whole, view = (second, first) if self.is_swapped else (first, second)
        if self.is_mirrored:
            whole = np.ascontiguousarray(whole[:, ::-1])
        both = whole.astype(np.float32), resample(view, self.cut)
        return both[::-1] if self.is_swapped else both


def register(wholes: Floats, views: Floats, starts: Doubles) -> Doubles:
    """Find the cuts (n, 4) after which views (n, 48, 48) lie over wholes; NaN where nothing fits.

    Both are as `normalize` returns them. The search begins at the cuts `starts` (n, 4).
    """
    inner = slice(_MARGIN, -_MARGIN)
    cuts, at = np.array(starts, np.float64), np.arange(len(wholes))
    targets, slopes = wholes[:, inner, inner].reshape(len(wholes), _N_PIXELS), _slopes(wholes)
    for most_spread in _MOST_SPREADS:
        laid = [resample(views[place], cuts[place])[inner, inner].ravel() for place in at.tolist()]
        if not laid:
            break
        slopes[:, 4] = laid
        steps, spreads = _solve(slopes, targets - slopes[:, 4])
        cuts[at] += steps
        is_lost = (np.abs(cuts[at]).max(axis=1) > _MOST_CUT) | (spreads > most_spread)
        cuts[at[is_lost]] = np.nan
        moves = ~is_lost & (np.abs(steps).max(axis=1) >= _FOUND)
        at, targets, slopes = at[moves], targets[moves], slopes[moves]
    return cuts


def _slopes(wholes: Floats) -> Floats:
    """Return how levels change with each share of the cut, with gain and offset: (n, 6, 42²)."""
    inner = slice(_MARGIN, -_MARGIN)
    down, across = (LARGE * np.gradient(wholes, axis=axis)[:, inner, inner] for axis in (1, 2))
    places = (np.arange(LARGE, dtype=np.float32)[inner] + np.float32(0.5)) / LARGE
    right, below = places, places[:, None]
    ones = np.ones_like(across)
    sides = across * (1 - right), down * (1 - below), -across * right, -down * below
    return np.stack([*sides, ones, ones], axis=1).reshape(len(wholes), 6, _N_PIXELS)


def _solve(slopes: Floats, apart: Floats) -> tuple[Doubles, Floats]:
    """Return the steps of the cuts (n, 4) that bring levels nearest, and how they differ (n,).

    The second is a robust standard deviation before the step.
    """
    sample = np.abs(apart[:, ::_EVERY])
    middle = sample.shape[1] // 2
    spreads = np.float32(1.4826) * np.partition(sample, middle, axis=1)[:, middle]
    odd = apart / (np.float32(_ODD) * (spreads + np.float32(1e-3)))[:, None]
    weighted = slopes / (1 + odd * odd)[:, None]
    products = (weighted @ slopes.transpose(0, 2, 1)).astype(np.float64)
    traces = np.trace(products, axis1=1, axis2=2)
    products[:, *np.diag_indices(6)] += 1e-4 * traces[:, None] / 6
    right = (weighted @ apart[:, :, None]).astype(np.float64)
    steps = np.linalg.solve(products, right)[:, :4, 0]
    return np.clip(steps, -_MOST_STEP, _MOST_STEP), spreads


def resample(view: Thumbnails | Floats, cut: Doubles) -> Floats:
    """Resample what a cut leaves of `view` (n, n) to (n, n) levels."""
    cv2 = opencv()
    n = len(view)
    left, top, right, bottom = cut.tolist()
    across, down = 1 - left - right, 1 - top - bottom
    shift_x, shift_y = left * n + across / 2 - 0.5, top * n + down / 2 - 0.5
    transform = np.array([[across, 0, shift_x], [0, down, shift_y]], np.float32)
    levels, how = view.astype(np.float32), cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(levels, transform, view.shape, flags=how, borderMode=cv2.BORDER_REPLICATE)
    )


def shown_by_both(cut: Doubles) -> tuple[slice, slice]:
    """Return the rows and columns of a large thumbnail that the view shows too, without margins."""
    left, top, right, bottom = cut.tolist()
    return _shown(top, bottom), _shown(left, right)


def _shown(first: float, last: float) -> slice:
    scale = LARGE / (1 - first - last)
    start, stop = (int(np.ceil(max(-each, 0.0) * scale)) for each in (first, last))
    return slice(start + _MARGIN, LARGE - stop - _MARGIN)


def normalize(pictures: Thumbnails) -> Floats:
    """Return pictures (n, 48, 48) with equal local mean and contrast."""
    cv2 = opencv()
    levels = np.empty(pictures.shape, np.float32)
    for place, picture in enumerate(pictures.astype(np.float32)):
        apart = picture - cv2.GaussianBlur(picture, (0, 0), LARGE / 8)
        contrast = np.sqrt(cv2.GaussianBlur(apart * apart, (0, 0), LARGE / 8))
        levels[place] = apart / (contrast + 8)
    return levels


# Cuts that people make


class Frame(NamedTuple):
    """The shares (4,) of an image that were left out as a border, and its width by its height."""

    border: Doubles
    aspect: float


_SIDES = np.array(
    [
        (1, 1, 1, 1),
        (1, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
        (1, 1, 0, 0),
        (0, 1, 1, 0),
        (0, 0, 1, 1),
        (1, 0, 0, 1),
        (1, 0, 1, 0),
        (0, 1, 0, 1),
    ],
    np.float64,
)
"""The sides that are cut together: all, one, a corner, or two that face each other."""
_LEAST_CUT, _LARGEST_CUT, _INEXACT = 0.02, 0.07, 0.005
"""The shares that are cut off a side, and the error of the search and of whole pixels."""


def is_regular(cut: Doubles, whole: Frame, view: Frame) -> bool:
    """Return whether one of two images is the other without equal strips on some sides.

    Two photos of a series, a moment apart, can be shifted and scaled as well, but hardly so. Strips
    are equal in pixels or in shares. On all sides, they may be as narrow as the error of a border
    that was left out. Borders count as a part of either image, or not, because some belong to the
    scene.
    """
    is_framed = bool(whole.border.any() or view.border.any())
    cuts = [cut]
    if is_framed:
        cuts = [_with_borders(cut, w, v) for w in _borders(whole) for v in _borders(view)]
    both = np.array([*cuts, *map(_invert, cuts)])[:, None]
    sides = _patterns(round(whole.aspect, 3))
    shares = (both * sides).sum(axis=2) / (sides * sides).sum(axis=1)
    is_narrow = is_framed & (sides > 0).all(axis=1)
    shares = np.clip(shares, np.where(is_narrow, 0, _LEAST_CUT), _LARGEST_CUT)
    apart = np.abs(both - shares[..., None] * sides).max(axis=2)
    return bool(apart.min() <= _INEXACT)


def _borders(frame: Frame) -> list[Doubles]:
    return [frame.border, NO_CUT] if frame.border.any() else [NO_CUT]


@functools.lru_cache(maxsize=64)
def _patterns(aspect: float) -> Doubles:
    """Return the sides that are cut together, by equal shares and by equal pixels."""
    return np.concatenate([_SIDES, _SIDES * [1, aspect, 1, aspect]])


def _with_borders(cut: Doubles, whole: Doubles, view: Doubles) -> Doubles:
    """Return the cut of a view with its border, after which it shows the whole with its border."""
    found = np.empty(4)
    for first, last in ((0, 2), (1, 3)):
        scale = (1 - cut[first] - cut[last]) / (1 - whole[first] - whole[last])
        start = cut[first] - scale * whole[first]
        inner = 1 - view[first] - view[last]
        found[first] = view[first] + inner * start
        found[last] = 1 - found[first] - inner * scale
    return found


def _invert(cut: Doubles) -> Doubles:
    """Return the cut of the whole after which it shows the view."""
    sides = 1 - cut[:2] - cut[2:]
    return np.asarray(-cut / np.concatenate([sides, sides]))
