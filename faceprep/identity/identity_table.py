"""One row per identity: its images, how similar they are, and the nearest other identity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Ints
from faceprep.core.embeddings import Embeddings
from faceprep.identity.identity_sums import Groups, gather_groups
from faceprep.identity.similarity import find_nearest_groups
from faceprep.identity.vectors import prepare


class IdentityRow(NamedTuple):
    """An identity: `within` is the mean likeness of its pairs of images, None for one image.

    `nearest` is the other identity of the highest mean likeness, `likeness` that value; empty and
    None where there is no other.
    """

    identity: str
    images: int
    within: float | None
    nearest: str
    likeness: float | None


class IdentityTable(NamedTuple):
    """The same as columns (g,), in the order of the names; NaN and -1 for what is not there."""

    names: Sequence[str]
    images: Ints
    within: Doubles
    nearest: Ints
    likeness: Doubles

    def rows(self) -> Iterator[IdentityRow]:
        """Yield the rows."""
        columns = (column.tolist() for column in self[1:])
        for name, n, within, nearest, likeness in zip(self.names, *columns, strict=True):
            if nearest < 0:
                yield IdentityRow(name, n, _or_none(within), "", None)
            else:
                yield IdentityRow(name, n, _or_none(within), self.names[nearest], likeness)


def _or_none(value: float) -> float | None:
    if np.isnan(value):
        return None
    return value


def measure_identities(embeddings: Embeddings) -> IdentityTable:
    """Measure each identity; every pair of identities is compared.

    Raises SourceError for vectors that are not finite or zero.

    >>> from faceprep.core.embeddings import Model
    >>> rows = np.array([[1, 0], [3, 4], [0, 1]], "f4")
    >>> found = measure_identities(Embeddings(["1", "2", "3"], ["a", "a", "b"], rows, Model()))
    >>> list(found.rows())[0]
    IdentityRow(identity='a', images=2, within=0.6, nearest='b', likeness=0.4)
    """
    vectors = prepare(embeddings)
    groups = gather_groups(vectors)
    nearest, likeness = _find_nearest(groups)
    counts = np.asarray(vectors.counts, np.int64)
    within = np.where(counts > 1, groups.likeness_within(groups.totals), np.nan)
    return IdentityTable(vectors.names, counts, within, nearest, likeness)


def _find_nearest(groups: Groups) -> tuple[Ints, Doubles]:
    """Return the nearest other identity (g,), -1 for none, and its likeness, NaN for none."""
    nearest, likeness = np.full(len(groups), -1), np.full(len(groups), np.nan)
    pairs = find_nearest_groups(groups, groups.totals, 2)
    is_other = pairs.left != pairs.right
    left, right, values = (column[is_other] for column in pairs)
    is_first = np.ones(len(left), np.bool_)
    is_first[1:] = np.diff(left) != 0
    nearest[left[is_first]], likeness[left[is_first]] = right[is_first], values[is_first]
    return nearest, likeness
