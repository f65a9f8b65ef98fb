"""The images of a set, by position: identity by identity, names sorted. Nothing here looks at a
disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from faceprep.sets.folder import Identity
from faceprep.sets.label_rules import Unlabelled

Ints = npt.NDArray[np.int64]


@dataclass
class Listing:
    """Image i is `files[i]` in the folder `identities[identity_of[i]]`; `refused` says why some
    are left out.
    """

    identities: Sequence[str]
    files: Sequence[str]
    identity_of: Ints
    refused: dict[int, Unlabelled] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._folders = ["" if name == "." else f"{name}/" for name in self.identities]

    def __len__(self) -> int:
        return len(self.files)

    def path(self, position: int) -> str:
        """Its path below the source."""
        folder: str = self._folders[self.identity_of[position]]
        return folder + self.files[position]

    def paths(self, positions: Ints) -> list[str]:
        folders, files = self._folders, self.files
        identities = self.identity_of[positions].tolist()
        return [folders[k] + files[i] for i, k in zip(positions.tolist(), identities, strict=True)]

    def spelled(self, prefix: str) -> Iterator[str]:
        """All paths, with `prefix` in front."""
        return (
            prefix + self._folders[k] + file
            for k, file in zip(self.identity_of, self.files, strict=True)
        )

    def first(self, n: int) -> Listing:
        """The first `n` images; all identities stay known."""
        return Listing(self.identities, self.files[:n], self.identity_of[:n])

    def runs(self) -> Iterator[tuple[int, int]]:
        """[start, stop) of the images of each identity."""
        edges = np.flatnonzero(np.diff(self.identity_of, prepend=-1, append=-1)).tolist()
        return zip(edges, edges[1:], strict=False)

    def is_sound(self) -> npt.NDArray[np.bool_]:
        sound = np.ones(len(self), np.bool_)
        sound[list(self.refused)] = False
        return sound


def list_images(identities: Sequence[Identity], limit: int | None = None) -> Listing:
    """The images of all identities, or the first `limit` of them."""
    counts = [len(identity.images) for identity in identities]
    files = [file for identity in identities for file in identity.images][:limit]
    identity_of = np.repeat(np.arange(len(counts), dtype=np.int64), counts)[:limit]
    return Listing([identity.name for identity in identities], files, identity_of)


def refuse_names(listing: Listing, forbidden: re.Pattern[str] | None = None) -> None:
    """Refuse images whose path is no text, or has what cannot stand in the manifest."""
    for start, stop in listing.runs():
        paths = [listing.path(start), *listing.files[start + 1 : stop]]
        if "".join(paths).isascii() and not (forbidden and any(map(forbidden.search, paths))):
            continue
        for position in range(start, stop):
            path = listing.path(position)
            if not is_text(path):
                name = path.encode("utf-8", "surrogateescape")
                listing.refused[position] = Unlabelled(
                    "bad_name", f"{name!r}: the name is not UTF-8; rename the file"
                )
            elif forbidden and forbidden.search(path):
                listing.refused[position] = Unlabelled(
                    "bad_name",
                    f"{path!r}: tabs, line breaks and outer blanks cannot stand in the list; "
                    "rename the file",
                )


def is_text(path: str) -> bool:
    """Whether it can be written as UTF-8; a name from the disk need not.

    >>> is_text("é"), is_text("\\udcff")
    (True, False)
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def find_twins(listing: Listing) -> list[str]:
    """Identities with images that differ in their suffix alone, such as a.jpg and a.png."""
    return [
        listing.identities[listing.identity_of[start]]
        for start, stop in listing.runs()
        if len({file.rpartition(".")[0] for file in listing.files[start:stop]}) < stop - start
    ]
