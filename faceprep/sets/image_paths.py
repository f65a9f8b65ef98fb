"""The paths IDENTITY/NAME of images: in folders, in .tar files and in plans.

A key in the folder of its identity is the path itself. Any other key becomes a name in it, in one
of two forms for a whole set:

    plain    a/1.jpg of bob is bob/a_1.jpg
    escaped  it is bob/a%2F1.jpg, 1.jpg of bob without a folder is bob/%2F1.jpg, and % is %25

The escaped form keeps all keys apart. It is chosen where the plain one gives two keys one path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

from faceprep.core.names import identity_of
from faceprep.core.shards import even_bounds
from faceprep.sets.distinct_keys import NameHashes
from faceprep.sets.image_set import ImageSet

PLAIN, ESCAPED = "plain", "escaped"
FORM = "form"
"""The setting of a writer that has the form of its paths."""
NO_IDENTITY = "."
"""The folder of an image without an identity."""

_BLOCK = 1 << 16
_SLASH, _PERCENT = "%2F", "%25"


def path_in_identity(key: str, identity: str, form: str = PLAIN) -> str:
    """Return the path of an image directly below its identity; empty or a dot is none.

    >>> path_in_identity("5/17", "5"), path_in_identity("a/1.jpg", "bob")
    ('5/17', 'bob/a_1.jpg')
    >>> [path_in_identity(key, "bob", ESCAPED) for key in ("a/1.jpg", "1.jpg", "bob/5%.jpg")]
    ['bob/a%2F1.jpg', 'bob/%2F1.jpg', 'bob/5%25.jpg']
    """
    folder = identity or NO_IDENTITY
    is_below = identity_of(key) == folder
    if is_below and form == PLAIN:
        return key
    if is_below:
        name = key.rpartition("/")[2].replace("%", _PERCENT)
    elif form == PLAIN:
        name = key.strip("/").replace("/", "_")
    else:
        name = _escape(key)
    return f"{folder}/{name}".removeprefix(f"{NO_IDENTITY}/")


def _escape(key: str) -> str:
    """Return a name with %2F in it, which differs for every key."""
    name = key.replace("%", _PERCENT).replace("/", _SLASH)
    if _SLASH not in name or name.startswith(_SLASH):
        return _SLASH + name
    return name


class ImagePaths:
    """The paths of the images of a set: two are equal only where key and identity are.

    `keys(start, stop)` are those of its images; the default is the plain keys, as in a plan.
    """

    def __init__(
        self, images: ImageSet, keys: Callable[[int, int], list[str]] | None = None
    ) -> None:
        self._images, self._keys = images, keys or images.plain_keys

    @cached_property
    def form(self) -> str:
        """Return the form of the paths; looks through the whole set once."""
        if self._images.keys_are_below or self._are_all_below():
            return PLAIN
        plain, escaped = (self._count_distinct(form) for form in (PLAIN, ESCAPED))
        if plain < escaped:
            return ESCAPED
        return PLAIN

    def read(self, start: int, stop: int) -> list[str]:
        """Return the paths of the images [start, stop)."""
        if self.form == PLAIN and self._images.keys_are_below:
            return self._keys(start, stop)
        return self._read(start, stop, self.form)

    def _read(self, start: int, stop: int, form: str) -> list[str]:
        pairs = zip(self._keys(start, stop), self._images.identities(start, stop), strict=True)
        return [path_in_identity(key, identity, form) for key, identity in pairs]

    def _are_all_below(self) -> bool:
        return all(
            identity_of(key) == (identity or NO_IDENTITY)
            for start, stop in self._bounds()
            for key, identity in zip(
                self._keys(start, stop), self._images.identities(start, stop), strict=True
            )
        )

    def _count_distinct(self, form: str) -> int:
        hashes = NameHashes(self._images.index.folder / f"{form}.hashes")
        for start, stop in self._bounds():
            hashes.add(self._read(start, stop, form))
        return hashes.count_distinct()

    def _bounds(self) -> Iterator[tuple[int, int]]:
        return even_bounds(len(self._images), _BLOCK)
