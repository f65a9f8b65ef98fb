"""Names of a large set, found by their hashes: 16 bytes of memory for each name.

NameLookup   the places of a name
ImageFinder  the place of an image, named with or without its suffix
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from faceprep.core.arrays import Hashes, Ints
from faceprep.core.errors import SourceError
from faceprep.core.shards import even_bounds
from faceprep.sets.distinct_keys import hash_names, strip_suffix

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
        blocks = (names(start, stop) for start, stop in even_bounds(n, _BLOCK))
        hashes = self._hash(chain.from_iterable(blocks))
        self._order: Ints = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def _hash(self, names: Iterable[str]) -> Hashes:
        return hash_names(map(self._form, names))

    def find(self, name: str) -> list[int]:
        """Return the places of the names with the form of `name`, in their order."""
        wanted = self._hash([name])
        first = int(np.searchsorted(self._hashes, wanted, "left")[0])
        last = int(np.searchsorted(self._hashes, wanted, "right")[0])
        form = self._form(name)
        places = self._order[first:last].tolist()
        return [place for place in places if self._form(self._names(place, place + 1)[0]) == form]


class ImageFinder:
    """A finder of the images that a list or table names, among the `n` images of the set at `root`.

    `names(start, stop)` returns the names of some images of the set.
    """

    def __init__(self, root: Path, names: Callable[[int, int], Sequence[str]], n: int) -> None:
        self._root, self._names = root, names
        self._lookup = NameLookup(names, n, strip_suffix)

    def find(self, name: str) -> int:
        """Return the place of the image `name`, or of the only one of this name with a suffix.

        Raises SourceError for none or several.
        """
        places = self._lookup.find(name)
        found = {place: self._names(place, place + 1)[0] for place in places}
        exact = [place for place in places if found[place] == name]
        if exact:
            return exact[0]
        stem = strip_suffix(name)
        if stem != name:  # a key of a container has no suffix
            found = {place: each for place, each in found.items() if each == stem}
        if len(found) != 1:
            files = ", ".join(path.rpartition("/")[2] for path in sorted(found.values()))
            expected = "one image of this name, whatever its suffix"
            raise SourceError(
                "no such image", path=self._root / name, expected=expected, found=files or "none"
            )
        return next(iter(found))
