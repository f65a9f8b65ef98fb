"""Samples of the usual kind, found for thousands of members at once.

Their keys have no dots in folders and no escapes, and each has one image. This is several times as
fast as to look at one member after another, and has the same result.
"""

from __future__ import annotations

from operator import ne
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.sets.tar.names import LARGEST_CLASS, class_name, is_image
from faceprep.sets.tar.scan import Members

_LEAST = 16
_MOST_EXTENSIONS = 16
_UNUSUAL = ("%", "//", "/.", "\0.", "\0/", "/\0", "\0\0", "\0__")


class PlainSamples(NamedTuple):
    """The samples in members [first, last), as columns of entries, and all their extensions."""

    first: int
    last: int
    keys: list[str]
    identities: list[str]
    starts: list[int]
    stops: list[int]
    extensions: frozenset[str]


def find_plain_samples(members: Members) -> PlainSamples | None:
    """Find the whole samples among members: all but the first and the last.

    Return None where any of the members is unusual.
    """
    if len(members.names) < _LEAST:
        return None
    keys, _, extensions = zip(*[name.partition(".") for name in members.names], strict=True)
    numbers = {extension: i for i, extension in enumerate(dict.fromkeys(extensions))}
    joined = "\0" + "\0".join(keys) + "\0"
    if len(numbers) > _MOST_EXTENSIONS or any(text in joined for text in _UNUSUAL):
        return None
    if any("/" in extension or not extension for extension in numbers):
        return None
    edges = np.flatnonzero(list(map(ne, keys[1:], keys))) + 1
    if len(edges) < 2:
        return None
    first, last = int(edges[0]), int(edges[-1])
    begins, ends = edges[:-1], edges[1:]
    number_of = np.array([numbers[extension] for extension in extensions[first:last]])
    if not _are_single(number_of, begins - first, [is_image(name) for name in numbers]):
        return None
    found = [keys[i] for i in begins.tolist()]
    identities = [key.rpartition("/")[0] for key in found]
    if not all(identities) and "cls" in numbers:
        here = np.flatnonzero(number_of == numbers["cls"]) + first
        _read_classes(members, here, np.searchsorted(edges, here, "right") - 1, found, identities)
    stops = members.contents[ends - 1] + members.sizes[ends - 1]
    starts = members.starts[begins].tolist()
    return PlainSamples(
        first, last, found, identities, starts, stops.tolist(), frozenset(extensions[first:last])
    )


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
