"""Guards of merging: against models that find one person everywhere, and against blurry faces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from faceprep.core.arrays import Doubles, Ints
from faceprep.core.errors import RefusedByData
from faceprep.core.types import ACCEPTED, MERGE, Decision
from faceprep.identity.similarity import Pairs

CROWD = 4
"""The number of unrelated identities from which the likeness to others tells nothing."""
_FEWEST = 4
"""Fewer identities may well be one person's."""
_FEW = 10
"""The number of identities from which half of them are too many for one person."""
_REMEDY = (
    "Choose another --embedder or a higher --threshold, or cut aligned faces with extract-photos."
)


def refuse_one_person(likeness: Mapping[str, Any], merge_from: float) -> None:
    """Raise RefusedByData if more than half of all images of two identities are alike.

    `likeness` is what `distributions.measure` returns. Sets of fewer than four identities pass.
    """
    median = likeness["negative"].get("median", -1.0)
    if likeness["identities"] >= _FEWEST and median >= merge_from:
        raise RefusedByData(
            "most identities would be one person",
            expected="a model and a threshold that tell people apart",
            found=f"a median similarity of {median:.3f} between images of two identities, above "
            f"the threshold {merge_from:.6g}",
            remedy=_REMEDY,
        )


def refuse_one_cluster(decisions: Iterable[Decision], n: int, merge_from: float) -> None:
    """Raise RefusedByData if accepted merges make one person of more than half of `n` identities.

    Sets of fewer than ten identities pass.
    """
    accepted = [each for each in decisions if each.action == MERGE and each.verdict == ACCEPTED]
    sizes = Counter(decision.into for decision in accepted)
    n_largest = 1 + max(sizes.values(), default=0)
    if n >= _FEW and 2 * n_largest > n:
        raise RefusedByData(
            "most identities would be one person",
            expected="a model, a linkage and a threshold that tell people apart",
            found=f"{n_largest:,} of {n:,} identities joined, at the threshold {merge_from:.6g}",
            remedy=_REMEDY,
        )


def measure_crowding(pairs: Pairs, clusters: Ints) -> Doubles:
    """Return the likeness (n,) of each identity to the fourth closest one of another cluster.

    `pairs` are the similar identities and `clusters` (n,) their clusters. The value is minus
    infinity where fewer identities are similar.

    >>> pairs = Pairs(np.zeros(4, int), np.arange(1, 5), np.array([0.4, 0.5, 0.3, 0.6]))
    >>> measure_crowding(pairs, np.arange(5)).tolist()
    [0.3, -inf, -inf, -inf, -inf]
    """
    is_apart = clusters[pairs.left] != clusters[pairs.right]
    left, right = pairs.left[is_apart], pairs.right[is_apart]
    ones = np.concatenate([left, right])
    likeness = np.tile(pairs.likeness[is_apart], 2)
    order = np.lexsort((-likeness, ones))
    ones, likeness = ones[order], likeness[order]
    places = np.searchsorted(ones, np.arange(len(clusters))) + CROWD - 1
    found = np.full(len(clusters), -np.inf)
    inside = places < len(ones)
    inside[inside] = ones[places[inside]] == np.flatnonzero(inside)
    found[inside] = likeness[places[inside]]
    return found
