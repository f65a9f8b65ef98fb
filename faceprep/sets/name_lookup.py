"""Names of a large set, found by their hashes: 16 bytes of memory for each name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from faceprep.core.arrays import Hashes, Ints
from faceprep.core.shards import even_bounds
from faceprep.sets.distinct_keys import hash_names

_BLOCK = 1 << 16


class NameLookup:
    """The places of `n` names.

    `names(start, stop)` returns some of them. Names are the same whose `form` is.

    >>> letters = NameLookup(lambda start, stop: ["a", "b", "A"][start:stop], 3, str.lower)
    >>> letters.find("a"), letters.find("c")
    ([0, 2], [])
    """

    def __init__(
        self, names: Callable[[int, int], Sequence[str]], n: int, form: Callable[[str], str] = str
    ) -> None:
        self._names, self._form = names, form
        hashes: Hashes = np.empty(n, np.uint64)
        for start, stop in even_bounds(n, _BLOCK):
            hashes[start:stop] = self._hash(names(start, stop))
        self._order: Ints = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def _hash(self, names: Sequence[str]) -> Hashes:
        return np.frombuffer(hash_names(map(self._form, names)), "<u8")

    def find(self, name: str) -> list[int]:
        """Return the places of the names with the form of `name`, in their order."""
        wanted = self._hash([name])
        first = int(np.searchsorted(self._hashes, wanted, "left")[0])
        last = int(np.searchsorted(self._hashes, wanted, "right")[0])
        form = self._form(name)
        places = self._order[first:last].tolist()
        return [place for place in places if self._form(self._names(place, place + 1)[0]) == form]
