"""Views of an image in which its mirrored, cut, bordered and written-on copies look the same.

A large thumbnail (48 × 48) leaves out a flat border. Its views are the whole, the mirror image, and
the whole without a twentieth or a fortieth on some sides. A copy that was cut is the whole of one
of these views. Hashes of views find candidates; a coarse comparison sorts most of them out. The
rest is laid over the view by a small shift and scaling, which the enhanced correlation coefficient
finds (Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation coefficient
maximization", 2008), and compared. Text covers some blocks: without the worst three in ten, the
others of a true copy agree almost perfectly.

Of 10,000 distinct images none passes for another: AT&T's photos and aligned crops, blends of two
people each, and pieces of photos (`benchmarks/dedupe_false_pairs.py`). Of changed copies of AT&T's
photos, 96 % or more pass. Of aligned crops that are cut or framed, 70 to 81 % pass, so photos are
better compared before faces are cut out.
"""

from __future__ import annotations

import functools
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Floats, Hashes, Ints, Thumbnails
from faceprep.core.opencv import opencv
from faceprep.vision.part_summary import LARGE
from faceprep.vision.perceptual_hash import SIDE, compute_gradients, hash_thumbnails

_CUTS = (
    (0.025, 0.025, 0.025, 0.025),
    (0.05, 0.05, 0.05, 0.05),
    (0.05, 0, 0, 0),
    (0, 0.05, 0, 0),
    (0, 0, 0.05, 0),
    (0, 0, 0, 0.05),
    (0.05, 0.05, 0, 0),
    (0, 0.05, 0.05, 0),
    (0.05, 0, 0, 0.05),
    (0, 0, 0.05, 0.05),
)
"""Shares that a view leaves out at the left, top, right and bottom."""
_Cut = tuple[float, float, float, float]
WHOLE, MIRRORED, N_VIEWS = 0, 1, 2 + len(_CUTS)
"""Columns of `hash_views`; the views of `_CUTS` follow."""
_COARSE = 0.6
_SAME, _CUT, _BORDERED, _WRITTEN_ON, _LEAST = 0.995, 0.984, 0.99, 0.997, 0.6
_BLOCK, _KEPT = 6, 0.7
_MOST, _MOST_WITH_BORDER = (0.008, 0.0155, 0.2), (0.005, 0.026, 0.12)
"""The most that a view is turned (as a sine), scaled (as a share) and shifted (in its pixels): two
photos of a series take more. A border is left out less exactly, which only scales the rest."""


class PartMatch(NamedTuple):
    """The agreement of a copy, -1 to 1, and the description of it."""

    agreement: float
    how: str


def hash_views(larges: Thumbnails) -> Hashes:
    """Hash the views of large thumbnails (n, 48, 48) to (n, 12)."""
    hashes = np.empty((len(larges), N_VIEWS), np.uint64)
    for column in range(N_VIEWS):
        hashes[:, column] = hash_thumbnails(np.rint(_view(larges, column)))
    return hashes


def _view(larges: Thumbnails, column: int) -> Doubles:
    """Return one view of large thumbnails (n, 48, 48) as (n, 24, 24) levels."""
    levels = larges.astype(np.float64)
    if column == MIRRORED:
        levels = levels[:, :, ::-1]
    left, top, right, bottom = _cut_of(column)
    return np.asarray(_sampling(top, bottom) @ levels @ _sampling(left, right).T)


def _cut_of(column: int) -> _Cut:
    if column in (WHOLE, MIRRORED):
        return 0, 0, 0, 0
    return _CUTS[column - 2]


@functools.cache
def _sampling(first: float, last: float) -> Doubles:
    """Return weights (24, 48) that average the pixels between two cuts, in multiples of 1/1024.

    Products with bytes are exact, so that every machine finds the same bits.
    """
    edges = np.linspace(LARGE * first, LARGE * (1 - last), SIDE + 1)
    starts, stops = edges[:-1, None], edges[1:, None]
    pixels = np.arange(LARGE)
    covered = np.minimum(stops, pixels + 1) - np.maximum(starts, pixels)
    shares = np.clip(covered, 0, None) / (stops - starts)
    return np.asarray(np.rint(shares * 1024) / 1024)


