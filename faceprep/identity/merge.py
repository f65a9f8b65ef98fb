"""Which identities are one person: a plan, with the evidence for each decision.

Mean linkage is the default: two identities are as alike as all pairs of their images are in the
mean, so that a few look-alikes join nobody, and one bad image parts nobody. It is found from the
identities' mean vectors alone; images are compared only where a decision needs evidence. `complete`
goes by the least alike pair, `single` by the most alike one (as the rule "any pair over 0.7" does,
and like it chains), `centroid` by the directions of the means. Centroids are more alike than
images, the more so the more images there are and the more these differ: thresholds for images are
too low for them, so `centroid` needs one of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.types import ACCEPTED, MERGE, UNDECIDED, Decision
from faceprep.identity.ann import ApproximateSearch
from faceprep.identity.identity_sums import Groups, gather_groups
from faceprep.identity.linkage import (
    CENTROID,
    LINKAGES,
    MEAN,
    SINGLE,
    Bounds,
    Bridge,
    Clusters,
    Join,
    clusters_of,
    join_all,
)
from faceprep.identity.similarity import (
    Pairs,
    Progress,
    Search,
    all_pairs,
    find_centroid_pairs,
    find_extremes,
    find_maxima,
    find_mean_pairs,
)
from faceprep.identity.vectors import Vectors, prepare

log = logging.getLogger("faceprep")
_MOST_MATCHES = 50
"""More pairs an identity than this that are surely one person are not believed."""


@dataclass(frozen=True, slots=True)
class MergeRule:
    """Two identities are merged from a likeness of `surely` on, and not thought of below
    `surely_not`.

    What is None is the embedder's own, and `surely_not` at most `surely`.

    >>> MergeRule(linkage="average")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.OptionError: unknown linkage: expected mean, ... found 'average'
    """

    linkage: str = MEAN
    surely: float | None = None
    surely_not: float | None = None

    def __post_init__(self) -> None:
        if self.linkage not in LINKAGES:
            expected = f"{', '.join(LINKAGES[:-1])} or {LINKAGES[-1]}"
            raise OptionError("unknown linkage", expected=expected, found=repr(self.linkage))
        if (
            self.surely is not None
            and self.surely_not is not None
            and self.surely < self.surely_not
        ):
            raise OptionError(
                "bad thresholds",
                expected=f"surely not at most surely ({self.surely})",
                found=str(self.surely_not),
            )

    def bounds(self, model: Model) -> Bounds:
        """The two thresholds for embeddings of `model`."""
        surely = model.surely if self.surely is None else self.surely
        return Bounds(
            surely, min(model.surely_not, surely) if self.surely_not is None else self.surely_not
        )


class Merges(NamedTuple):
    """Decisions in star form: every merged identity goes `into` the one with most images (of
    several the first by name). Accepted ones first, by name; then undecided ones, nearest to
    `surely` first.
    """

    decisions: list[Decision]
    n_identities: int
    n_people: int
    """Identities that are left when the accepted decisions are carried out."""
    n_conflicts: int
    """Identities held back because their matches do not match each other."""
    recall: float = 1.0
    """Share of the pairs to look at that were found, measured on a sample; 1 where the search
    is exact.
    """


def plan_merges(
    embeddings: Embeddings,
    rule: MergeRule | None = None,
    progress: Progress | None = None,
    approximate: bool = False,
) -> Merges:
    """Raises SourceError for vectors that are not finite or zero; MissingExtra for `approximate`
    without FAISS.

    >>> rows = np.array([[1, 0], [0, 1], [0, 2], [0, 3]], "f4")
    >>> keys, identities = ["a/1", "b/1", "b/2", "c/1"], ["a", "b", "b", "c"]
    >>> plan_merges(Embeddings(keys, identities, rows, Model())).decisions[0][:4]
    ('merge', 'c', 'b', 1.0)
    """
    rule = rule or MergeRule()
    bounds = rule.bounds(embeddings.model)
    vectors = prepare(embeddings)
    groups = gather_groups(vectors)
    search = (
        ApproximateSearch(progress=progress)
        if approximate
        else partial(all_pairs, progress=progress)
    )
    pairs = _near_pairs(vectors, groups, rule.linkage, bounds.surely_not, search)
    _warn_of_a_crowd(pairs, bounds, len(groups))
    clusters, joins, bridges = join_all(
        clusters_of(groups, rule.linkage, bounds.surely_not, pairs), bounds
    )
    plan = _Plan(vectors, clusters, rule.linkage, bounds)
    accepted = sorted(plan.accepted(joins), key=lambda decision: decision.subject)
    undecided = sorted(
        plan.undecided(bridges),
        key=lambda d: (abs((d.score or 0) - bounds.surely), d.subject, d.into),
    )
    n = len(vectors.names)
    return Merges(
        [*accepted, *undecided], n, n - len(accepted), len(bridges), getattr(search, "recall", 1.0)
    )


def _warn_of_a_crowd(pairs: Pairs, bounds: Bounds, n: int) -> None:
    """Said before the joins, which take long then: a person has rarely so many identities."""
    n_sure = int(np.count_nonzero(pairs.likeness >= bounds.surely))
    if n_sure > _MOST_MATCHES * n:
        log.warning(
            "%s pairs of %s identities are alike by %.6g or more, which is far too many: the "
            "threshold is too low for"
            " this embedder, or these are not aligned faces",
            *(f"{n_sure:,}", f"{n:,}", bounds.surely),
        )


def _near_pairs(
    vectors: Vectors, groups: Groups, linkage: str, least: float, search: Search
) -> Pairs:
    if linkage == SINGLE:
        return find_maxima(vectors, least, search)
    if linkage == CENTROID:
        return find_centroid_pairs(groups, least, search)
    pairs = find_mean_pairs(groups, least, search)
    if linkage == MEAN:
        return pairs
    minima = [_least_alike(vectors, a, b) for a, b in zip(pairs.left, pairs.right, strict=True)]
    likeness = np.array(minima, np.float64)
    enough = likeness >= least
    return Pairs(pairs.left[enough], pairs.right[enough], likeness[enough])


def _least_alike(vectors: Vectors, a: int, b: int) -> float:
    return find_extremes(vectors, vectors.rows_of([a]), vectors.rows_of([b]))[1][2]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Turns clusters into decisions."""

    vectors: Vectors
    clusters: Clusters
    linkage: str
    bounds: Bounds

    def accepted(self, joins: Sequence[Join]) -> list[Decision]:
        """What is in a cluster goes into its largest identity; the score is that of the join
        that brought it there.
        """
        kept = {
            self.largest(self.clusters.identities(self.clusters.root(join.joined)))
            for join in joins
        }
        scores: dict[int, float] = {}
        for join in joins:
            sides = self.clusters.identities(join.left), self.clusters.identities(join.right)
            for one, other in (sides, sides[::-1]):
                if not kept.isdisjoint(one):
                    scores |= dict.fromkeys(other, join.likeness)
        decisions = []
        for cluster in {self.clusters.root(join.joined) for join in joins}:
            members = self.clusters.identities(cluster)
            into = self.largest(members)
            decisions += [
                self.accept(subject, into, scores[subject], len(members))
                for subject in members
                if subject != into
            ]
        return decisions

    def accept(self, subject: int, into: int, score: float, n: int) -> Decision:
        reason = f"{self.linkage} likeness {score:.3f}, at least {self.bounds.surely:.3f}"
        if n > 2:
            reason += f"; one of {n} identities that match"
        evidence = self.evidence((subject,), (into,))
        return Decision(
            MERGE, self.name(subject), self.name(into), score, reason, ACCEPTED, evidence
        )

    def undecided(self, bridges: Mapping[int, Bridge]) -> list[Decision]:
        """Of the clusters that are left, the smaller into the larger."""
        decisions = []
        for a, b, score in self.clusters.pairs(self.bounds.surely_not):
            sides = sorted(
                (self.clusters.identities(a), self.clusters.identities(b)), key=self.size
            )
            subject, into = self.name(self.largest(sides[0])), self.name(self.largest(sides[1]))
            why = [self.conflict(side, bridges[side]) for side in (a, b) if side in bridges]
            between = f"between {self.bounds.surely_not:.3f} and {self.bounds.surely:.3f}"
            reason = f"{self.linkage} likeness {score:.3f}, {'; '.join(why) or between}"
            decisions.append(
                Decision(
                    MERGE,
                    subject,
                    into,
                    score,
                    reason,
                    UNDECIDED,
                    self.evidence(sides[0], sides[1]),
                )
            )
        return decisions

    def conflict(self, cluster: int, bridge: Bridge) -> str:
        """What holds it back, for people."""
        held, one, other = (
            self.name(self.largest(side))
            for side in (self.clusters.identities(cluster), bridge.one, bridge.other)
        )
        one, other = sorted((one, other))
        return (
            f"but {held} matches {one} and {other}, which do not match each other "
            f"({bridge.likeness:.3f})"
        )

    def name(self, identity: int) -> str:
        return self.vectors.names[identity]

    def largest(self, identities: Sequence[int]) -> int:
        """The one with most images; of several the first by name."""
        return max(identities, key=lambda identity: (self.vectors.count(identity), -identity))

    def size(self, identities: Sequence[int]) -> tuple[int, int]:
        """Orders clusters: by images, then the first by name is the larger."""
        return sum(self.vectors.count(identity) for identity in identities), -self.largest(
            identities
        )

    def evidence(self, subject: Sequence[int], into: Sequence[int]) -> dict[str, Any]:
        left, right = self.vectors.rows_of(subject), self.vectors.rows_of(into)
        most, least = find_extremes(self.vectors, left, right)
        ends = {"for": most, "against": least}
        named: dict[str, Any] = {
            side: [self.vectors.key(a), self.vectors.key(b), likeness]
            for side, (a, b, likeness) in ends.items()
        }
        return named | {"images": [len(left), len(right)], "pairs": len(left) * len(right)}


