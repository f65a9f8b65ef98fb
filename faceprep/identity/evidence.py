"""Evidence of a decision on two groups of images: the pairs for it and against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faceprep.core.arrays import Ints
from faceprep.identity.similarity import find_extremes
from faceprep.identity.vectors import Vectors

NameOther = Callable[[str], str]
"""Turns the key of an image of the other set into the name that the evidence shows."""


def gather_evidence(
    vectors: Vectors,
    left: Ints,
    right: Ints,
    others: Vectors | None = None,
    name_other: NameOther = str,
) -> dict[str, Any]:
    """Return the most and the least similar images, and the numbers of images and pairs.

    With `others`, the rows in `right` are theirs. Raises ValueError if a side is empty.

    >>> import numpy as np
    >>> from faceprep.core.embeddings import Embeddings, Model
    >>> from faceprep.identity.vectors import prepare
    >>> rows = np.array([[1, 0], [3, 4], [0, 1]], "f4")
    >>> vectors = prepare(Embeddings(["1", "2", "3"], ["a", "b", "b"], rows, Model()))
    >>> gather_evidence(vectors, np.array([0]), np.array([1, 2]))
    {'for': ['1', '2', 0.6], 'against': ['1', '3', 0.0], 'images': [1, 2], 'pairs': 2}
    """
    most, least = find_extremes(vectors, left, right, others)
    theirs = others or vectors
    found: dict[str, Any] = {}
    for side, (a, b, likeness) in {"for": most, "against": least}.items():
        found[side] = [vectors.key(a), name_other(theirs.key(b)), likeness]
    return found | {"images": [len(left), len(right)], "pairs": len(left) * len(right)}
