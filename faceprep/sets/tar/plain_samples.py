"""Samples of the usual kind, found for thousands of members at once.

Their keys have no dots in folders and no escapes, and each has one image. This is several times as
fast as looking at one member after another, and has the same result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Ints, Octets
from faceprep.sets.tar.names import LARGEST_CLASS, class_name, fold_label, is_image
from faceprep.sets.tar.scan import Members

LEAST = 16
"""The fewest members for which it pays to process them all at once."""
_MOST_EXTENSIONS = 16
_UNUSUAL = (b"%", b"//", b"/.", b"\0.", b"\0/", b"/\0", b"\0\0", b"\0__")
_LONGEST = 512
"""Maximum length of a name that is processed together with others."""
_DOT = ord(".")


class PlainSamples(NamedTuple):
    """The samples in members [first, last), as columns of entries, and all their extensions."""

    first: int
    last: int
    keys: list[str]
    identities: list[str]
    starts: Ints
    stops: Ints
    extensions: frozenset[str]


def find_plain_samples(members: Members) -> PlainSamples | None:
    """Find the whole samples among members: all but the first and the last.

    Return None where any of the members is unusual.
    """
    names = _name_fields(members)
    if names is None:
        return None
    keys, extensions = _split_names(names)
    numbers = {extension: i for i, extension in enumerate(dict.fromkeys(extensions))}
    edges = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    if len(numbers) > _MOST_EXTENSIONS or any(map(_is_unusual, numbers)) or len(edges) < 2:
        return None
    joined = b"\0%b\0" % b"\0".join(keys[[0, *edges.tolist()]].tolist())
    if any(text in joined for text in _UNUSUAL):
        return None
    first, last = int(edges[0]), int(edges[-1])
    begins, ends = edges[:-1], edges[1:]
    number_of = np.array([numbers[extension] for extension in extensions[first:last]])
    texts = [_as_text(extension) for extension in numbers]
    if not _are_single(number_of, begins - first, [is_image(text) for text in texts]):
        return None
    found = _as_text(joined).split("\0")[2:-2]
    identities = [key.rpartition("/")[0] for key in found]
    if not all(identities) and b"json" in numbers:
        return None  # its label may be the class
    if not all(identities) and b"cls" in numbers:
        here = np.flatnonzero(number_of == numbers[b"cls"]) + first
        _read_classes(members, here, np.searchsorted(edges, here, "right") - 1, found, identities)
    stops = members.contents[ends - 1] + members.sizes[ends - 1]
    present = frozenset(texts[number] for number in set(number_of.tolist()))
    return PlainSamples(first, last, found, identities, members.starts[begins], stops, present)


def _name_fields(members: Members) -> Octets | None:
    """Return the names (n, k), zeros behind each; None where one is very long or has zeros."""
    if not members.longer:
        return members.fields
    if any(len(name) > _LONGEST or "\0" in name for name in members.longer.values()):
        return None
    names = [name.encode("utf-8", "surrogateescape") for name in members.names]
    return np.array(names, np.bytes_).view(np.uint8).reshape(len(names), -1)


def _split_names(names: Octets) -> tuple[npt.NDArray[np.bytes_], list[bytes]]:
    """Split names (n, k) at their first dots into keys (n,) and extensions.

    A name without a dot has no key.
    """
    n, n_bytes = names.shape
    dots = (names == _DOT).argmax(axis=1)
    keys = np.where(np.arange(n_bytes) < dots[:, None], names, np.uint8(0))
    longest = n_bytes - int(dots.min())
    padded = np.zeros((n, n_bytes + longest), np.uint8)
    padded[:, :n_bytes] = names
    extensions = np.take_along_axis(padded, dots[:, None] + np.arange(1, longest + 1), 1)
    return keys.view(f"S{n_bytes}").ravel(), extensions.view(f"S{longest}").ravel().tolist()


def _is_unusual(extension: bytes) -> bool:
    text = _as_text(extension)
    return not extension or "/" in text or fold_label(text) != text


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _are_single(
    number_of: npt.NDArray[np.int64], begins: npt.NDArray[np.int64], images: list[bool]
) -> bool:
    """Return whether each sample has one image, and no extension twice."""
    n_images = np.add.reduceat(np.array(images)[number_of].astype(np.int64), begins)
    sample_of = np.zeros(len(number_of), np.int64)
    sample_of[begins[1:]] = 1
    pairs = sample_of.cumsum() * len(images) + number_of
    return bool((n_images == 1).all() and np.bincount(pairs).max() == 1)


def _read_classes(
    members: Members,
    here: npt.NDArray[np.int64],
    sample_of: npt.NDArray[np.int64],
    keys: list[str],
    identities: list[str],
) -> None:
    """Put the classes of keys without a folder in place, from members `here` of these samples."""
    begins = members.contents[here] - members.base
    ends = begins + members.sizes[here]
    placed = zip(sample_of.tolist(), begins.tolist(), ends.tolist(), strict=True)
    for sample, begin, end in placed:
        if not identities[sample] and end - begin <= LARGEST_CLASS:
            name = class_name(members.block[begin:end])
            if name:
                identities[sample] = name
                keys[sample] = f"{name}/{keys[sample]}"
