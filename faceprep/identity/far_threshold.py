"""A threshold for a stated false accept rate, measured on the set itself.

Pairs of identities are counted, as the linkage compares them: thresholds for single images are too
high for means. A set that is about to be merged has people under several names. Pairs that a plan
at the thresholds of the model merges are one person, and are left out. Pairs that such a plan
leaves undecided are one person or two. The rate is reported for both cases, and the threshold is
chosen as if three in four of them were two people. On drawn towns of 500 to 4,000 identities, with
and without blurry people, the real rate is 0.4 to 2.4 times the stated one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Bools, Doubles, Ints
from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import OptionError, RefusedByData
from faceprep.core.random_order import shuffled
from faceprep.core.slow_step import Progress
from faceprep.core.types import ACCEPTED
from faceprep.identity.linkage import MEAN
from faceprep.identity.merge import LikelyPairs, plan_merges
from faceprep.identity.similarity import Pairs
from faceprep.identity.vectors import Vectors, prepare

_LEAST_ACCEPTED = 10
_MOST_PAIRS = 10**10
_MOST_ACCEPTED = 10**5
_FIRST = 300
_TWO_PEOPLE = 0.75
"""The share of undecided pairs that count as two people."""


class FarThreshold(NamedTuple):
    """A threshold that accepts about the stated share of `n_pairs` pairs of different people.

    A pair is accepted if its likeness is `threshold` or more. `low` is the rate of false accepts if
    all undecided pairs are one person, and `high` if none is.
    """

    threshold: float
    low: float
    high: float
    n_pairs: int
    n_accepted: int
    n_identities: int
    """Identities whose pairs were counted: all, or a sample."""
    n_left_out: int
    """Pairs of identities left out, because the model finds that they are one person."""


def threshold_at(
    embeddings: Embeddings,
    far: float,
    linkage: str = MEAN,
    seed: int = 0,
    most_pairs: int = _MOST_PAIRS,
    progress: Progress | None = None,
) -> FarThreshold:
    """Find the threshold on the scale of likeness with a false accept rate of about `far`.

    All pairs of identities are counted, or beyond `most_pairs` (or 100,000 false accepts) all pairs
    of a sample of identities. Raises RefusedByData for a rate with fewer than ten false
    accepts among all pairs, too few for an estimate.

    >>> from faceprep.core.embeddings import Model
    >>> rows = Embeddings(["a/1", "b/1"], ["a", "b"], np.eye(2, dtype="f4"), Model())
    >>> threshold_at(rows, 0.001)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.RefusedByData: too few pairs for a false accept rate of 0.001: ...
    """
    if not 0 < far < 1:
        raise OptionError(
            "invalid false accept rate", expected="more than 0 and less than 1", found=f"{far:g}"
        )
    part = _sample(embeddings, seed, min(most_pairs, math.ceil(_MOST_ACCEPTED / far)))
    people = _find_people(part, linkage)
    n = len(people)
    sizes = np.bincount(people)
    n_left_out = int((sizes * (sizes - 1) // 2).sum())
    n_pairs = n * (n - 1) // 2 - n_left_out
    if far * n_pairs < _LEAST_ACCEPTED:
        raise _too_few(far, n_pairs)
    likeness, is_undecided = _find_alike(part, linkage, people, far * n_pairs, progress)
    expected = np.where(is_undecided, _TWO_PEOPLE, 1.0).cumsum()
    at = int(np.searchsorted(expected, far * n_pairs))
    threshold = float(likeness[min(at, len(likeness) - 1)])  # a rate that takes all pairs
    accepted = likeness >= threshold
    n_sure = int(np.count_nonzero(accepted & ~is_undecided))
    n_accepted = int(np.count_nonzero(accepted))
    rates = n_sure / n_pairs, n_accepted / n_pairs
    return FarThreshold(threshold, *rates, n_pairs, n_accepted, n, n_left_out)


def _too_few(far: float, n_pairs: int) -> RefusedByData:
    needed = f"{_LEAST_ACCEPTED} / {far:g} = {math.ceil(round(_LEAST_ACCEPTED / far, 6)):,}"
    least = _LEAST_ACCEPTED / n_pairs if n_pairs else 1.0
    step = 10.0 ** (math.floor(math.log10(least)) - 1)
    remedy = None
    if least < 1:
        remedy = f"Take a rate of {math.ceil(least / step) * step:.2g} or more."
    return RefusedByData(
        f"too few pairs for a false accept rate of {far:g}",
        expected=f"{needed} pairs of identities of different people",
        found=f"{n_pairs:,}",
        remedy=remedy,
    )


def _sample(embeddings: Embeddings, seed: int, most_pairs: int) -> Embeddings:
    """Return the embeddings of all identities, or of a sample with about `most_pairs` pairs."""
    vectors = prepare(embeddings)
    most = math.isqrt(2 * most_pairs)
    if len(vectors.names) <= most:
        return embeddings
    return _take(embeddings, vectors, shuffled(len(vectors.names), seed)[:most])


def _take(embeddings: Embeddings, vectors: Vectors, groups: Ints) -> Embeddings:
    """Return the embeddings of some identities, in canonical order."""
    rows = vectors.order[vectors.rows_of(np.sort(groups).tolist())]
    keys = [embeddings.keys[row] for row in rows.tolist()]
    identities = [embeddings.identities[row] for row in rows.tolist()]
    return Embeddings(keys, identities, embeddings.vectors[rows], embeddings.model)


def _find_people(embeddings: Embeddings, linkage: str) -> Ints:
    """Return the person (g,) of each identity, by a plan at the thresholds of the model."""
    names = sorted(set(embeddings.identities))
    people = np.arange(len(names))
    if len(names) > 1:
        numbers = {name: number for number, name in enumerate(names)}
        for decision in plan_merges(embeddings, linkage).decisions:
            if decision.verdict == ACCEPTED:
                people[numbers[decision.subject]] = numbers[decision.into]
    return people


def _find_alike(
    embeddings: Embeddings, linkage: str, people: Ints, n: float, progress: Progress | None
) -> tuple[Doubles, Bools]:
    """Return the likeness of the most similar pairs of two people, greatest first, `n` or more.

    The second array marks the undecided ones. The lower limit is estimated from the pairs of a few
    identities, and lowered if it was too high.
    """
    search = LikelyPairs(embeddings, linkage)
    step = -(-len(people) // _FIRST)
    few = LikelyPairs(_every(embeddings, step), linkage).find(-math.inf).likeness
    few = -np.sort(-few)
    share = n / (len(people) * (len(people) - 1) / 2)
    rank = max(int(2 * share * len(few)), _LEAST_ACCEPTED)
    while True:
        least = float(few[rank]) if rank < len(few) else -math.inf
        pairs = search.find(least, progress)
        likeness = _of_two_people(pairs, people)
        if _TWO_PEOPLE * len(likeness) >= n or least == -math.inf:
            return likeness, likeness >= embeddings.model.undecided_from
        rank *= 4


def _every(embeddings: Embeddings, step: int) -> Embeddings:
    """Return the embeddings of every `step`th identity."""
    vectors = prepare(embeddings)
    return _take(embeddings, vectors, np.arange(0, len(vectors.names), step))


def _of_two_people(pairs: Pairs, people: Ints) -> Doubles:
    descending: Doubles = -np.sort(-pairs.likeness[people[pairs.left] != people[pairs.right]])
    return descending
