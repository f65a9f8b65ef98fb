"""Likeness of vectors, and pooling of image vectors to template vectors.

Likeness is ``1 - |a - b|² / 2``, higher for more alike; for vectors of length 1 it is the cosine.
"""

from __future__ import annotations

import numpy as np

from faceprep.core.arrays import Floats, Ints, Reals
from faceprep.core.embeddings import COSINE

_BLOCK = 1 << 24
"""Floats that are at work at once."""


def pair_likeness(first: Reals, second: Reals) -> Reals:
    """Compare (n, d) with (n, d), row by row; return (n,).

    >>> pair_likeness(np.eye(2, dtype="f4"), np.array([(1, 0), (0.6, 0.8)], "f4")).round(6)
    array([1. , 0.8], dtype=float32)
    """
    apart = first - second
    likeness: Reals = 1 - np.einsum("nd,nd->n", apart, apart) / 2
    return likeness


def scaled(vectors: Reals, metric: str) -> Reals:
    """Scale vectors (n, d) for comparison: to length 1 where the metric is cosine.

    Zero vectors become NaN.

    >>> scaled(np.array([(3, 4)], "f4"), "cosine").tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    if metric != COSINE:
        return vectors
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Reals = vectors / lengths[:, None]
    return unit


def pool_templates(
    vectors: Floats, templates: Ints, media: Ints, weights: Floats
) -> tuple[Ints, Floats]:
    """Pool images (n, d) to templates; return (ascending template numbers, vectors (t, d)).

    `templates` and `media` are (n,). The weighted mean of the images of a medium (a photo, a video)
    comes first, then the mean of the media of a template. This is the practice for IJB-B and IJB-C,
    up to a factor (Whitelam et al., CVPRW 2017; InsightFace's evaluation sums the media, which is
    equal at length 1). Templates with weights of 0 only become NaN.

    >>> rows, weights = np.array([[1], [3], [8]], "f4"), np.ones(3, "f4")
    >>> pool_templates(rows, *np.array([[5, 5, 5], [0, 0, 1]]), weights)
    (array([5]), array([[5.]], dtype=float32))
    """
    order = np.lexsort((media, templates))
    numbers, edges = _runs(templates[order])
    pooled = np.empty((len(numbers), vectors.shape[1]), np.float32)
    n_images = max(1, _BLOCK // max(1, vectors.shape[1]))
    start = 0
    while start < len(numbers):
        stop = max(
            start + 1, int(np.searchsorted(edges, edges[start] + n_images, side="right")) - 1
        )
        rows = order[edges[start] : edges[stop]]
        weight = weights[rows].astype(np.float32)[:, None]
        both = np.concatenate([vectors[rows] * weight, weight], axis=1)
        _, of_media = _runs(templates[rows], media[rows])
        means = np.add.reduceat(both, of_media[:-1], axis=0) / np.diff(of_media)[:, None].astype(
            np.float32
        )
        _, of_templates = _runs(templates[rows[of_media[:-1]]])
        sums = np.add.reduceat(means, of_templates[:-1], axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            pooled[start:stop] = sums[:, :-1] / sums[:, -1:]
        start = stop
    return numbers, pooled


def _runs(*columns: Ints) -> tuple[Ints, Ints]:
    """Return (first column of each run of equal rows, edges of the runs and the end)."""
    changes = np.zeros(len(columns[0]), np.bool_)
    changes[:1] = True
    for column in columns:
        changes[1:] |= column[1:] != column[:-1]
    starts = np.flatnonzero(changes)
    return columns[0][starts], np.append(starts, len(columns[0]))
