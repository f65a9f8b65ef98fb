"""The columns of a set on disk: keys, identities and places of its images.

    index.json     number of images, fingerprint, facts of the container
    places         (n, 2) int64: two numbers that the container reads an image by
    identity_of    (n,) int32: number of the identity, -1 where an image has none
    keys           text column, one key per image; may be missing where the container derives keys
    identities     text column, one name per identity, in the order of their first image

Text columns are those of `core.io.columns`. All numbers are little-endian. A container may add
columns of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.io.columns import StringColumn, create_strings, map_numbers, open_strings
from faceprep.core.staged_file import StagedFile

_ABOUT = "index.json"
_PLACES, _IDENTITY_OF = "places", "identity_of"
_KEYS, _IDENTITIES = "keys", "identities"

RELATIVE_TO = "relative_to"
"""The fact that has the folder of relative names, where the user gave one."""


class IndexWriter:
    """Writes an index to `folder`, some images at a time.

    `facts` are kept with the index for the container that made it; `fingerprint` names the state of
    the source.
    """

    def __init__(self, folder: Path) -> None:
        storage.make_folder(folder)
        self.folder = folder
        self.facts: dict[str, Any] = {}
        self.fingerprint = ""
        self._keys, self._identities = (
            create_strings(folder / _KEYS),
            create_strings(folder / _IDENTITIES),
        )
        self._columns: list[BinaryIO] = []
        self._places, self._identity_of = self.add_column(_PLACES), self.add_column(_IDENTITY_OF)
        self._numbers: dict[str, int] = {}
        self._n = 0

    def add_column(self, name: str) -> BinaryIO:
        """Open a column of numbers for writing; it is closed with the index.

        Write its bytes little-endian; `SetIndex.column` maps them.
        """
        path = str(self.folder / name)
        column = StagedFile(path, path, durable=False)
        self._columns.append(column)
        return column

    def __len__(self) -> int:
        return self._n

    def number_identities(self, names: Iterable[str]) -> list[int]:
        """Return the numbers of identities, -1 for an empty name; new ones get the next numbers."""
        numbers, listed = self._numbers, list(names)
        for name in filter(None, dict.fromkeys(listed)):
            numbers.setdefault(name, len(numbers))
        return list(map(numbers.get, listed, repeat(-1)))

    def add(
        self, keys: Sequence[str] | None, identity_of: npt.ArrayLike, places: npt.ArrayLike
    ) -> None:
        """Add images: their keys, the numbers of their identities (n,), their places (n, 2).

        `keys` are None where the container derives them.
        """
        rows = np.asarray(places, "<i8").reshape(-1, 2)
        self._places.write(rows.tobytes())
        self._identity_of.write(np.asarray(identity_of, "<i4").tobytes())
        if keys is not None:
            self._keys.add(keys)
        self._n += len(rows)

    def close(self) -> None:
        """Complete the index."""
        self._identities.add(self._numbers)
        for texts in (self._keys, self._identities):
            texts.close()
        for column in self._columns:
            column.close()
        about = {"n": self._n, "fingerprint": self.fingerprint, "facts": self.facts}
        storage.write_file(self.folder / _ABOUT, json.dumps(about).encode(), durable=False)


class SetIndex:
    """An index on disk; its columns are mapped when they are first used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = json.loads(storage.read_bytes(folder / _ABOUT))
        self.n: int = about["n"]
        self.fingerprint: str = about["fingerprint"]
        self.facts: Mapping[str, Any] = about["facts"]

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """Return the places (n, 2)."""
        return map_numbers(self.folder / _PLACES, "<i8").reshape(-1, 2)

    @cached_property
    def identity_of(self) -> npt.NDArray[np.int32]:
        """Return the number of each image's identity (n,), -1 for none."""
        return map_numbers(self.folder / _IDENTITY_OF, "<i4")

    @cached_property
    def keys(self) -> StringColumn:
        """Return the keys of the images."""
        return open_strings(self.folder / _KEYS)

    @cached_property
    def identities(self) -> StringColumn:
        """Return the names of the identities."""
        return open_strings(self.folder / _IDENTITIES)

    def column(self, name: str, dtype: str) -> npt.NDArray[Any]:
        """Return a column that the container added, as numbers of `dtype`."""
        return map_numbers(self.folder / name, dtype)