def second_opinion(
    embeddings: Embeddings, decisions: Sequence[Decision], least: float | None = None
) -> list[Decision]:
    """The same decisions; accepted merges whose mean likeness in these embeddings, of another
    model, is below `least` (that model's threshold) are undecided now. The evidence of each notes
    it as `second_opinion`.

    Raises SourceError where an identity has no embeddings here.
    """
    least = embeddings.model.threshold if least is None else least
    vectors = prepare(embeddings)
    groups = gather_groups(vectors)
    number = {name: at for at, name in enumerate(vectors.names)}
    merges = [decision for decision in decisions if decision.action == MERGE]
    missing = sorted({name for decision in merges for name in decision[1:3]} - number.keys())
    if missing:
        raise SourceError("no embeddings for the second opinion", found=", ".join(missing[:3]))
    if not merges:
        return list(decisions)
    left, right = (
        groups.totals[[number[getattr(d, side)] for d in merges]] for side in ("subject", "into")
    )
    scores = iter(groups.mean_likeness(left, right).tolist())
    return [_judged(d, next(scores), least) if d.action == MERGE else d for d in decisions]


def _judged(decision: Decision, score: float, least: float) -> Decision:
    decision = decision._replace(evidence={**decision.evidence, "second_opinion": score})
    if decision.verdict != ACCEPTED or score >= least:
        return decision
    reason = f"{decision.reason}; the second opinion contradicts: {score:.3f}, below {least:.3f}"
    return decision._replace(verdict=UNDECIDED, reason=reason)
