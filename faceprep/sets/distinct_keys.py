"""The keys of a set, derived from names that its container may hold.

A key is the name without the suffix of an image where all keys are then distinct, else the name,
else IDENTITY/NUMBER. All names are written first; the facts say which of the three it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Hashes, Ints
from faceprep.core.io.image_header import is_image_name
from faceprep.core.staged_file import StagedFile
from faceprep.sets.set_index import SetIndex

STEMS, NAMES, NUMBERS = "stems", "names", "numbers"
FACT = "keys"
"""The entry of the facts that says which of the three the keys are."""

_AT_ONCE = 1 << 21
log = logging.getLogger("faceprep")


def join_key(identity: str, name: str) -> str:
    """Return the name below its identity; empty where the name is not one of a file.

    >>> join_key("a", "x/1.jpg"), join_key("a", "a/b/1.jpg"), join_key("", "1"), join_key("a", "..")
    ('a/1.jpg', 'a/b/1.jpg', '1', '')
    """
    if is_path_inside(name) and (not identity or name.startswith(f"{identity}/")):
        return name
    base = name.rpartition("/")[2]
    if not is_path_inside(base):
        return ""
    return f"{identity}/{base}".removeprefix("/")


def keep_key(identity: str, name: str) -> str:
    """Return a name that was written as a key; below its identity where it has no folder.

    >>> keep_key("a", "x/1.jpg"), keep_key("a", "1"), keep_key("a", "../1")
    ('x/1.jpg', 'a/1', 'a/1')
    """
    if "/" in name and is_path_inside(name):
        return name
    return join_key(identity, name)


def is_path_inside(name: str) -> bool:
    """Return whether a path is relative and stays in its folder.

    >>> [is_path_inside(name) for name in ("a/1", "/a", "a/../b", "a//b", "")]
    [True, False, False, False, False]
    """
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


def strip_suffix(name: str) -> str:
    """Return the name without the suffix of an image.

    >>> strip_suffix("a/1.x.jpg"), strip_suffix("a/1.x")
    ('a/1.x', 'a/1.x')
    """
    if is_image_name(name):
        return name[: name.rfind(".")]
    return name


class NameHashes:
    """The hashes of names, on disk at `path`; about `n_at_once` are sorted in memory at a time."""

    def __init__(self, path: Path, n_at_once: int = _AT_ONCE) -> None:
        self._path, self._n_at_once = path, n_at_once
        self._file = StagedFile(str(path), str(path), durable=False)

    def add(self, names: Iterable[str]) -> None:
        """Add the hash of each name."""
        self._file.write(hash_names(names).astype("<u8").tobytes())

    def close(self) -> None:
        """Complete the file."""
        self._file.close()

    def remove(self) -> None:
        """Remove the file."""
        storage.remove_file(self._path)

    def are_distinct(self) -> bool:
        """Return whether all names differ, once the file is complete."""
        return not any((part[1:] == part[:-1]).any() for part in self._slices())

    def count_distinct(self) -> int:
        """Return how many different names were added, and remove the file."""
        self.close()
        n = sum(int(part.size and 1 + (part[1:] != part[:-1]).sum()) for part in self._slices())
        self.remove()
        return n

    def _slices(self) -> Iterator[Hashes]:
        """Yield all hashes in sorted slices; equal ones are in one slice."""
        n_slices = -(-(storage.size_of(self._path) or 0) // (8 * self._n_at_once))
        for number in range(n_slices):
            mine = [block[block % n_slices == number] for block in self._blocks()]
            yield np.sort(np.concatenate(mine))

    def _blocks(self) -> Iterator[Hashes]:
        with storage.ByteSource(self._path) as source:
            for offset in range(0, source.size, 8 * self._n_at_once):
                yield np.frombuffer(source.read_at(offset, 8 * self._n_at_once), "<u8")


class KeyCheck:
    """A check whether keys are distinct, some at a time: hashes on disk in `folder`.

    `kinds` are the kinds of keys to choose from, the preferred one first. About `n_at_once` hashes
    are sorted in memory at a time.
    """

    def __init__(
        self, folder: Path, kinds: Sequence[str] = (STEMS, NAMES), n_at_once: int = _AT_ONCE
    ) -> None:
        self._hashes = {kind: NameHashes(folder / f"{kind}.hashes", n_at_once) for kind in kinds}
        self._all_named, self._some_named = True, False

    def add(self, names: Sequence[str]) -> None:
        """Add the names of images, empty for one without."""
        self._all_named = self._all_named and all(names)
        self._some_named = self._some_named or any(names)
        if not self._all_named:
            return
        for kind, hashes in self._hashes.items():
            if kind == STEMS:
                hashes.add(map(strip_suffix, names))
            else:
                hashes.add(names)

    def choose(self, path: Path) -> str:
        """Return the kind of keys that is distinct, and remove the hashes.

        Warn if the names of the images of the set at `path` are no keys.
        """
        for hashes in self._hashes.values():
            hashes.close()
        found = NUMBERS
        if self._all_named:
            distinct = (kind for kind, hashes in self._hashes.items() if hashes.are_distinct())
            found = next(distinct, NUMBERS)
        for hashes in self._hashes.values():
            hashes.remove()
        if found == NUMBERS and self._some_named:
            reason = "occur more than once in an identity" if self._all_named else "are missing"
            log.warning(
                "%s: the names of its images are not used, because some %s; images are named by "
                "their number",
                path,
                reason,
            )
        return found


def read_keys(index: SetIndex, start: int, stop: int) -> list[str]:
    """Return the keys of the images [start, stop)."""
    kind = index.facts[FACT]
    if kind == NAMES:
        return index.keys[start:stop]
    if kind == STEMS:
        return [strip_suffix(name) for name in index.keys[start:stop]]
    numbers = index.identity_of[start:stop].tolist()
    folders = [f"{index.identities[number]}/" if number >= 0 else "" for number in numbers]
    return [f"{folder}{number}" for number, folder in enumerate(folders, start)]


def read_key(index: SetIndex, position: int) -> str:
    """Return the key of one image, as `read_keys` does."""
    kind = index.facts[FACT]
    if kind == NUMBERS:
        return read_keys(index, position, position + 1)[0]
    name = index.keys.read_one(position)
    if kind == STEMS:
        return strip_suffix(name)
    return name


def hash_names(names: Iterable[str]) -> Hashes:
    """Return the hash of each name (n,)."""
    digests = (
        blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names
    )
    return np.fromiter(digests, "V8").view("<u8")


def find_repeats(hashes: Hashes | Ints) -> Ints:
    """Return the positions, in ascending order, of hashes (n,) that occur before.

    >>> find_repeats(np.array([7, 5, 7, 7], np.uint64)).tolist()
    [2, 3]
    """
    in_order = np.sort(hashes)
    if not (in_order[1:] == in_order[:-1]).any():
        return np.zeros(0, np.int64)
    order = np.argsort(hashes, kind="stable")
    in_order = hashes[order]
    return np.sort(order[1:][in_order[1:] == in_order[:-1]])
