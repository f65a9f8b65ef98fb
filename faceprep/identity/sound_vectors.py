"""Rows of embeddings that cannot be compared: faulty vectors, and names that occur twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Floats, Ints
from faceprep.core.embeddings import Embeddings
from faceprep.core.io.columns import Column
from faceprep.core.large_arrays import allocate

NOT_FINITE, ZERO_VECTOR, DUPLICATE_NAME = "not_finite", "zero_vector", "duplicate_name"
REASONS = {
    NOT_FINITE: "its vector has values that are not finite",
    ZERO_VECTOR: "its vector is zero",
    DUPLICATE_NAME: "another embedding before it has this name",
}
_BLOCK = 1 << 12
_SHORTEST, _LONGEST = 1e-60, 1e60
"""Squared lengths between which float32 can scale a vector to length 1."""
_SURE = 1e-30, 1e30
"""Squared lengths in float32 that need no second look."""


class FaultyRow(NamedTuple):
    """A row of embeddings that cannot be compared, with its status, a key of `REASONS`."""

    row: int
    status: str


class Faults(NamedTuple):
    """The faulty rows of embeddings, by kind, each (k,) in ascending order."""

    not_finite: Ints
    zero_vector: Ints
    duplicate_name: Ints

    @property
    def rows(self) -> Ints:
        """All faulty rows, in ascending order, each once."""
        return np.unique(np.concatenate(self))

    def named(self) -> Iterator[FaultyRow]:
        """Yield each faulty row once, in ascending order, with its first status."""
        status_of: dict[int, str] = {}
        for status, rows in zip(REASONS, self, strict=True):
            for row in rows.tolist():
                status_of.setdefault(row, status)
        yield from (FaultyRow(row, status_of[row]) for row in sorted(status_of))


def find_faults(embeddings: Embeddings) -> Faults:
    """Find the rows that cannot be compared, and those whose name an earlier row has.

    >>> from faceprep.core.embeddings import Model
    >>> rows = np.array([[1, 0], [0, 0], [np.nan, 1], [0, 1]], "f4")
    >>> keys = ["a/1", "a/2", "b/1", "a/1"]
    >>> list(find_faults(Embeddings(keys, ["a", "a", "b", "a"], rows, Model())).named())
    [FaultyRow(row=1, status='zero_vector'), FaultyRow(row=2, status='not_finite'), \
FaultyRow(row=3, status='duplicate_name')]
    """
    vectors = np.asarray(embeddings.vectors)
    return Faults(*_find_faulty(vectors), _find_repeated(embeddings.keys))


def find_faulty_vectors(vectors: Floats) -> Iterator[FaultyRow]:
    """Yield the rows of vectors (n, d) that cannot be compared.

    >>> list(find_faulty_vectors(np.zeros((1, 2), "f4")))
    [FaultyRow(row=0, status='zero_vector')]
    """
    yield from Faults(*_find_faulty(vectors), np.empty(0, np.int64)).named()


def _find_faulty(vectors: Floats) -> tuple[Ints, Ints]:
    """Return the rows of vectors that are not finite, and of those that are zero."""
    squares = _square_all(vectors)
    is_usable = np.isfinite(squares) & (squares <= _LONGEST)
    return np.flatnonzero(~is_usable), np.flatnonzero(squares < _SHORTEST)


def _square_all(vectors: Floats) -> Doubles:
    """Return squared lengths (n,): exact to float32, and in float64 where float32 may fail."""
    squares = np.empty(len(vectors))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(vectors), _BLOCK):
            piece = vectors[start : start + _BLOCK]
            found = np.einsum("nd,nd->n", piece, piece).astype(np.float64)
            doubtful = np.flatnonzero(~((found > _SURE[0]) & (found < _SURE[1])))
            again = piece[doubtful].astype(np.float64)
            found[doubtful] = (again * again).sum(axis=1)
            squares[start : start + _BLOCK] = found
    return squares


def _find_repeated(keys: Sequence[str]) -> Ints:
    """Return the rows (k,) whose key an earlier row has, in ascending order.

    Keys with equal hashes are compared as strings.
    """
    hashes = np.fromiter(map(hash, keys), np.int64, len(keys))
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    is_same = ranked[1:] == ranked[:-1]
    if not is_same.any():
        return np.empty(0, np.int64)
    ends = np.append(is_same, False) | np.insert(is_same, 0, False)
    seen: set[str] = set()
    repeated = []
    for row in np.sort(order[ends]).tolist():
        key = keys[row]
        if key in seen:
            repeated.append(row)
        seen.add(key)
    return np.array(repeated, np.int64)


def leave_out(embeddings: Embeddings, rows: Ints) -> Embeddings:
    """Return the embeddings without some rows; without any, the same object."""
    if not len(rows):
        return embeddings
    kept = np.delete(np.arange(len(embeddings)), rows)
    source = np.asarray(embeddings.vectors)
    vectors: Floats = allocate((len(kept), source.shape[1]), np.float32)
    for start in range(0, len(kept), _BLOCK):
        vectors[start : start + _BLOCK] = source[kept[start : start + _BLOCK]]
    keys, identities = (
        ChosenStrings(texts, kept) for texts in (embeddings.keys, embeddings.identities)
    )
    return Embeddings(keys, identities, vectors, embeddings.model)


class ChosenStrings(Column):
    """Some strings of a column: those at `places` (n,)."""

    def __init__(self, texts: Sequence[str], places: Ints) -> None:
        self._texts, self._places = texts, places

    def __len__(self) -> int:
        return len(self._places)

    def read(self, start: int, stop: int) -> list[str]:
        places = self._places[start:stop].tolist()
        if not places:
            return []
        first, last = min(places), max(places)
        if last - first >= 2 * len(places):
            return [self._texts[place] for place in places]
        block = self._texts[first : last + 1]
        return [block[place - first] for place in places]

    def read_one(self, at: int) -> str:
        return self._texts[self._places.item(at)]