class Views(NamedTuple):
    """Large thumbnails (n, 48, 48), hashes of their views (n, 12), and marks of trimmed ones."""

    larges: Thumbnails
    hashes: Hashes
    is_trimmed: npt.NDArray[np.bool_]

    def match(self, image: int, others: Ints) -> list[PartMatch | None]:
        """Compare an image with others; None where it is not a copy."""
        matches: list[PartMatch | None] = [None] * len(others)
        pairings = self._pair(image, others)
        for column in np.unique(pairings.column).tolist():
            places = np.flatnonzero(pairings.column == column)
            for place in self._pass_coarsely(image, others, pairings, places).tolist():
                matches[place] = self._compare(image, int(others[place]), pairings, place)
        return matches

    def _pair(self, image: int, others: Ints) -> _Pairings:
        """Return for each other the nearest view, of it or of the image, and whether mirrored."""
        own, theirs = self.hashes[image], self.hashes[others]
        views = [WHOLE, *range(2, N_VIEWS)]
        options = []
        for query in (WHOLE, MIRRORED):
            options.append(_count_bits(own[query] ^ theirs[:, views]))
            options.append(_count_bits(theirs[:, [query]] ^ own[views]))
        distances = np.stack(options, axis=1).reshape(len(others), -1)
        nearest = distances.argmin(axis=1)
        option, view = nearest // len(views), nearest % len(views)
        return _Pairings(np.array(views)[view], option >= 2, option % 2 == 1)

    def _pass_coarsely(self, image: int, others: Ints, pairings: _Pairings, places: Ints) -> Ints:
        """Return the places whose view, or whole, agrees roughly; all have the same view."""
        column = int(pairings.column[places[0]])
        passed = []
        for of_own, mirrored in product((False, True), repeat=2):
            is_such = (pairings.of_own[places] == of_own) & (pairings.mirrored[places] == mirrored)
            chosen = places[is_such]
            if not len(chosen):
                continue
            sides = self.larges[[image]], self.larges[others[chosen]]
            wholes, views = sides[::-1] if of_own else sides
            whole = MIRRORED if mirrored else WHOLE
            one = compute_gradients(_view(wholes, whole))
            found = np.full(len(chosen), -1.0, np.float32)
            for view in {column, WHOLE}:
                many = compute_gradients(_view(views, view))
                found = np.maximum(found, (one * many).sum(axis=1))
            passed.append(chosen[found >= _COARSE])
        return np.concatenate(passed) if passed else places[:0]

    def _sides(
        self, image: int, other: int, pairings: _Pairings, place: int
    ) -> tuple[Thumbnails, Thumbnails]:
        """Return the thumbnail whose whole is like the view of the second one."""
        whole, view = self.larges[image], self.larges[other]
        if pairings.of_own[place]:
            whole, view = view, whole
        if pairings.mirrored[place]:
            whole = np.ascontiguousarray(whole[:, ::-1])
        return whole, view

    def overlay(self, image: int, other: int) -> Overlay:
        """Find how two copies lie over each other."""
        pairings = self._pair(image, np.array([other]))
        column, of_own = int(pairings.column[0]), bool(pairings.of_own[0])
        laid = None
        if column != WHOLE or self.is_trimmed[[image, other]].any():
            laid = _lay_over(*self._sides(image, other, pairings, 0), _cut_of(column))
        transform = laid.transform if laid else _transform_of(_cut_of(WHOLE))
        return Overlay(transform, bool(pairings.mirrored[0]), of_own)

    def _compare(self, image: int, other: int, pairings: _Pairings, place: int) -> PartMatch | None:
        whole, view = self._sides(image, other, pairings, place)
        how = "mirrored" if pairings.mirrored[place] else ""
        match = _judge(whole, view, how, _SAME)
        if match:
            return match
        how = f"{how}, cut or with a border".removeprefix(", ")
        column = int(pairings.column[place])
        if self.is_trimmed[[image, other]].any():
            found = _lay_over(whole, view, _cut_of(WHOLE))
            match = _judge_laid(whole, found, how, is_cut=False)
        if match is None and column != WHOLE:
            found = _lay_over(whole, view, _cut_of(column))
            match = _judge_laid(whole, found, how, is_cut=True)
        return match


