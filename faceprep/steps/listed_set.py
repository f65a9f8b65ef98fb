"""A set of any kind as a plan sees it: image by image, grouped by identity.

A plan names an image by its path IDENTITY/NAME: the key of the image, below its identity. The
images of one identity follow one another, in the order of the set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.types import Outcome
from faceprep.sets.containers import SET, index_set, open_set
from faceprep.sets.folder import FolderSet, path_in_identity
from faceprep.sets.image_set import ImageSet, Sample
from faceprep.sets.listing import Listing

_LISTING, _ORDER = "listing.json", "order.i64"
_ROOT = "."
_BLOCK = 1 << 16


@dataclass(frozen=True)
class ListedSet:
    """A set and its listing; image i of the listing is at `order[i]` in the set."""

    path: str
    kind: str
    state: str
    listing: Listing
    order: Ints

    @property
    def is_folder(self) -> bool:
        """Return whether the images are files below `path`."""
        return self.kind == FolderSet.kind

    def first(self, n: int | None) -> ListedSet:
        """Return the first `n` images of the listing; None keeps all."""
        if n is None:
            return self
        cut = self.listing.first(n)
        return ListedSet(self.path, self.kind, self.state, cut, self.order[:n])

    def save(self, scratch: Path) -> None:
        """Save it for the workers of the run."""
        listing = self.listing
        counts = np.bincount(listing.identity_of, minlength=len(listing.identities)).tolist()
        about = [self.path, self.kind, self.state, listing.identities, counts, listing.files]
        storage.write_file(scratch / _LISTING, json.dumps(about).encode(), durable=False)
        storage.write_file(scratch / _ORDER, self.order.astype("<i8").tobytes(), durable=False)


def list_source(path: Path, scratch: Path) -> ListedSet:
    """Index the set at `path` and list it by identity. Raises SourceError."""
    with index_set(path, scratch) as images:
        return _group(images)


def load_listed(scratch: Path) -> ListedSet:
    """Load the set that `ListedSet.save` saved."""
    path, kind, state, identities, counts, files = json.loads(
        storage.read_bytes(scratch / _LISTING)
    )
    identity_of = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    order = np.frombuffer(storage.read_bytes(scratch / _ORDER), "<i8")
    return ListedSet(path, kind, state, Listing(identities, files, identity_of), order)


def read_listed(
    scratch: Path, places: Sequence[int], name: str = SET
) -> Iterator[Sample | Outcome]:
    """Yield the images at these places of the listing, with the paths of the listing as keys."""
    order: Ints = np.memmap(scratch / _ORDER, "<i8", "r")
    with open_set(scratch, name) as images:
        for each in images.read(order[np.asarray(places, np.int64)].tolist()):
            if isinstance(each, Sample):
                yield each._replace(key=path_in_identity(each))
            else:
                yield each


def _group(images: ImageSet) -> ListedSet:
    identities = images.index.identities[:]
    numbers = images.index.identity_of.astype(np.int64)
    if (numbers < 0).any():
        numbers[numbers < 0] = len(identities)
        identities.append(_ROOT)
    order = np.argsort(numbers, kind="stable")
    if (np.diff(numbers) >= 0).all():
        order = np.arange(len(numbers))
    files = [""] * len(order)
    place_of = np.empty(len(order), np.int64)
    place_of[order] = np.arange(len(order))
    for start in range(0, len(order), _BLOCK):
        for position, key in enumerate(images.keys(start, min(start + _BLOCK, len(order))), start):
            identity = identities[numbers[position]]
            path = path_in_identity(Sample(key, identity.removeprefix(_ROOT), b""))
            files[place_of[position]] = path.removeprefix(f"{identity}/")
    listing = Listing(identities, files, numbers[order])
    return ListedSet(images.path, images.kind, images.index.fingerprint, listing, order)
