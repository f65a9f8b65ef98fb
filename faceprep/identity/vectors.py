"""A set of embeddings made ready to be compared: checked, in canonical order, of length 1 where the
metric is cosine.

Rows are numbered in the order of identity and key, whatever the order they came in, so that
everything that is found by row number is found alike. The vectors themselves stay where they are
(they may be memory-mapped) and are scaled when a block of them is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceprep.core.embeddings import COSINE, Embeddings
from faceprep.core.errors import SourceError
from faceprep.core.faces import Floats

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

DECIMALS = 6
"""Likeness is rounded to these: what float32 vectors can say, and twins at a threshold are at
the threshold.
"""
_PIECE = 256
_FEW = 1 << 9
_NAMED = 3
_SHORTEST = 1e-60
"""Squared: what is shorter, or as much longer, cannot be brought to length 1 in float32."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Rows in the order of identity and key.

    The images of identity g, `names[g]`, are the rows `starts[g]` … `starts[g + 1]` - 1; row i is
    the image `keys[order[i]]` and the vector `source[order[i]] / lengths[i]`, `squares[i]` its
    squared length after that.
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
        """Length of a vector."""
        return int(self.source.shape[1])

    @property
    def counts(self) -> Ints:
        """Images of each identity."""
        return np.diff(self.starts)

    def count(self, group: int) -> int:
        """Images of one identity."""
        return int(self.starts[group + 1] - self.starts[group])

    def key(self, row: int) -> str:
        """Of the image in `row`."""
        return self.keys[int(self.order[row])]

    def group_of(self, rows: npt.ArrayLike) -> Ints:
        """Number of the identity of each row."""
        return np.asarray(np.searchsorted(self.starts, rows, side="right") - 1, np.int64)

    def rows_of(self, groups: Sequence[int]) -> Ints:
        """All rows of these identities."""
        return np.concatenate([np.arange(self.starts[g], self.starts[g + 1]) for g in groups])

    def part(self, rows: Ints) -> Vectors:
        """Some of the images: those of `rows`, which rise."""
        groups = self.group_of(rows)
        there = np.unique(groups)
        starts = np.append(np.searchsorted(groups, there), len(rows)).astype(np.int64)
        names = [self.names[group] for group in there]
        lengths, squares = self.lengths[rows], self.squares[rows]
        return Vectors(self.source, self.order[rows], self.keys, names, starts, lengths, squares)

    def read(self, start: int, stop: int) -> Floats:
        """Rows [start, stop) of (n, d) float32, scaled."""
        return self._raw(start, stop) * (1 / self.lengths[start:stop, None]).astype(np.float32)

    def take(self, rows: npt.ArrayLike) -> Doubles:
        """The `rows` in (n, d) float64, scaled."""
        rows = np.asarray(rows, np.int64)
        return np.asarray(self.source[self.order[rows]] / self.lengths[rows, None])

    def likeness(self, left: Ints, right: Ints) -> Doubles:
        """Of the images in rows `left` and `right`, pair by pair: in float64, then rounded, so the
        same whenever asked.

        1 - |a - b|²/2, which is the cosine for vectors of length 1.
        """
        found = np.empty(len(left))
        for at in range(0, len(left), _FEW):
            apart = self.take(left[at : at + _FEW]) - self.take(right[at : at + _FEW])
            found[at : at + _FEW] = 1 - (apart * apart).sum(axis=1) / 2
        return found.round(DECIMALS)

    def pieces(self) -> Iterator[tuple[int, int, Doubles]]:
        """(start, stop, (n, d) float64 scaled) of the whole set, small enough for a core's
        cache.
        """
        for start in range(0, len(self), _PIECE):
            stop = min(start + _PIECE, len(self))
            yield start, stop, self._raw(start, stop) / self.lengths[start:stop, None]

    def _raw(self, start: int, stop: int) -> Floats:
        rows = self.order[start:stop]
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            return self.source[rows[0] : rows[-1] + 1]
        return self.source[rows]


def prepare(embeddings: Embeddings) -> Vectors:
    """Raises SourceError, with the images named, where vectors are not finite or zero.

    >>> from faceprep.core.embeddings import Model
    >>> rows = np.zeros((2, 3), "f4")
    >>> prepare(Embeddings(["b/1", "a/1"], ["b", "a"], rows, Model()))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.SourceError: vectors that cannot be compared: found 2 of length zero ...
    """
    keys, identities, n = embeddings.keys, embeddings.identities, len(embeddings)
    order = _canonical_order(keys, identities)
    names = sorted(set(identities))
    number = {name: at for at, name in enumerate(names)}
    groups = np.fromiter((number[identities[int(at)]] for at in order), np.int64, n)
    starts = np.searchsorted(groups, np.arange(len(names) + 1)).astype(np.int64)
    source = np.asarray(
        embeddings.vectors
    )  # a plain view: that of a memory map has its own slow indexing
    raw = Vectors(source, order, keys, names, starts, np.ones(n), np.ones(n))
    squares = np.empty(n)
    with np.errstate(over="ignore", invalid="ignore"):
        for start, stop, piece in raw.pieces():
            squares[start:stop] = (piece * piece).sum(axis=1)
    _refuse(raw, squares)
    if embeddings.model.metric == COSINE:
        return Vectors(source, order, keys, names, starts, np.sqrt(squares), np.ones(n))
    return Vectors(source, order, keys, names, starts, np.ones(n), squares)


def _canonical_order(keys: Sequence[str], identities: Sequence[str]) -> Ints:
    n = len(keys)
    if all((identities[i], keys[i]) <= (identities[i + 1], keys[i + 1]) for i in range(n - 1)):
        return np.arange(n)
    return np.fromiter(sorted(range(n), key=lambda i: (identities[i], keys[i])), np.int64, n)


def _refuse(vectors: Vectors, squares: Doubles) -> None:
    finite = np.isfinite(squares)
    far_off = finite & (squares > 1 / _SHORTEST)
    faults = {
        "not finite": ~finite,
        "of length zero": squares < _SHORTEST,
        "of a length beyond float32": far_off,
    }
    found = []
    for fault, where in faults.items():
        rows = np.flatnonzero(where)
        named = ", ".join(vectors.key(row) for row in rows[:_NAMED])
        if len(rows):
            found.append(f"{len(rows):,} {fault} ({named}{', …' if len(rows) > _NAMED else ''})")
    if found:
        raise SourceError(
            "vectors that cannot be compared", found=", ".join(found), remedy="Leave these out."
        )
