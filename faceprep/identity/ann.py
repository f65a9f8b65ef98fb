"""Candidate pairs from a FAISS index, for sets that are too large for an exact search.

The likeness of each pair found is measured exactly. The recall on a sample of the rows, whose
matches are also searched exactly, estimates the share that is found. The index (inverted lists,
8-bit vectors) takes about d bytes per row. The same set and seed give the same index, up to the
rounding of FAISS's own k-means.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceprep.core.arrays import Floats, Ints
from faceprep.core.errors import loading
from faceprep.core.random_order import shuffled
from faceprep.core.slow_step import Progress
from faceprep.identity.similarity import BLOCK, Factors, all_pairs, sieve

_SMALL = 20_000
_PER_LIST = 40
_SLACK = 0.005
"""The most that 8-bit numbers may change a likeness."""


@dataclass(slots=True)
class ApproximateSearch:
    """An approximate replacement for `all_pairs`; up to 20,000 rows are still compared exactly.

    `recall` is the recall of the last search and is set when the search ends.
    """

    seed: int = 0
    n_sampled: int = 1000
    share_probed: float = 1 / 16
    progress: Progress | None = None
    recall: float | None = None

    def search(self, factors: Factors, least: float) -> Iterator[tuple[Ints, Ints]]:
        """Yield pairs (i, j), i < j, whose likeness may be `least` or more; some are missed.

        Raises MissingExtra if FAISS is not installed.
        """
        if factors.n <= _SMALL:
            self.recall = 1.0
            yield from all_pairs(factors, least, progress=self.progress)
            return
        index = fill_index(factors, self.seed, self.share_probed)
        seen = [np.empty(0, np.int64)]
        sample = np.sort(shuffled(factors.n, self.seed)[: self.n_sampled])
        for at in range(0, factors.n, BLOCK):
            stop = min(at + BLOCK, factors.n)
            queries = factors.sides(at, stop)[0]
            limits, _, found = index.range_search(queries, least - _SLACK * factors.longest)
            rows = np.repeat(np.arange(at, stop), np.diff(limits).astype(np.int64))
            codes = _encode_pairs(rows, found, factors.n)
            i, j = codes // factors.n, codes % factors.n
            seen.append(codes[np.isin(i, sample) | np.isin(j, sample)])
            if len(i):
                yield i, j
            if self.progress:
                self.progress(stop, factors.n)
        self.recall = _recall(factors, least, sample, np.concatenate(seen))


def _encode_pairs(i: Ints, j: Ints, n: int) -> Ints:
    """Return one number per pair of different rows, each pair once, in ascending order."""
    apart = i != j
    return np.unique(np.minimum(i, j)[apart] * n + np.maximum(i, j)[apart])


def _recall(factors: Factors, least: float, sample: Ints, seen: Ints) -> float:
    """Return the share of all pairs with sampled rows that were seen; 1 if there are none."""
    blocks = [np.empty(0, np.int64)]
    for i, j in sieve(_select(factors, sample), factors, least):
        blocks.append(_encode_pairs(sample[i], j, factors.n))
    exact = np.unique(np.concatenate(blocks))
    if not len(exact):
        return 1.0
    return float(np.isin(exact, seen).mean())


def _select(factors: Factors, rows: Ints) -> Factors:
    """Return the factors of some of the rows."""

    def read(start: int, stop: int) -> Floats:
        pieces = [factors.read(row, row + 1) for row in rows[start:stop].tolist()]
        return np.concatenate(pieces)

    halves = factors.halves
    if halves is not None:
        halves = halves[rows]
    return Factors(len(rows), factors.dim, read, halves, factors.longest, True)


def fill_index(factors: Factors, seed: int, share_probed: float) -> Any:
    """Return an index of the right sides in inverted lists; a sample of them trains the centres.

    A search looks through the `share_probed` of the lists. Raises MissingExtra without FAISS.
    """
    faiss = _import_faiss()
    n_lists = min(2 * math.isqrt(factors.n), factors.n)
    first = factors.sides(0, 1)[1]
    index = faiss.index_factory(first.shape[1], f"IVF{n_lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed or 1
    index.cp.min_points_per_centroid = 1  # with fewer than 39, FAISS prints a warning
    index.nprobe = math.ceil(n_lists * share_probed)
    sample = np.sort(shuffled(factors.n, seed)[: _PER_LIST * n_lists])
    index.train(np.concatenate([factors.sides(row, row + 1)[1] for row in sample.tolist()]))
    for at in range(0, factors.n, BLOCK):
        right = factors.sides(at, min(at + BLOCK, factors.n))[1]
        index.add(np.ascontiguousarray(right))
    return index


def _import_faiss() -> Any:
    with loading("approximate search needs FAISS ({0})", "pip install 'faceprep[embed]'"):
        return importlib.import_module("faiss")
