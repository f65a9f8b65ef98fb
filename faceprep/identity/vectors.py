"""Embeddings that are ready for comparison: checked, in canonical order, scaled for the metric.

Rows are numbered by identity and key, regardless of the order of the input, so results do not
depend on it. The vectors stay in place (they may be memory-mapped) and are scaled when a block of
them is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import gt

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Floats, Ints
from faceprep.core.embeddings import COSINE, Embeddings
from faceprep.core.errors import SourceError
from faceprep.core.large_arrays import allocate

DECIMALS = 6
"""Decimals of a likeness. float32 holds no more, and equal pairs get equal values."""
_PIECE = 256
_PAIRS_AT_ONCE = 1 << 9
_NAMED = 3
_SHORTEST = 1e-60
"""Squared length below which, or above whose inverse, float32 cannot scale a vector to length 1."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Rows of a set, ordered by identity and key.

    The images of identity g, called `names[g]`, are the rows `starts[g]` to `starts[g + 1]` - 1.
    Row i is the image `keys[order[i]]` with the vector `source[order[i]] / lengths[i]`, whose
    squared length is `squares[i]`.
    """

    source: Floats
    order: Ints
    keys: Sequence[str]
    names: Sequence[str]
    starts: Ints
    lengths: Doubles
    squares: Doubles

    def __len__(self) -> int:
        return len(self.order)

    @property
    def dim(self) -> int:
        """The dimension of a vector."""
        return int(self.source.shape[1])

    @property
    def counts(self) -> Ints:
        """The number of images of each identity."""
        return np.diff(self.starts)

    def count(self, group: int) -> int:
        """Return the number of images of one identity."""
        return int(self.starts[group + 1] - self.starts[group])

    def key(self, row: int) -> str:
        """Return the key of the image in `row`."""
        return self.keys[int(self.order[row])]

    def group_of(self, rows: npt.ArrayLike) -> Ints:
        """Return the identity number of each row."""
        return np.asarray(np.searchsorted(self.starts, rows, side="right") - 1, np.int64)

    def rows_of(self, groups: Sequence[int]) -> Ints:
        """Return all rows of the given identities."""
        return np.concatenate([np.arange(self.starts[g], self.starts[g + 1]) for g in groups])

    def subset(self, rows: Ints) -> Vectors:
        """Select the images in `rows`, which must be in ascending order."""
        groups = self.group_of(rows)
        present = np.unique(groups)
        starts = np.append(np.searchsorted(groups, present), len(rows)).astype(np.int64)
        names = [self.names[group] for group in present]
        lengths, squares = self.lengths[rows], self.squares[rows]
        return Vectors(self.source, self.order[rows], self.keys, names, starts, lengths, squares)

    def read(self, start: int, stop: int) -> Floats:
        """Read rows [start, stop) as scaled vectors (n, d), float32."""
        return self._raw(start, stop) * (1 / self.lengths[start:stop, None]).astype(np.float32)

    def take(self, rows: npt.ArrayLike) -> Doubles:
        """Read the given rows as scaled vectors (n, d), float64."""
        rows = np.asarray(rows, np.int64)
        return np.asarray(self.source[self.order[rows]] / self.lengths[rows, None])

    def likeness(self, left: Ints, right: Ints) -> Doubles:
        """Measure the likeness of the images in rows `left` and `right`, pair by pair.

        The likeness is 1 - |a - b|²/2, which is the cosine for vectors of length 1. It is computed
        in float64 and then rounded, so a pair always has the same value.
        """
        return compare_rows(self, self, left, right)

    def pieces(self) -> Iterator[tuple[int, int, Doubles]]:
        """Yield (start, stop, vectors) of the set in pieces that fit the cache of a core.

        The vectors (n, d) are float64 and scaled.
        """
        for start in range(0, len(self), _PIECE):
            stop = min(start + _PIECE, len(self))
            yield start, stop, self._raw(start, stop) / self.lengths[start:stop, None]

    def _raw(self, start: int, stop: int) -> Floats:
        rows = self.order[start:stop]
        is_run = len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all()
        if is_run:  # a slice does not copy
            return self.source[rows[0] : rows[-1] + 1]
        return self.source[rows]


def scale_to_unit(embeddings: Embeddings) -> Embeddings:
    """Return the embeddings with vectors of length 1; zero vectors stay.

    >>> from faceprep.core.embeddings import Model
    >>> rows = np.array([[3, 4]], "f4")
    >>> scale_to_unit(Embeddings(["1"], ["a"], rows, Model())).vectors.tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    source = np.asarray(embeddings.vectors)
    scaled: Floats = allocate(source.shape, np.float32)
    for start in range(0, len(source), _PIECE):
        piece = source[start : start + _PIECE].astype(np.float64)
        lengths = np.sqrt((piece * piece).sum(axis=1, keepdims=True))
        scaled[start : start + _PIECE] = piece / np.where(lengths == 0, 1, lengths)
    return replace(embeddings, vectors=scaled)


