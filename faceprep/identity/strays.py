"""Strays: images that do not match the rest of their identity, such as those of somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.large_arrays import allocate
from faceprep.core.shards import even_bounds
from faceprep.identity.identity_sums import Groups, gather_images
from faceprep.identity.vectors import Vectors

_AT_ONCE = 1 << 12


def find_strays(vectors: Vectors, groups: Groups, least: float) -> Ints:
    """Return the rows of images whose mean likeness to the rest of their identity is below `least`.

    A single image has no rest, so it is none.

    >>> from faceprep.core.embeddings import Embeddings, Model
    >>> from faceprep.identity.identity_sums import gather_groups
    >>> from faceprep.identity.vectors import prepare
    >>> rows = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]], "f4")
    >>> vectors = prepare(Embeddings(list("12345"), list("aaaab"), rows, Model()))
    >>> find_strays(vectors, gather_groups(vectors), 0.5).tolist()
    [3]
    """
    return np.concatenate([np.zeros(0, np.int64), *_find_strays(vectors, groups, least)])


def _find_strays(vectors: Vectors, groups: Groups, least: float) -> Iterator[Ints]:
    has_rest = vectors.counts > 1
    for start, stop in even_bounds(len(vectors), _AT_ONCE):
        rows = np.arange(start, stop)
        rows = rows[has_rest[vectors.group_of(rows)]]
        images = gather_images(vectors, groups, rows)
        rest = groups.totals[vectors.group_of(rows)] - images
        yield rows[groups.mean_likeness(images, rest) < least]


def separate_strays(vectors: Vectors, groups: Groups, strays: Ints) -> Groups:
    """Return the identities without their strays, followed by each stray as one of its own.

    An identity of strays alone keeps them all.
    """
    n = len(groups)
    totals = allocate((n + len(strays), groups.totals.shape[1]), np.float64)
    totals[:n] = groups.totals
    for start, stop in even_bounds(len(strays), _AT_ONCE):
        images = gather_images(vectors, groups, strays[start:stop])
        totals[n + start : n + stop] = images
        own, firsts = np.unique(vectors.group_of(strays[start:stop]), return_index=True)
        totals[own] -= np.add.reduceat(images, firsts)
    is_empty = totals[:n, -1] == 0
    totals[:n][is_empty] = groups.totals[is_empty]
    return replace(groups, totals=totals)
