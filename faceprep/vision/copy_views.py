"""Views of an image in which its mirrored, cut, bordered and written-on copies look the same.

A large thumbnail (48 × 48) leaves out a flat border. Its views are the whole, the mirror image, and
the whole without a twentieth or a fortieth on some sides. A copy that was cut resembles one of
these views. Hashes of views find candidates. They are compared as they are, and if they differ laid
over the view by an exact shift and scale (`overlays`), and compared if equal strips remain on some
sides. Text covers some blocks: without the worst three in ten, the others of a true copy agree
almost perfectly (`block_agreement`).

Agreement alone does not decide about a cut. Two of AT&T's photos, taken a moment apart, agree as
well as a photo and its cut copy (0.999), but lie over each other unevenly. The limits were chosen
on 67 photos, and on 67 aligned crops of them, with 30 changed copies of each. Among pairs of
distinct images with equal strips, the agreement was at most 0.987.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import compress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Bools, Doubles, Floats, Hashes, Ints, Thumbnails
from faceprep.vision.block_agreement import compare_blocks
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
from faceprep.vision.perceptual_hash import SIDE, hash_thumbnails

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
WHOLE, MIRRORED, N_VIEWS = 0, 1, 2 + len(_CUTS)
"""Columns of `hash_views`; the views of `_CUTS` follow."""
_STARTS = np.zeros((N_VIEWS, 4))
_STARTS[2:] = _CUTS
"""The cut of each view."""
_SAME, _CUT = 0.995, 0.993
"""Minimum agreements of whole copies, and of cut ones."""
_WRITTEN_ON, _CUT_AND_WRITTEN_ON, _LEAST = 0.998, 0.999, 0.3
"""Minimum agreements of copies that are changed in places: without the worst blocks, without them
where the copy is cut too, and with them."""
_KINDS = ("mirrored", "cut or with a border", "changed in places")
_BATCH = 32
"""Number of images that are compared at once: so many fit into the cache of a processor."""


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
    left, top, right, bottom = _STARTS[column].tolist()
    return np.asarray(_sampling(top, bottom) @ levels @ _sampling(left, right).T)


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
        batches = (others[start : start + _BATCH] for start in range(0, len(others), _BATCH))
        return [match for batch in batches for match in self._match(image, batch)]

    def _match(self, image: int, others: Ints) -> list[PartMatch | None]:
        straight, pairings = self._pair_wholes(image, others), self._pair(image, others)
        found = _judge(*self._sides(image, others, straight), NO_CUT, _SAME)
        is_trimmed = self.is_trimmed[others] | self.is_trimmed[image]
        may_be_cut = (found.agreements < 0) & ((pairings.column != WHOLE) | is_trimmed)
        wholes, views = self._sides(image, others, pairings)
        for place, cut in self._lay(wholes, views, pairings, np.flatnonzero(may_be_cut)):
            frames = self._frame(image), self._frame(int(others[place]))
            if is_regular(cut, *(frames[::-1] if pairings.of_own[place] else frames)):
                laid = resample(views[place], cut)[None]
                found.put(place, _judge(wholes[[place]], laid, cut, _CUT))
        return found.describe(np.where(found.is_cut, pairings.mirrored, straight.mirrored))

    def _pair(self, image: int, others: Ints) -> _Pairings:
        """Return for each other the nearest view, of it or of the image, and whether mirrored."""
        own, theirs = self.hashes[image], self.hashes[others]
        views = [WHOLE, *range(2, N_VIEWS)]
        options = []
        for query in (WHOLE, MIRRORED):
            options.append(np.bitwise_count(own[query] ^ theirs[:, views]))
            options.append(np.bitwise_count(theirs[:, [query]] ^ own[views]))
        nearest = np.hstack(options).argmin(axis=1)
        option, view = nearest // len(views), nearest % len(views)
        return _Pairings(np.array(views)[view], option >= 2, option % 2 == 1)

    def _pair_wholes(self, image: int, others: Ints) -> _Pairings:
        """Return for each other whether its whole is more like the mirror image.

        Pixels show it where a bar changes the hash. The sums are exact.
        """
        own = self.larges[image].astype(np.float64)
        theirs = self.larges[others].reshape(len(others), -1).astype(np.float64)
        mirrored = theirs @ own[:, ::-1].ravel() > theirs @ own.ravel()
        column = np.full(len(others), WHOLE)
        return _Pairings(column, mirrored, np.zeros(len(others), np.bool_))

    def _sides(
        self, image: int, others: Ints, pairings: _Pairings
    ) -> tuple[Thumbnails, Thumbnails]:
        """Return the thumbnails (n, 48, 48) whose wholes are like the views of the second ones."""
        own, theirs = self.larges[image], self.larges[others]
        of_own = pairings.of_own[:, None, None]
        wholes, views = np.where(of_own, theirs, own), np.where(of_own, own, theirs)
        wholes[pairings.mirrored] = wholes[pairings.mirrored, :, ::-1]
        return wholes, views

    def _lay(
        self, wholes: Thumbnails, views: Thumbnails, pairings: _Pairings, places: Ints
    ) -> Iterator[tuple[int, Doubles]]:
        """Yield those of the places whose view can be laid over the whole, with the cuts (4,)."""
        starts = _STARTS[pairings.column[places]]
        cuts = register(normalize(wholes[places]), normalize(views[places]), starts)
        for place, cut in zip(places.tolist(), cuts, strict=True):
            if np.isfinite(cut).all():
                yield place, cut

    def overlay(self, image: int, other: int) -> Overlay:
        """Find how two copies lie over each other."""
        others = np.array([other])
        pairings = self._pair_wholes(image, others)
        if _judge(*self._sides(image, others, pairings), NO_CUT, _SAME).agreements[0] < 0:
            pairings = self._pair(image, others)
        cut = NO_CUT
        if pairings.column[0] != WHOLE or self.is_trimmed[[image, other]].any():
            laid = self._lay(*self._sides(image, others, pairings), pairings, np.array([0]))
            cut = next((cut for _, cut in laid), NO_CUT)
        return Overlay(cut, bool(pairings.mirrored[0]), bool(pairings.of_own[0]))

    def _frame(self, image: int) -> Frame:
        return Frame(self.borders[image], float(self.aspects[image]))


class _Found(NamedTuple):
    """The agreements (n,) of pictures, -1 where they differ, and the kinds of copies (n,).

    Marks show which copies are cut, and which are changed in places.
    """

    agreements: Floats
    is_cut: Bools
    is_changed: Bools

    def put(self, place: int, found: _Found) -> None:
        """Replace what was found for one picture."""
        for own, theirs in zip(self, found, strict=True):
            own[place] = theirs[0]

    def describe(self, is_mirrored: Bools) -> list[PartMatch | None]:
        """Return matches, with a description of each copy."""
        marks = np.stack([is_mirrored, self.is_cut, self.is_changed], axis=1).tolist()
        return [
            PartMatch(agreement, ", ".join(compress(_KINDS, each))) if agreement >= 0 else None
            for agreement, each in zip(self.agreements.tolist(), marks, strict=True)
        ]


def _judge(wholes: Thumbnails, views: Thumbnails | Floats, cut: Doubles, enough: float) -> _Found:
    """Compare pictures (n, 48, 48) that lie over each other after a cut.

    `enough` is the minimum agreement of pictures that are not changed in places.
    """
    shown = shown_by_both(cut)
    whole, kept = compare_blocks(wholes.astype(np.float32), views.astype(np.float32), shown)
    is_same = whole >= enough
    least = _CUT_AND_WRITTEN_ON if cut.any() else _WRITTEN_ON
    is_changed = ~is_same & (kept >= least) & (whole >= _LEAST)
    agreements = np.where(is_same, whole, np.where(is_changed, kept, np.float32(-1)))
    return _Found(agreements, np.full(len(wholes), bool(cut.any())), is_changed)


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
