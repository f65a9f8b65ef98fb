"""The new path of every image of a set, in the order in which an output gets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.types import Decision
from faceprep.sets.listing import Listing

PLACE = "place"
"""The evidence of a restored image: its place among the images of the restored set."""
_END = 1 << 62


class Row(NamedTuple):
    """A move of the image at `path` to `into`, empty for a drop.

    `origin` is its set if not the source. `place` is the image's in the source; that of a restored
    image is among the rows, and past the end where the plan does not state it.
    """

    path: str
    into: str
    origin: str = ""
    place: int = 0


@dataclass
class Destinations:
    """The new paths: `changed` maps images that move to their path, or to "" for a drop; `restored`
    are added.

    `order` (n,) has the place in the set of each listed image. The rows are in the order of the
    set, with the restored images at their places.
    """

    listing: Listing
    order: Ints
    changed: dict[int, str] = field(default_factory=dict)
    restored: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.listing) + len(self.restored)

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """Yield the rows [start, stop)."""
        n = len(self.listing)
        for position in self._sequence[start:stop].tolist():
            if position >= n:
                yield self.restored[position - n]
                continue
            path = self.listing.path(position)
            into = self.changed.get(position, path)
            yield Row(path, into, place=self.order.item(position))

    @cached_property
    def _sequence(self) -> Ints:
        """The positions in the listing by row; restored images have those after its end."""
        n, added = len(self.listing), np.arange(len(self.restored))
        before = np.array([row.place for row in self.restored], np.int64) - added
        return np.insert(np.argsort(self.order), before.clip(0, n), n + added)


def place_of(decision: Decision) -> int:
    """Return the place of a restored image among the rows, past the end if it is not known."""
    place = decision.evidence.get(PLACE)
    return place if isinstance(place, int) and 0 <= place < _END else _END
