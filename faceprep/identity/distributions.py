"""Similarity within and between identities, and the number of separable identities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faceprep.core.arrays import Floats, Ints
from faceprep.core.embeddings import Embeddings
from faceprep.core.random_order import shuffled
from faceprep.identity.matmul import multiply
from faceprep.identity.similarity import BLOCK
from faceprep.identity.vectors import Vectors, prepare

_FINE = 1000
_COARSE = 5
_QUANTILES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_EXACT = 2.0**23
_ROWS = 512


def measure(embeddings: Embeddings, most_images: int = 20_000, seed: int = 0) -> Mapping[str, Any]:
    """Return a dict for the summary: a histogram and quantiles of both kinds of pairs, and
    separable identities.

    In a set of more than `most_images`, whole identities are drawn up to that number. A drawn
    identity is compared with drawn ones only, so more of them look separable.

    An identity is separable if its two least similar images are at least as similar to each
    other as any of its images is to an image of another identity. Identities of one image are
    counted apart. Likeness is exact to about 0.0003. The histogram starts at -1, including all
    below, and edges at 1.

    >>> from faceprep.core.embeddings import Model
    >>> rows = np.array([[1, 0], [3, 4], [-1, 0.1]], "f4")
    >>> found = measure(Embeddings(["a/1", "a/2", "b/1"], ["a", "a", "b"], rows, Model()))
    >>> found["separable"], found["identities_of_two"], found["positive"]["median"]
    (1, 1, 0.6)
    """
    whole = prepare(embeddings)
    vectors = whole.subset(_drawn(whole, most_images, seed))
    counts, least, greatest = _count(vectors)
    several = vectors.counts > 1
    return {
        "images": len(vectors),
        "of_images": len(whole),
        "identities": len(vectors.names),
        "identities_of_two": int(several.sum()),
        "separable": int((several & (greatest <= least)).sum()),
        "positive": _described(counts[0]),
        "negative": _described(counts[1]),
        "histogram": {
            "from": -1.0,
            "to": 1.0,
            "positive": _coarse(counts[0]),
            "negative": _coarse(counts[1]),
        },
    }


def _drawn(vectors: Vectors, most: int, seed: int) -> Ints:
    """Return rows of identities in the order of `seed`, up to `most`; at least one identity."""
    if len(vectors) <= most:
        return np.arange(len(vectors))
    order = shuffled(len(vectors.names), seed)
    n = max(int(np.searchsorted(np.cumsum(vectors.counts[order]), most, side="right")), 1)
    return vectors.rows_of(np.sort(order[:n]).tolist())


def _count(vectors: Vectors) -> tuple[Ints, Floats, Floats]:
    """Count pairs by likeness, (2, bins), with the least positive and greatest negative of each
    identity.

    Vectors are rounded to whole numbers small enough for float32 to add their products exactly. The
    counts are therefore equal for any blocks and any number of threads.
    """
    n, n_groups = len(vectors), len(vectors.names)
    scale = np.float32(math.floor(math.sqrt(_EXACT / float(vectors.squares.max(initial=1.0)))))
    halves = ((1 - vectors.squares) / 2).astype(np.float32)
    counts = np.zeros((2, 2 * _FINE + 1), np.int64)
    least, greatest = np.full(n_groups, np.inf, np.float32), np.full(n_groups, -np.inf, np.float32)
    for across in range(0, n, BLOCK):
        columns = np.arange(across, min(across + BLOCK, n))
        right = _whole(vectors, columns, scale)
        for at in range(0, n, _ROWS):
            rows = np.arange(at, min(at + _ROWS, n))
            products = multiply(_whole(vectors, rows, scale), right) / (scale * scale)
            products += halves[rows, None] + halves[columns]
            everything = _tally(products)
            for group in _groups_of_both(vectors, rows, columns):
                own = _positions(vectors, group, rows), _positions(vectors, group, columns)
                inside = products[own]
                itself = rows[own[0], None] == columns[own[1]]
                positive = _tally(inside[~itself])
                counts[0] += positive
                everything -= positive + _tally(inside[itself])
                least[group] = min(least[group], inside[~itself].min(initial=np.inf))
                products[own] = -np.inf
            counts[1] += everything
            np.maximum.at(greatest, vectors.group_of(rows), products.max(axis=1))
    return counts // 2, least, greatest


def _whole(vectors: Vectors, rows: Ints, scale: np.float32) -> Floats:
    """Round to whole numbers from float64, so that block sizes do not matter."""
    return np.rint(vectors.take(rows) * scale).astype(np.float32)


def _groups_of_both(vectors: Vectors, rows: Ints, columns: Ints) -> range:
    """Return the identities with images among rows and among columns; both are runs."""
    first, last = vectors.group_of([max(rows[0], columns[0]), min(rows[-1], columns[-1])])
    return range(int(first), int(last) + 1)


def _positions(vectors: Vectors, group: int, run: Ints) -> slice:
    """Return the positions of an identity's images in a run of rows."""
    edges = np.clip(vectors.starts[group : group + 2] - run[0], 0, len(run))
    return slice(int(edges[0]), int(edges[1]))


def _tally(products: Floats) -> Ints:
    """Count values in steps of a thousandth from -1 to 1."""
    bins = np.rint(np.clip(products, -1, 1) * _FINE).astype(np.int16).ravel()
    return np.bincount(bins + np.int16(_FINE), minlength=2 * _FINE + 1)


def _described(counts: Ints) -> Mapping[str, Any]:
    """Return the number of pairs and the quantiles of their likeness."""
    found: dict[str, Any] = {"pairs": int(counts.sum())}
    sums = np.cumsum(counts)
    for share in _QUANTILES if sums[-1] else ():
        at = int(np.searchsorted(sums, share * sums[-1]))
        found["median" if share == 0.5 else f"{share:g}"] = (at - _FINE) / _FINE
    return found


def _coarse(counts: Ints) -> list[int]:
    """Reduce counts to four hundred steps; likeness 1 falls in the last."""
    steps = counts[:-1].reshape(-1, _COARSE).sum(axis=1)
    steps[-1] += counts[-1]
    return [int(step) for step in steps]
