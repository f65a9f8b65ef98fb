"""Views of an image in which its mirrored, cut, bordered and written-on copies look the same.

A large thumbnail (48 × 48) leaves out a flat border. Its views are the whole, the mirror image, and
the whole without a twentieth or a fortieth on some sides. A copy that was cut resembles one of
these views. Hashes of views find candidates; a coarse comparison sorts most of them out. The rest
is laid over the view by an exact shift and scale (`overlays`) and compared if equal strips remain
on some sides. Text covers some blocks: without the worst three in ten, the others of a true copy
agree almost perfectly.

Agreement alone does not decide about a cut. Two of AT&T's photos, taken a moment apart, agree as
well as a photo and its cut copy (0.999), but lie over each other unevenly. The limits were chosen
on 67 photos, and on 67 aligned crops of them, with 30 changed copies of each. Among pairs of
distinct images with equal strips, the agreement was at most 0.987.
"""

from __future__ import annotations

import functools
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Bools, Doubles, Floats, Hashes, Ints, Thumbnails
from faceprep.core.opencv import opencv
from faceprep.vision.overlays import (
    NO_CUT,
    Frame,
    Overlay,
    is_regular,
    normalize,
    register,
    resample,
    shown_by_both,
)
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
_SAME, _CUT, _WRITTEN_ON, _LEAST = 0.995, 0.993, 0.997, 0.6
_BLOCKS, _KEPT = 7, 0.7


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
    """Large thumbnails (n, 48, 48), hashes of their views (n, 12), borders and aspects of images.

    `borders` (n, 4) are the shares of an image that its thumbnail leaves out as a border, and
    `aspects` (n,) its width by its height.
    """

    larges: Thumbnails
    hashes: Hashes
    borders: Doubles
    aspects: Doubles

    @property
    def is_trimmed(self) -> Bools:
        """Mark the images whose thumbnail leaves out a border."""
        return np.asarray(self.borders.any(axis=1))

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
        cut = None
        if column != WHOLE or self.is_trimmed[[image, other]].any():
            whole, view = self._sides(image, other, pairings, 0)
            cut = register(normalize(whole), normalize(view), _start_of(column))
        cut = NO_CUT if cut is None else cut
        return Overlay(cut, bool(pairings.mirrored[0]), of_own)

    def _compare(self, image: int, other: int, pairings: _Pairings, place: int) -> PartMatch | None:
        whole, view = self._sides(image, other, pairings, place)
        how = "mirrored" if pairings.mirrored[place] else ""
        match = _judge(whole, view, NO_CUT, (how, _SAME))
        column = int(pairings.column[place])
        if match or (column == WHOLE and not self.is_trimmed[[image, other]].any()):
            return match
        cut = register(normalize(whole), normalize(view), _start_of(column))
        frames = self._frame(image), self._frame(other)
        if cut is None or not is_regular(
            cut, *(frames[::-1] if pairings.of_own[place] else frames)
        ):
            return None
        how = f"{how}, cut or with a border".removeprefix(", ")
        return _judge(whole, resample(view, cut), cut, (how, _CUT))

    def _frame(self, image: int) -> Frame:
        return Frame(self.borders[image], float(self.aspects[image]))


def _start_of(column: int) -> Doubles:
    return np.array(_cut_of(column))


def _judge(
    whole: Thumbnails, view: Thumbnails | Floats, cut: Doubles, kind: tuple[str, float]
) -> PartMatch | None:
    """Return the match of two pictures that lie over each other after a cut; None if they differ.

    `kind` is the description of a match, and the minimum agreement for one.
    """
    how, enough = kind
    shown = shown_by_both(cut)
    agreement, kept = _agreements(whole.astype(np.float32), view.astype(np.float32), shown)
    if agreement >= enough:
        return PartMatch(agreement, how)
    if kept >= _WRITTEN_ON and agreement >= _LEAST:
        return PartMatch(kept, f"{how}, changed in places".removeprefix(", "))
    return None


def view_images(larges: Thumbnails, borders: Ints, heights: Ints, widths: Ints) -> Views:
    """Return the views of images: large thumbnails (n, 48, 48), which leave out borders (n, 4)."""
    sizes = np.stack([widths, heights, widths, heights], axis=1)
    shares = borders / np.maximum(sizes, 1)
    return Views(larges, hash_views(larges), shares, widths / np.maximum(heights, 1))


class _Pairings(NamedTuple):
    """For each other image: the view's column, and if the whole is mirrored or the view is own."""

    column: Ints
    mirrored: npt.NDArray[np.bool_]
    of_own: npt.NDArray[np.bool_]


def _count_bits(values: Hashes) -> npt.NDArray[np.uint8]:
    contiguous = np.ascontiguousarray(values)[..., None]
    bits = np.unpackbits(contiguous.view(np.uint8), axis=-1)
    return np.asarray(bits.sum(axis=-1, dtype=np.uint8))


def _agreements(one: Floats, other: Floats, shown: tuple[slice, slice]) -> tuple[float, float]:
    """Return the agreement of the gradients of two pictures, and that without the worst blocks.

    Only what both show counts.
    """
    cv2 = opencv()
    blurred = (np.asarray(cv2.GaussianBlur(each, (0, 0), 0.9)) for each in (one, other))
    a, b = (_gradients(each, *shown) for each in blurred)
    products, ones, others = (_sum_blocks((x * y).sum(axis=0)) for x, y in ((a, b), (a, a), (b, b)))
    whole = _cosine(products, ones, others)
    gain = float(np.clip(products.sum() / max(float(others.sum()), 1e-9), 0.2, 5))
    apart = ones - 2 * gain * products + gain * gain * others
    kept = np.argsort(apart, kind="stable")[: int(len(apart) * _KEPT)]
    least = min(float(ones.sum()), gain * gain * float(others.sum()))
    share = min(1.0, float(ones[kept].sum()) / max(0.25 * least, 1e-9))
    return whole, share * _cosine(products[kept], ones[kept], others[kept])


def _gradients(levels: Floats, rows: slice, columns: slice) -> Floats:
    """Return differences across and down (2, height, width) of the pixels of a part."""
    before, after = (slice(columns.start + by, columns.stop + by) for by in (-1, 1))
    above, below = (slice(rows.start + by, rows.stop + by) for by in (-1, 1))
    across = levels[rows, after] - levels[rows, before]
    down = levels[below, columns] - levels[above, columns]
    return np.stack([across, down])


def _sum_blocks(values: Floats) -> Floats:
    """Return the sums of equal blocks (49,)."""
    for axis in (0, 1):
        starts = np.arange(_BLOCKS) * values.shape[axis] // _BLOCKS
        values = np.add.reduceat(values, starts, axis=axis)
    return np.asarray(values.ravel())


def _cosine(products: Floats, ones: Floats, others: Floats) -> float:
    length = float(np.sqrt(float(ones.sum()) * float(others.sum())))
    return float(products.sum()) / max(length, 1e-9)