def _judge_laid(whole: Thumbnails, found: _Laid | None, how: str, is_cut: bool) -> PartMatch | None:
    """Return the match of a view laid over the whole; None where no known cut or border fits."""
    if found is None:
        return None
    cuts, most, enough = [_cut_of(WHOLE)], _MOST_WITH_BORDER, _BORDERED
    if is_cut:
        cuts, most, enough = list(_CUTS), _MOST, _CUT
    if not any(_is_near(found.transform, cut, most) for cut in cuts):
        return None
    return _judge(whole, found.levels, how, enough)


def _judge(
    whole: Thumbnails, view: Thumbnails | Floats, how: str, enough: float
) -> PartMatch | None:
    """Return the match of two pictures that lie over each other; None if they differ."""
    agreement, kept = _agreements(whole.astype(np.float32), view.astype(np.float32))
    if agreement >= enough:
        return PartMatch(agreement, how)
    if kept >= _WRITTEN_ON and agreement >= _LEAST:
        return PartMatch(kept, f"{how}, changed in places".removeprefix(", "))
    return None


class _Pairings(NamedTuple):
    """For each other image: the view's column, and if the whole is mirrored or the view is own."""

    column: Ints
    mirrored: npt.NDArray[np.bool_]
    of_own: npt.NDArray[np.bool_]


def _count_bits(values: Hashes) -> npt.NDArray[np.uint8]:
    contiguous = np.ascontiguousarray(values)[..., None]
    bits = np.unpackbits(contiguous.view(np.uint8), axis=-1)
    return np.asarray(bits.sum(axis=-1, dtype=np.uint8))


class Overlay(NamedTuple):
    """The way in which two copies lie over each other.

    `transform` (2, 3) leads from the pixels of one large thumbnail, which is mirrored first if
    `is_mirrored`, to those of another. The one is that of the first copy, or the second if
    `is_swapped`.
    """

    transform: Floats
    is_mirrored: bool
    is_swapped: bool

    @property
    def is_scaled(self) -> bool:
        """Return whether one is moved or scaled to lie over the other."""
        return not np.array_equal(self.transform, _transform_of(_cut_of(WHOLE)))

    @property
    def share(self) -> float:
        """Return the area that the first copy shows, as a share of that of the second one."""
        area = float(np.linalg.det(self.transform[:, :2]))
        return 1 / area if self.is_swapped else area

    def turn(self) -> Overlay:
        """Return how the second copy lies over the first."""
        return self._replace(is_swapped=not self.is_swapped)

    def lay(self, first: Thumbnails, second: Thumbnails) -> tuple[Floats, Floats]:
        """Resample thumbnails (n, n) of any side, so that they lie over each other."""
        whole, view = (second, first) if self.is_swapped else (first, second)
        if self.is_mirrored:
            whole = np.ascontiguousarray(whole[:, ::-1])
        turn, scale = self.transform[:, :2], len(first) / LARGE
        shift = self.transform[:, 2] + 0.5 - turn.sum(axis=1) / 2
        moved = turn.sum(axis=1) / 2 + scale * shift - 0.5
        levels = _resample(view, np.column_stack([turn, moved]).astype(np.float32))
        both = whole.astype(np.float32), levels
        return both[::-1] if self.is_swapped else both


class _Laid(NamedTuple):
    """A view laid over the whole: its levels (48, 48), and the transform (2, 3) that was found."""

    levels: Floats
    transform: Floats


