"""A threshold for a stated false-accept rate, measured on the set itself.

Impostor pairs are images of different identities. That takes the labels for the truth, and a set
that is about to be merged still has people under several names: their pairs look like impostors of
high likeness, sit exactly in the tail that is counted, and push the threshold up, the more the
lower the rate. So pairs of identities with a clear match (mean likeness) are left out; what remains
of the contamination errs towards a higher threshold, that is fewer merges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Ints
from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import OptionError
from faceprep.core.random_order import shuffled
from faceprep.identity.identity_sums import gather_groups
from faceprep.identity.similarity import Pairs, Progress, factors_of_images, find_mean_pairs, sieve
from faceprep.identity.vectors import DECIMALS, Vectors, prepare

_Z = 1.959964
"""Of a normal distribution: 95 % lie within."""
_LEAST_ACCEPTED = 10
_MOST_PAIRS = 10**10
_MOST_ACCEPTED = 10**6
_FIRST = 700


class FarThreshold(NamedTuple):
    """A threshold that accepts at most the stated share of `n_pairs` impostor pairs.

    A pair is accepted if its likeness is `threshold` or more. `low` and `high` are the 95 %
    confidence interval of the false-accept rate.
    """

    threshold: float
    low: float
    high: float
    n_pairs: int
    n_accepted: int
    n_images: int
    """Images whose pairs were counted: all, or a sample."""
    n_left_out: int
    """Pairs of images left out, because their identities clearly match."""


def threshold_at(
    embeddings: Embeddings,
    far: float,
    seed: int = 0,
    most_pairs: int = _MOST_PAIRS,
    progress: Progress | None = None,
) -> FarThreshold:
    """Find the lowest threshold on the scale of likeness with a false-accept rate of at most `far`.

    All pairs are counted, or beyond `most_pairs` (or a million false accepts) all pairs of a sample
    of images. The interval treats pairs as independent, which pairs that share an image are not
    quite. Raises OptionError for a rate with fewer than ten false accepts among all pairs, too few
    for an estimate.

    >>> from faceprep.core.embeddings import Model
    >>> rows = Embeddings(["a/1", "b/1"], ["a", "b"], np.eye(2, dtype="f4"), Model())
    >>> threshold_at(rows, 0.001)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.OptionError: too few pairs for a false-accept rate of 0.001: ...
    """
    if not 0 < far < 1:
        raise OptionError(
            "bad false-accept rate", expected="more than 0 and less than 1", found=f"{far:g}"
        )
    vectors = prepare(embeddings)
    rows = _sample(len(vectors), seed, min(most_pairs, math.ceil(_MOST_ACCEPTED / far)))
    impostors = _Impostors(
        vectors, rows, find_mean_pairs(gather_groups(vectors), embeddings.model.merge_from)
    )
    n_pairs = impostors.n_pairs
    if far * n_pairs < _LEAST_ACCEPTED:
        raise _too_few(far, n_pairs)
    allowed = int(far * n_pairs)
    likeness = impostors.greatest(allowed + 1, far, progress)
    threshold = round(float(likeness[allowed]) + 10.0**-DECIMALS, DECIMALS)
    accepted = int((likeness >= threshold).sum())
    low, high = wilson_interval(accepted, n_pairs)
    return FarThreshold(threshold, low, high, n_pairs, accepted, len(rows), impostors.n_left_out)


def wilson_interval(k: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, k of n.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    >>> [round(end, 4) for end in wilson_interval(10, 1000)]
    [0.0054, 0.0183]
    """
    share, z2 = k / n, _Z * _Z / n
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z / (1 + z2) * math.sqrt(share * (1 - share) / n + z2 / (4 * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _too_few(far: float, n_pairs: int) -> OptionError:
    needed = f"{_LEAST_ACCEPTED} / {far:g} = {math.ceil(round(_LEAST_ACCEPTED / far, 6)):,}"
    least = _LEAST_ACCEPTED / n_pairs if n_pairs else 1.0
    step = 10.0 ** (math.floor(math.log10(least)) - 1)
    return OptionError(
        f"too few pairs for a false-accept rate of {far:g}",
        expected=f"{needed} pairs of images of different people",
        found=f"{n_pairs:,}",
        remedy=f"Take a rate of {math.ceil(least / step) * step:.2g} or more."
        if least < 1
        else None,
    )


def _sample(n: int, seed: int, most_pairs: int) -> Ints:
    """Return rows, rising: all, or a sample with about `most_pairs` pairs."""
    most = math.isqrt(2 * most_pairs)
    if n <= most:
        return np.arange(n)
    return np.sort(shuffled(n, seed)[:most])


@dataclass(frozen=True, slots=True)
class _Impostors:
    """Pairs of `rows` of different identities, without the pairs of identities in `same`."""

    vectors: Vectors
    rows: Ints
    same: Pairs

    @property
    def n_left_out(self) -> int:
        counts = self._counts()
        return int((counts[self.same.left] * counts[self.same.right]).sum())

    @property
    def n_pairs(self) -> int:
        counts = self._counts()
        return (len(self.rows) ** 2 - int((counts**2).sum())) // 2 - self.n_left_out

    def _counts(self) -> Ints:
        return np.bincount(self.vectors.group_of(self.rows), minlength=len(self.vectors.names))

    def greatest(self, n: int, far: float, progress: Progress | None) -> Doubles:
        """Return the likenesses of at least the `n` most similar pairs, greatest first.

        The lower limit is estimated from the pairs of a few images, and lowered if it was too high.
        """
        few = _Impostors(self.vectors, self.rows[:: -(-len(self.rows) // _FIRST)], self.same).alike(
            -math.inf, None
        )
        rank = max(int(2 * far * len(few)), _LEAST_ACCEPTED)
        while True:
            found = self.alike(float(few[rank]) if rank < len(few) else -math.inf, progress)
            if len(found) >= n:
                return found
            rank *= 4

    def alike(self, least: float, progress: Progress | None) -> Doubles:
        """Return likenesses of at least `least`, greatest first."""
        part, groups, n = (
            self.vectors.subset(self.rows),
            self.vectors.group_of(self.rows),
            len(self.vectors.names),
        )
        left_out = self.same.left * n + self.same.right
        found = [np.empty(0)]
        for i, j in sieve(factors_of_images(part), None, least, progress=progress):
            a, b = groups[i], groups[j]
            apart = (a != b) & ~np.isin(a * n + b, left_out)
            likeness = part.likeness(i[apart], j[apart])
            found.append(likeness[likeness >= least])
        return -np.sort(-np.concatenate(found))
