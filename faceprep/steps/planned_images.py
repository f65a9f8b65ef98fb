"""The images of a set by the paths that a plan names, for commands that show some of them."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from pathlib import Path

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.names import identity_of
from faceprep.core.types import Outcome
from faceprep.sets.containers import index_set
from faceprep.sets.image_paths import ImagePaths, path_in_identity
from faceprep.sets.image_set import Sample
from faceprep.sets.name_lookup import NameLookup

ROOT = "."


def _as_below(key: str) -> str:
    """Return a key as a path below its set, as it reads behind the path of the set.

    >>> _as_below("a//b/1.jpg"), _as_below("/a/1.jpg")
    ('a/b/1.jpg', 'a/1.jpg')
    """
    return os.path.normpath(key).lstrip("/")


class PlannedImages:
    """A set of any kind, indexed below `scratch` under `name`; safe to use from several threads."""

    def __init__(
        self, path: Path, scratch: Path, name: str, relative_to: Path | None = None
    ) -> None:
        self._images = index_set(path, scratch, name, relative_to, may_be_empty=True)
        self.path = self._images.path
        self._form = ImagePaths(self._images).form
        index = self._images.index
        self.identifier = f"{self._images.path}\0{index.fingerprint}"
        """The set and its state in one text."""
        self._identities = index.identities
        self._lookup = NameLookup(lambda i, j: self._identities[i:j], len(self._identities))
        numbers: Ints = index.identity_of.astype(np.int64)
        self._order: Ints = np.argsort(numbers, kind="stable")
        self._sorted = numbers[self._order]
        self._lock = threading.Lock()

    def names_of(self, identity: str) -> list[str]:
        """Return the names of the images below an identity, or a dot for none."""
        folder = "" if identity == ROOT else f"{identity}/"
        return [self._path(position).removeprefix(folder) for position in self._places(identity)]

    def find(self, path: str) -> int | None:
        """Return the position of the image with this path; None where there is none."""
        for position in self._places(identity_of(path)):
            if self._path(position) == path:
                return position
        return None

    def find_key(self, key: str) -> int | None:
        """Return the position of the first image with this key in the set; None for none.

        A key that is an absolute path may lack its first slash.
        """
        return next(iter(self._keys.find(key)), None)

    @cached_property
    def _keys(self) -> NameLookup:
        return NameLookup(self._images.keys, len(self._images), _as_below)

    def read(self, position: int) -> Sample | Outcome:
        """Read one image."""
        with self._lock:
            return next(self._images.read([position]))

    def close(self) -> None:
        """Close the files of the set."""
        self._images.close()

    def _places(self, identity: str) -> list[int]:
        numbers = [-1] if identity == ROOT else self._lookup.find(identity)
        if not numbers:
            return []
        first = int(np.searchsorted(self._sorted, numbers[0], "left"))
        last = int(np.searchsorted(self._sorted, numbers[0], "right"))
        places: list[int] = self._order[first:last].tolist()
        return places

    def _path(self, position: int) -> str:
        identity = self._images.identity(position)
        (key,) = self._images.plain_keys(position, position + 1)
        return path_in_identity(key, identity, self._form)
