"""The images of a set by position: identity by identity, with sorted names.

This module never reads the disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Ints
from faceprep.core.io.columns import pack_strings
from faceprep.core.names import identity_of
from faceprep.core.shards import even_bounds
from faceprep.core.text import on_one_line
from faceprep.core.types import Outcome
from faceprep.sets.distinct_keys import find_repeats, hash_names, strip_suffix
from faceprep.sets.folder import BAD_NAME, Identity
from faceprep.sets.image_set import ImageSet
from faceprep.sets.label_rules import Unlabelled

NO_IDENTITY = "no_identity"
_BLOCK = 1 << 14


@dataclass
class Listing:
    """The images of a set; image i is `files[i]` in the folder `identities[identity_of[i]]`.

    With `has_keys`, `files` are whole keys of a set, which need not begin with their identity.
    `refused` maps the positions of refused images to the reason.
    """

    identities: Sequence[str]
    files: Sequence[str]
    identity_of: Ints
    refused: dict[int, Unlabelled] = field(default_factory=dict)
    has_keys: bool = False

    def __len__(self) -> int:
        return len(self.files)

    def path(self, position: int) -> str:
        """Return the path of an image below the source."""
        return self._folder(self.identity_of.item(position)) + self.files[position]

    def paths(self, positions: Ints) -> list[str]:
        """Return the paths of several images below the source."""
        return [self.path(position) for position in positions.tolist()]

    def prefixed_paths(self, prefix: str) -> Iterator[str]:
        """Yield all paths, with `prefix` in front."""
        if self.has_keys:
            yield from (prefix + key for key in self.files)
            return
        for start, stop in self.runs():
            folder = prefix + self._folder(self.identity_of.item(start))
            yield from (folder + file for file in self.files[start:stop])

    def _folder(self, identity: int) -> str:
        """Return the beginning of the paths of an identity."""
        name = self.identities[identity]
        if self.has_keys or name == ".":
            return ""
        return f"{name}/"

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield the range [start, stop) of the images of each identity."""
        edges = np.flatnonzero(np.diff(self.identity_of, prepend=-1, append=-1)).tolist()
        return zip(edges, edges[1:], strict=False)

    def accepted(self) -> npt.NDArray[np.bool_]:
        """Return the mask (n,) of the images that are not refused."""
        accepted = np.ones(len(self), np.bool_)
        accepted[list(self.refused)] = False
        return accepted


def list_images(identities: Sequence[Identity], limit: int | None = None) -> Listing:
    """Return the listing of all identities, or of their first `limit` images."""
    counts = [len(identity.images) for identity in identities]
    files = [file for identity in identities for file in identity.images][:limit]
    identity_of = np.repeat(np.arange(len(counts), dtype=np.int64), counts)[:limit]
    return Listing([identity.name for identity in identities], files, identity_of)


def list_set(images: ImageSet, limit: int | None = None) -> Listing:
    """Return the listing of a set of any kind, or of its first `limit` images.

    Images without an identity are in the identity ``.``.
    """
    identities = images.index.identities[:]
    identity_of = images.index.identity_of[:limit].astype(np.int64)
    if (identity_of < 0).any():
        identity_of[identity_of < 0] = len(identities)
        identities.append(".")
    blocks = (images.keys(start, stop) for start, stop in even_bounds(len(identity_of), _BLOCK))
    keys = pack_strings(chain.from_iterable(blocks))
    return Listing(identities, keys, identity_of, has_keys=True)


def refuse_names(listing: Listing, forbidden: re.Pattern[str] | None = None) -> None:
    """Refuse images whose path is not UTF-8 or matches `forbidden`."""
    for start, stop in listing.runs():
        paths = [listing.path(start), *listing.files[start + 1 : stop]]
        if "".join(paths).isascii() and not (forbidden and any(map(forbidden.search, paths))):
            continue
        for position in range(start, stop):
            path = listing.path(position)
            if not is_text(path):
                listing.refused[position] = Unlabelled(BAD_NAME, describe_bad_name(path))
            elif forbidden and forbidden.search(path):
                listing.refused[position] = Unlabelled(
                    BAD_NAME,
                    f"{path!r}: a list cannot hold tabs, line breaks, or spaces at the ends of a "
                    "name; rename the file or its folder",
                )


def refuse_bad_name(path: str, unit: str = "") -> Outcome:
    """Return the outcome of an input whose path or identity is not UTF-8."""
    return Outcome(path, BAD_NAME, describe_bad_name(path), unit)


def describe_bad_name(path: str) -> str:
    """Say which part of a path, or that the identity, is not UTF-8, and show its bytes.

    >>> describe_bad_name("\\udcff/a.jpg")
    '\\\\xff/a.jpg: the name of the folder is not UTF-8; rename the folder'
    """
    part = "identity"
    if not is_text(path):
        part = "file" if is_text(path.rpartition("/")[0]) else "folder"
    return f"{on_one_line(path)}: the name of the {part} is not UTF-8; rename the {part}"


def is_text(path: str) -> bool:
    """Return whether a path can be written as UTF-8, which a name on the disk need not be.

    >>> is_text("é"), is_text("\\udcff")
    (True, False)
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def find_twins(listing: Listing) -> list[str]:
    """Find folders with images that differ only in their suffix, such as a.jpg and a.png."""
    twins = find_repeats(hash_names(map(strip_suffix, listing.prefixed_paths(""))))
    return sorted({identity_of(listing.path(position)) for position in twins.tolist()})
