"""Candidates from a FAISS index, for sets that are too large to compare all with all.

What is found is measured as exactly as ever; what may be missing is shown by the recall on a sample
of the rows, whose matches are also found exactly. The index (inverted lists, vectors in 8 bits)
takes about d bytes a row. It is the same for the same set and seed, up to the rounding of FAISS's
own k-means.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceprep.core.errors import MissingExtra
from faceprep.core.faces import Floats
from faceprep.core.random_order import shuffled
from faceprep.identity.similarity import BLOCK, Factors, Progress, all_pairs, sieve
from faceprep.identity.vectors import Ints

_SMALL = 20_000
_PER_LIST = 40
_SLACK = 0.005
"""How far 8 bits a number may move a likeness."""


@dataclass(slots=True)
class ApproximateSearch:
    """Takes the place of `all_pairs`; `recall` is that of the last search, once it is through.

    Up to 20,000 rows are compared exactly.
    """

    seed: int = 0
    n_sampled: int = 1000
    share_probed: float = 1 / 16
    progress: Progress | None = None
    recall: float | None = None

    def __call__(self, factors: Factors, least: float) -> Iterator[tuple[Ints, Ints]]:
        """(i, j), i < j, of which the likeness may be `least` or more; not all of them. Raises
        MissingExtra.
        """
        if factors.n <= _SMALL:
            self.recall = 1.0
            yield from all_pairs(factors, least, progress=self.progress)
            return
        index = _fill_index(factors, self.seed, self.share_probed)
        seen = [np.empty(0, np.int64)]
        sample = np.sort(shuffled(factors.n, self.seed)[: self.n_sampled])
        for at in range(0, factors.n, BLOCK):
            stop = min(at + BLOCK, factors.n)
            limits, _, found = index.range_search(
                factors.sides(at, stop)[0], least - _SLACK * factors.longest
            )
            codes = _codes(
                np.repeat(np.arange(at, stop), np.diff(limits).astype(np.int64)), found, factors.n
            )
            i, j = codes // factors.n, codes % factors.n
            seen.append(codes[np.isin(i, sample) | np.isin(j, sample)])
            if len(i):
                yield i, j
            if self.progress:
                self.progress(stop, factors.n)
        self.recall = _recall(factors, least, sample, np.concatenate(seen))


def _codes(i: Ints, j: Ints, n: int) -> Ints:
    """One number a pair of different rows, each once."""
    apart = i != j
    return np.unique(np.minimum(i, j)[apart] * n + np.maximum(i, j)[apart])


def _recall(factors: Factors, least: float, sample: Ints, seen: Ints) -> float:
    """Share of all the pairs with sampled rows that are among those seen; 1 where there are
    none.
    """
    halves = None if factors.halves is None else factors.halves[sample]
    some = Factors(
        len(sample),
        factors.dim,
        lambda start, stop: _taken(factors, sample[start:stop]),
        halves,
        factors.longest,
        True,
    )
    there = [_codes(sample[i], j, factors.n) for i, j in sieve(some, factors, least)]
    exact = np.unique(np.concatenate([np.empty(0, np.int64), *there]))
    return float(np.isin(exact, seen).mean()) if len(exact) else 1.0


def _taken(factors: Factors, rows: Ints) -> Floats:
    return np.concatenate([factors.read(row, row + 1) for row in rows.tolist()])


def _fill_index(factors: Factors, seed: int, share_probed: float) -> Any:
    """Inverted lists of the right sides, their centres found from some of them."""
    faiss = _faiss()
    n_lists = 2 * math.isqrt(factors.n)
    first = factors.sides(0, 1)[1]
    index = faiss.index_factory(first.shape[1], f"IVF{n_lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed or 1
    index.nprobe = math.ceil(n_lists * share_probed)
    some = np.sort(shuffled(factors.n, seed)[: _PER_LIST * n_lists])
    index.train(np.concatenate([factors.sides(row, row + 1)[1] for row in some.tolist()]))
    for at in range(0, factors.n, BLOCK):
        index.add(np.ascontiguousarray(factors.sides(at, min(at + BLOCK, factors.n))[1]))
    return index


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise MissingExtra(
            f"approximate search needs FAISS ({error})", remedy="pip install 'faceprep[embed]'"
        ) from error
