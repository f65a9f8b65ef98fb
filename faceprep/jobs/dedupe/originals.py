"""Finds out which copies are altered, so that the original stays.

rank_by_quality   the best images first
find_costs        the steps of quality that alterations cost each image

Text adds detail, so an image alone does not show whether it is the original. Within a group of
copies, the best one is compared with all others. Large thumbnails show cuts, and which pairs differ
in places; only their images are loaded again. If the best one is altered, the next one is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Ints, Pixels
from faceprep.vision.alterations import (
    CLIPPED,
    Alterations,
    compare_closely,
    may_be_written_on,
    measure_cuts,
)
from faceprep.vision.copy_views import Views

Load = Callable[[int], Pixels | None]
"""A function from the number of an image in the source to its RGB pixels; None if it is lost."""
_COLOUR, _BORDER = 8, 8
"""Steps of quality that full colour is worth, a factor of 2.5 of the pixels, and a border costs."""
_MORE_CLIPPED = 30
"""Thousandths of the pixels that a clipped copy has more at the limits than another."""
_MOST_ROUNDS = 4


def rank_by_quality(rows: npt.NDArray[np.void], costs: Ints) -> Ints:
    """Return the places of the rows (n,), best first. `costs` (n,) are steps of quality."""
    area = rows["height"].astype(np.int64) * rows["width"]
    places, n_bytes = np.arange(len(rows)), -rows["n_bytes"]
    ties = places, n_bytes, -rows["detail"], -area
    quality = rows["quality"] + _COLOUR * rows["is_full"] - _BORDER * rows["is_trimmed"] - costs
    return np.lexsort((*ties, ~rows["is_full"], -quality))


@dataclass(frozen=True)
class Copies:
    """Images whose copies are known: their rows (n,), the kept image of each, and their contents.

    Contents are the same number where the bytes are the same.
    """

    rows: npt.NDArray[np.void]
    views: Views
    contents: Ints
    kept: Ints

    def groups(self) -> Iterator[Ints]:
        """Yield the images of each group of copies, one for each content."""
        is_copy = self.kept != np.arange(len(self.kept))
        in_group = np.flatnonzero(is_copy)
        in_group = np.union1d(in_group, self.kept[in_group])
        order = in_group[np.lexsort((self.contents[in_group], self.kept[in_group]))]
        kept, contents = self.kept[order], self.contents[order]
        is_new = np.ones(len(order), np.bool_)
        is_new[1:] = (kept[1:] != kept[:-1]) | (contents[1:] != contents[:-1])
        order = order[is_new]
        starts = np.flatnonzero(np.diff(self.kept[order])) + 1
        for group in np.split(order, starts):
            if len(group) > 1:
                yield np.sort(group)


def find_costs(copies: Copies, n_source: int, load: Load) -> Ints:
    """Return the steps of quality (n,) that alterations cost each image.

    Only the first `n_source` images are compared, not those of test sets. Images of one group with
    the same bytes cost the same.
    """
    _, number_of = np.unique(np.stack([copies.kept, copies.contents]), axis=1, return_inverse=True)
    number_of = number_of.ravel()
    costs = np.zeros(len(number_of), np.int64)
    for group in copies.groups():
        if group[-1] < n_source:
            costs[number_of[group]] = _compare(copies, group, load)
    return costs[number_of]


def _compare(copies: Copies, group: Ints, load: Load) -> Ints:
    """Return the costs of the images of one group: compare the best one until it stays the best."""
    costs = np.zeros(len(group), np.int64)
    compared: set[int] = set()
    for _ in range(_MOST_ROUNDS):
        best = int(rank_by_quality(copies.rows[group], costs)[0])
        if best in compared:
            break
        compared.add(best)
        pixels = _Lazy(load, int(copies.rows["number"][group[best]]))
        for place in range(len(group)):
            if place != best:
                cost = _measure(copies, (int(group[best]), int(group[place])), pixels, load)
                costs[[best, place]] = np.maximum(costs[[best, place]], cost)
    return costs


class _Lazy:
    """An image that is loaded when it is first needed."""

    def __init__(self, load: Load, number: int) -> None:
        self._load, self._number = load, number
        self._loaded: list[Pixels | None] = []

    def pixels(self) -> Pixels | None:
        if not self._loaded:
            self._loaded.append(self._load(self._number))
        return self._loaded[0]


def _measure(copies: Copies, pair: tuple[int, int], best: _Lazy, load: Load) -> Alterations:
    overlay = copies.views.overlay(*pair)
    found = [measure_cuts(overlay), _measure_clipping(copies.rows["clipped"][list(pair)])]
    larges = copies.views.larges
    if may_be_written_on(larges[pair[0]], larges[pair[1]], overlay):
        one, other = best.pixels(), load(int(copies.rows["number"][pair[1]]))
        if one is not None and other is not None:
            found.append(compare_closely(one, other, overlay))
    return Alterations(*(max(costs) for costs in zip(*found, strict=True)))


def _measure_clipping(clipped: npt.NDArray[np.int32]) -> Alterations:
    more = int(clipped[0]) - int(clipped[1])
    return Alterations(CLIPPED * (more > _MORE_CLIPPED), CLIPPED * (-more > _MORE_CLIPPED))