def _lay_over(whole: Thumbnails, view: Thumbnails, cut: _Cut) -> _Laid | None:
    """Resample `view` (48, 48) to lie over `whole`. Return None where nothing fits.

    The search starts at `cut` and finds the best turn, shift and scale.
    """
    cv2 = opencv()
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    mask = np.full_like(whole, 255)
    sides = _normalize(whole), _normalize(view)
    start = _transform_of(cut)
    try:
        _, found = cv2.findTransformECC(*sides, start, cv2.MOTION_AFFINE, stop, mask, 3)
    except cv2.error:  # no transform fits
        return None
    return _Laid(_resample(view, found), np.asarray(found))


def _resample(view: Thumbnails, transform: Floats) -> Floats:
    cv2 = opencv()
    levels, how = view.astype(np.float32), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(levels, transform, view.shape, flags=how, borderMode=cv2.BORDER_REPLICATE)
    )


def _transform_of(cut: _Cut) -> Floats:
    """Return the transform (2, 3) from the pixels of what is left to those of the view."""
    left, top, right, bottom = cut
    across, down = left + right, top + bottom
    shift_x, shift_y = left * LARGE - across / 2, top * LARGE - down / 2
    return np.array([[1 - across, 0, shift_x], [0, 1 - down, shift_y]], np.float32)


def _is_near(transform: Floats, cut: _Cut, most: tuple[float, float, float]) -> bool:
    """Return whether a transform differs from a cut by at most this turn, scale and shift."""
    apart = transform - _transform_of(cut)
    turn, scale = np.abs(apart[[0, 1], [1, 0]]).max(), np.abs(apart[[0, 1], [0, 1]]).max()
    middle = (LARGE - 1) / 2
    shift = np.abs(apart @ np.array([middle, middle, 1], np.float32)).max()
    return bool(turn <= most[0] and scale <= most[1] and shift <= most[2])


def _normalize(levels: Thumbnails) -> Floats:
    """Return levels with equal local mean and contrast."""
    cv2 = opencv()
    values = levels.astype(np.float32)
    apart = values - cv2.GaussianBlur(values, (0, 0), LARGE / 8)
    contrast = np.sqrt(cv2.GaussianBlur(apart * apart, (0, 0), LARGE / 8))
    return np.asarray(apart / (contrast + 8))


def _agreements(one: Floats, other: Floats) -> tuple[float, float]:
    """Return the agreement of the gradients of two pictures, and that without the worst blocks."""
    cv2 = opencv()
    a, b = (_gradients(np.asarray(cv2.GaussianBlur(each, (0, 0), 0.9))) for each in (one, other))
    products, ones, others = (_sum_blocks((x * y).sum(axis=0)) for x, y in ((a, b), (a, a), (b, b)))
    whole = _cosine(products, ones, others)
    gain = float(np.clip(products.sum() / max(float(others.sum()), 1e-9), 0.2, 5))
    apart = ones - 2 * gain * products + gain * gain * others
    kept = np.argsort(apart, kind="stable")[: int(len(apart) * _KEPT)]
    least = min(float(ones.sum()), gain * gain * float(others.sum()))
    share = min(1.0, float(ones[kept].sum()) / max(0.25 * least, 1e-9))
    return whole, share * _cosine(products[kept], ones[kept], others[kept])


def _gradients(levels: Floats) -> Floats:
    """Return differences across and down (2, 42, 42) of the inner pixels."""
    inner = slice(3, -3)
    across = levels[inner, 4:-2] - levels[inner, 2:-4]
    down = levels[4:-2, inner] - levels[2:-4, inner]
    return np.stack([across, down])


def _sum_blocks(values: Floats) -> Floats:
    n = len(values) // _BLOCK
    return np.asarray(values.reshape(n, _BLOCK, n, _BLOCK).sum(axis=(1, 3)).ravel())


def _cosine(products: Floats, ones: Floats, others: Floats) -> float:
    length = float(np.sqrt(float(ones.sum()) * float(others.sum())))
    return float(products.sum()) / max(length, 1e-9)
