"""Finds out which copies are altered, so that the original stays.

rank_by_quality   the best images first
find_costs        the steps of quality that alterations cost each image

Text adds detail, so an image alone does not show whether it is the original. Within a group of
copies, the best one is compared with the others. Large thumbnails show cuts, and which pairs differ
in places; only their images are loaded again, and pairs of which one may be encoded from the other.
If the best one is altered, the next one is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Ints
from faceprep.vision.alterations import (
    CLIPPED,
    WRITTEN_ON,
    is_written_on,
    lost_by_cut,
    may_be_written_on,
)
from faceprep.vision.copy_views import Views
from faceprep.vision.encodings import BLOCK, UNKNOWN, Encoded, is_encoded_from
from faceprep.vision.overlays import Overlay

Load = Callable[[int], Encoded | None]
"""A function from the number of an image in the source to the image; None if it is lost."""
_COLOUR, _BORDER = 8, 8
"""Steps of quality that full colour is worth, a factor of 2.5 of the pixels, and a border costs."""
_MORE_CLIPPED = 30
"""Thousandths of the pixels that a clipped copy has more at the limits than another."""
_ENCODED_AGAIN = 10
"""Quality steps that an image loses if it was encoded from another one. Images that differ by more
steps than this were also changed in other ways."""
_MOST_ROUNDS = 12
"""Maximum number of images of a group that may turn out to be altered."""


def rank_by_quality(rows: npt.NDArray[np.void], costs: Ints) -> Ints:
    """Return the places of the rows (n,), best first. `costs` (n,) are steps of quality."""
    area = rows["height"].astype(np.int64) * rows["width"]
    places, n_bytes = np.arange(len(rows)), -rows["n_bytes"]
    ties = places, n_bytes, -rows["detail"], -area
    is_framed = rows["border"].any(axis=1)
    quality = rows["quality"] + _COLOUR * rows["is_full"] - _BORDER * is_framed - costs
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
    """Return the steps of quality (n,) that each image loses by alterations.

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
    """Return the costs of the images of one group.

    The best image is compared with the others, the next best first, until one shows that it is
    altered. Then the next image is the best.
    """
    costs = np.zeros(len(group), np.int64)
    compared: set[tuple[int, int]] = set()
    loaded = _Loaded(load, copies.rows["number"][group])
    for _ in range(_MOST_ROUNDS):
        best, *others = rank_by_quality(copies.rows[group], costs).tolist()
        for other in others:
            if (best, other) in compared:
                continue
            compared.add((best, other))
            cost = _measure_loss(copies, group, (best, other), loaded)
            if cost > costs[best]:
                costs[best] = cost
                break
        else:
            break
    return costs


class _Loaded:
    """The images of a group. Each is loaded when it is first needed; the latest two are kept."""

    def __init__(self, load: Load, numbers: Ints) -> None:
        self._load, self._numbers = load, numbers
        self._kept: dict[int, Encoded | None] = {}

    def pair(self, best: int, other: int) -> tuple[Encoded, Encoded] | None:
        """Return two images; None if one is lost."""
        self._kept = {place: each for place, each in self._kept.items() if place in (best, other)}
        for place in (best, other):
            if place not in self._kept:
                self._kept[place] = self._load(int(self._numbers[place]))
        one, two = self._kept[best], self._kept[other]
        return None if one is None or two is None else (one, two)


def _measure_loss(copies: Copies, group: Ints, places: tuple[int, int], loaded: _Loaded) -> int:
    """Return the steps that the best image loses if another one shows that it is altered."""
    pair = int(group[places[0]]), int(group[places[1]])
    overlay = copies.views.overlay(*pair)
    rows, larges = copies.rows[list(pair)], copies.views.larges
    loss = max(lost_by_cut(overlay), CLIPPED * _is_clipped(rows["clipped"]))
    differs = may_be_written_on(larges[pair[0]], larges[pair[1]], overlay)
    may_tell = not overlay.is_scaled and _may_be_encoded_from(rows)
    if not differs and not may_tell:
        return loss
    images = loaded.pair(*places)
    if images is None:
        return loss
    is_later = None if overlay.is_scaled else _is_later(images, overlay)
    if may_tell and overlay.is_mirrored and is_later is None:
        loss = max(loss, _ENCODED_AGAIN * _is_coarser(rows))
    if not differs:
        return max(loss, _ENCODED_AGAIN * bool(is_later))
    return max(loss, WRITTEN_ON * _is_altered(images, overlay, bool(is_later)))


def _is_later(images: tuple[Encoded, Encoded], overlay: Overlay) -> bool | None:
    """Return whether the first of two copies was encoded from the other; None if unknown.

    The blocks of a mirror image lie at the same places only if they fill the width.
    """
    one, other = images
    if overlay.is_mirrored:
        if other.pixels.shape[1] % BLOCK:
            return None
        other = other._replace(pixels=np.ascontiguousarray(other.pixels[:, ::-1]))
    return is_encoded_from(one, other)


def _is_altered(images: tuple[Encoded, Encoded], overlay: Overlay, is_later: bool) -> bool:
    """Return whether the first of two copies that differ in places is the altered one."""
    one, other = (each.pixels for each in images)
    if is_written_on(one, other, overlay):
        return True
    return is_later and not is_written_on(other, one, overlay.turn())


def _may_be_encoded_from(rows: npt.NDArray[np.void]) -> bool:
    """Return whether one of two copies may be encoded from the other, of which it keeps the size.

    Their steps must differ, and their quality must not.
    """
    one, other = rows
    is_known = UNKNOWN not in rows["coarseness"] and one["coarseness"] != other["coarseness"]
    is_sized = one["height"] == other["height"] and one["width"] == other["width"]
    return bool(is_known and is_sized and abs(one["quality"] - other["quality"]) < _ENCODED_AGAIN)


def _is_coarser(rows: npt.NDArray[np.void]) -> bool:
    """Return whether the first of two copies is rounded to larger steps."""
    one, other = rows["coarseness"].tolist()
    return bool(one > other)


def _is_clipped(clipped: npt.NDArray[np.int32]) -> bool:
    """Return whether the first of two copies has more pixels at the limits of brightness."""
    return int(clipped[0]) - int(clipped[1]) > _MORE_CLIPPED