def compare_rows(vectors: Vectors, others: Vectors, left: Ints, right: Ints) -> Doubles:
    """Measure the likeness (n,) of rows `left` of one set and `right` of another, pair by pair.

    It is computed as in `Vectors.likeness`.
    """
    found = np.empty(len(left))
    for start in range(0, len(left), _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        apart = vectors.take(left[block]) - others.take(right[block])
        found[block] = 1 - (apart * apart).sum(axis=1) / 2
    return found.round(DECIMALS)


def prepare(embeddings: Embeddings) -> Vectors:
    """Check a set of embeddings and put it into canonical order.

    Raises SourceError, with names of images, if vectors are not finite or have length zero.

    >>> from faceprep.core.embeddings import Model
    >>> rows = np.zeros((2, 3), "f4")
    >>> prepare(Embeddings(["b/1", "a/1"], ["b", "a"], rows, Model()))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.SourceError: vectors that cannot be compared: found 2 of length zero ...
    """
    keys, n = embeddings.keys, len(embeddings)
    names, order, starts = _group_rows(keys, embeddings.identities)
    source = np.asarray(embeddings.vectors)  # a plain array: indexing a memmap object is slow
    raw = Vectors(source, order, keys, names, starts, np.ones(n), np.ones(n))
    squares = np.empty(n)
    with np.errstate(over="ignore", invalid="ignore"):
        for start, stop, piece in raw.pieces():
            squares[start:stop] = (piece * piece).sum(axis=1)
    _refuse_faulty(raw, squares)
    if embeddings.model.metric == COSINE:
        return Vectors(source, order, keys, names, starts, np.sqrt(squares), np.ones(n))
    return Vectors(source, order, keys, names, starts, np.ones(n), squares)


def _group_rows(keys: Sequence[str], identities: Sequence[str]) -> tuple[list[str], Ints, Ints]:
    """Return names of identities (g,), rows by identity and key (n,), and group starts (g + 1,)."""
    names = sorted(set(identities))
    number = {name: at for at, name in enumerate(names)}
    groups = np.fromiter((number[name] for name in identities), np.int64, len(keys))
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(len(names) + 1)).astype(np.int64)
    edges = starts.tolist()
    for start, stop in zip(edges, edges[1:], strict=False):
        rows = order[start:stop].tolist()
        found = [keys[row] for row in rows]
        if any(map(gt, found, found[1:])):
            order[start:stop] = [row for _, row in sorted(zip(found, rows, strict=True))]
    return names, order, starts


def _refuse_faulty(vectors: Vectors, squares: Doubles) -> None:
    is_finite = np.isfinite(squares)
    faults = {
        "not finite": ~is_finite,
        "of length zero": squares < _SHORTEST,
        "of a length beyond float32": is_finite & (squares > 1 / _SHORTEST),
    }
    found = []
    for fault, is_faulty in faults.items():
        rows = np.flatnonzero(is_faulty)
        named = [vectors.key(row) for row in rows[:_NAMED]]
        if len(rows) > _NAMED:
            named.append("…")
        if named:
            found.append(f"{len(rows):,} {fault} ({', '.join(named)})")
    if found:
        raise SourceError(
            "vectors that cannot be compared", found=", ".join(found), remedy="Leave these out."
        )
