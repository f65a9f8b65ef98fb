"""A set of any kind as a plan sees it: image by image, grouped by identity.

A plan names an image by its path IDENTITY/NAME: the key of the image, below its identity. The
images of one identity follow one another, in the order of the set.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.io.columns import map_numbers, open_strings, pack_strings, save_strings
from faceprep.core.names import sort_names
from faceprep.core.types import Outcome
from faceprep.sets.containers import index_set, open_set
from faceprep.sets.folder import FolderSet
from faceprep.sets.image_paths import ImagePaths, path_in_identity
from faceprep.sets.image_set import ImageSet, Sample
from faceprep.sets.listing import Listing
from faceprep.sets.set_index import RELATIVE_TO

log = logging.getLogger("faceprep")
_LISTING, _ORDER, _IDENTITY_OF = "listing.json", "order.i64", "listed_identity_of.i64"
_FILES, _NAMES = "listed_files", "listed_identities"
_ROOT = "."
_BLOCK = 1 << 16
_BATCH = 4096
OF_FOLDER = "images, names, sizes and times"
"""The words in the fingerprint of a folder of images, after their number."""


@dataclass(frozen=True)
class ListedSet:
    """A set and its listing; image i of the listing is at `order[i]` in the set.

    `facts` are those of its index, `own` names what only its kind of container can hold, and
    `n_bytes` is about how many bytes the images have; a saved set has none of these.
    """

    path: str
    kind: str
    state: str
    listing: Listing
    order: Ints
    facts: Mapping[str, Any] = field(default_factory=dict)
    own: str = ""
    n_bytes: int = 0

    @property
    def is_folder(self) -> bool:
        """Return whether the images are files below `path`."""
        return self.kind == FolderSet.kind

    def first(self, n: int | None) -> ListedSet:
        """Return the first `n` images of the listing and all identities; None keeps all."""
        if n is None:
            return self
        files = pack_strings(islice(self.listing.files, n))
        listing = Listing(self.listing.identities, files, self.listing.identity_of[:n])
        n_bytes = self.n_bytes * len(files) // max(len(self.listing), 1)
        return replace(self, listing=listing, order=self.order[:n], n_bytes=n_bytes)

    def save(self, scratch: Path) -> None:
        """Save it for the workers of the run."""
        about = json.dumps([self.path, self.kind, self.state]).encode()
        storage.write_file(scratch / _LISTING, about, durable=False)
        columns = {_ORDER: self.order, _IDENTITY_OF: self.listing.identity_of}
        for name, column in columns.items():
            storage.write_file(scratch / name, column.astype("<i8").tobytes(), durable=False)
        for name, texts in {_FILES: self.listing.files, _NAMES: self.listing.identities}.items():
            save_strings(scratch / name, texts)


class People(NamedTuple):
    """The identities of a set in class order, without the images outside of one.

    `counts` (k,) are numbers of images. `places` (n,) are the images in the listing, identity by
    identity.
    """

    names: list[str]
    counts: Ints
    places: Ints


def list_people(listed: ListedSet, warns: bool = True) -> People:
    """Return the identities of a set; `warns` of images outside of one."""
    identities, identity_of = listed.listing.identities, listed.listing.identity_of
    names = [name for name in sort_names(identities) if name != _ROOT]
    if warns and len(names) < len(identities):
        log.warning("%s: images outside identity folders are skipped", listed.path)
    numbers = {name: number for number, name in enumerate(identities)}
    counts = np.bincount(identity_of, minlength=len(identities))
    starts = np.cumsum(counts) - counts
    chosen = [numbers[name] for name in names]
    spans = [np.arange(starts[number], starts[number] + counts[number]) for number in chosen]
    return People(names, counts[chosen], np.concatenate([np.zeros(0, np.int64), *spans]))


def list_source(
    path: Path, scratch: Path, may_be_empty: bool = False, relative_to: Path | None = None
) -> ListedSet:
    """Index the set at `path` and list it by identity. Raises SourceError."""
    with index_set(path, scratch, relative_to=relative_to, may_be_empty=may_be_empty) as images:
        return _group(images)


def load_listed(scratch: Path) -> ListedSet:
    """Map the set that `ListedSet.save` saved."""
    path, kind, state = json.loads(storage.read_bytes(scratch / _LISTING))
    identity_of = map_numbers(scratch / _IDENTITY_OF, "<i8")
    listing = Listing(open_strings(scratch / _NAMES), open_strings(scratch / _FILES), identity_of)
    return ListedSet(path, kind, state, listing, map_numbers(scratch / _ORDER, "<i8"))


def names_below(scratch: Path) -> str:
    """Return the folder of the relative names of the set of the run; empty where none was given."""
    with open_set(scratch) as images:
        return str(images.index.facts.get(RELATIVE_TO, ""))


def read_listed(scratch: Path, places: Sequence[int]) -> Iterator[Sample | Outcome]:
    """Yield the images at these places of the saved listing, with its paths as keys."""
    with open_listed(scratch) as read:
        yield from read(places)


@contextmanager
def open_listed(scratch: Path) -> Iterator[Callable[[Sequence[int]], Iterator[Sample | Outcome]]]:
    """Open the images of the saved listing, to be read by their places more than once."""
    listed = load_listed(scratch)
    with open_set(scratch) as images:

        def read(places: Sequence[int]) -> Iterator[Sample | Outcome]:
            positions = listed.order[np.asarray(places, np.int64)].tolist()
            for place, each in zip(places, images.read(positions), strict=True):
                yield each._replace(key=listed.listing.path(place))

        yield read


def find_paths(
    path: Path, scratch: Path, name: str, wanted: Iterable[str], relative_to: Path | None = None
) -> list[str]:
    """Index another set under `name`, and note where the images with these paths are.

    Return the paths that it has not. Raises SourceError.
    """
    with index_set(path, scratch, name, relative_to) as images:
        listed = _group(images)
    places = {each: place for place, each in enumerate(listed.listing.prefixed_paths(""))}
    missing = [each for each in wanted if each not in places]
    found = {each: int(listed.order[places[each]]) for each in wanted if each in places}
    storage.write_file(scratch / f"{name}.json", json.dumps(found).encode(), durable=False)
    return missing


def read_paths(scratch: Path, name: str, paths: Sequence[str]) -> Iterator[Sample | Outcome]:
    """Yield the images with these paths of a set that `find_paths` has indexed."""
    positions = json.loads(storage.read_bytes(scratch / f"{name}.json"))
    with open_set(scratch, name) as images:
        yield from images.read([positions[path] for path in paths])


def _group(images: ImageSet) -> ListedSet:
    identities = images.index.identities[:]
    numbers = images.index.identity_of.astype(np.int64)
    if (numbers < 0).any():
        numbers[numbers < 0] = len(identities)
        identities.append(_ROOT)
    if images.kind == FolderSet.kind:  # already grouped, but images at the root may come anywhere
        firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
        identities = [identities[number] for number in numbers[firsts].tolist()]
        numbers = np.cumsum(np.diff(numbers, prepend=-1) != 0) - 1
    order = np.argsort(numbers, kind="stable")
    files = pack_strings(_files_in(images, order, identities, numbers))
    listing = Listing(identities, files, numbers[order])
    return ListedSet(
        images.path,
        images.kind,
        state_of(images, listing),
        listing,
        order,
        images.index.facts,
        images.own,
        images.count_bytes(len(images)),
    )


def _files_in(
    images: ImageSet, order: Ints, identities: Sequence[str], numbers: Ints
) -> Iterator[str]:
    """Yield the paths below their identity of the images in this order."""
    form = ImagePaths(images).form
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        for position, key in zip(block.tolist(), _keys_at(images, block), strict=True):
            identity = identities[numbers.item(position)]
            path = path_in_identity(key, identity, form)
            yield path.removeprefix(f"{identity}/")


def _keys_at(images: ImageSet, positions: Ints) -> list[str]:
    """Return keys, absolute ones as paths in the folder that they share."""
    first, last = int(positions[0]), int(positions[-1])
    if last - first == len(positions) - 1 and (np.diff(positions) == 1).all():
        return images.plain_keys(first, last + 1)
    below = f"{images.below}/" if images.below else ""
    return [images.key(position).removeprefix(below) for position in positions.tolist()]


def state_of(images: ImageSet, listing: Listing) -> str:
    """Return the state of a set, which a plan about it records."""
    if images.kind == FolderSet.kind:
        return fingerprint_of(Path(images.path), listing)
    return images.index.fingerprint


def fingerprint_of(root: Path, listing: Listing) -> str:
    """Return a digest of the number, names, sizes and times of the images of `listing` below
    `root`.
    """
    digest = hashlib.sha256()
    paths = listing.prefixed_paths("")
    while batch := list(islice(paths, _BATCH)):
        states = [_size_and_time(f"{root}/{path}") for path in batch]
        lines = (
            f"{path}\0{size} {time}\n" for path, (size, time) in zip(batch, states, strict=True)
        )
        digest.update("".join(lines).encode("utf-8", "surrogateescape"))
    return f"{len(listing):,} {OF_FOLDER} {digest.hexdigest()[:32]}"


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        return storage.dated_size(path)
    except SourceError:  # a dangling link
        return 0, 0
