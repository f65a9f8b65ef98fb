"""Plans which identities to merge as one person, with evidence for each decision.

Mean linkage is the default: the likeness of two identities is the mean over all pairs of their
images, without the outliers of their identity. A few similar images therefore do not join
two identities, and a few bad images do not separate them. It needs only the identities' mean
vectors; images are compared only for the evidence of a decision.

Blurry faces all look alike. A merge is undecided if both identities are about as similar to several
unrelated ones as to each other.

Linkage `complete` takes the least similar pair. `single` takes the most similar pair, like the rule
"any pair over 0.7", and chains as that does. `centroid` compares the directions of the means.
Centroids are more similar than images. The gap grows with the number of images and with how much
they differ. So a threshold for images is too low for `centroid`, which needs its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles
from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import SourceError
from faceprep.core.slow_step import Progress
from faceprep.core.types import ACCEPTED, MERGE, UNDECIDED, Decision
from faceprep.identity.ann import ApproximateSearch
from faceprep.identity.cores import gather_cores
from faceprep.identity.evidence import gather_evidence
from faceprep.identity.guards import CROWD, measure_crowding
from faceprep.identity.identity_sums import gather_groups
from faceprep.identity.linkage import (
    CENTROID,
    MEAN,
    SINGLE,
    Bounds,
    Bridge,
    Clusters,
    Join,
    build_clusters,
    join_all,
)
from faceprep.identity.similarity import (
    Pairs,
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
"""The number of merging pairs per identity above which the threshold is considered too low."""


class Merges(NamedTuple):
    """Decisions on identities, with counts.

    Each merged identity goes `into` the identity with the most images, or the first of several by
    name. Accepted decisions come first, by name. Undecided ones follow, nearest to the threshold
    first.
    """

    decisions: list[Decision]
    n_identities: int
    n_conflicts: int
    """The number of identities held back because their matches do not match each other."""
    recall: float = 1.0
    """The share of candidate pairs that were found, from a sample; 1 if the search is exact."""
    n_crowded: int = 0
    """The number of merges held back because both identities are similar to many others."""


def plan_merges(
    embeddings: Embeddings,
    linkage: str = MEAN,
    bounds: Bounds | None = None,
    progress: Progress | None = None,
    approximate: bool = False,
) -> Merges:
    """Plan which identities to merge, by the thresholds of the model unless `bounds` are given.

    Raises SourceError for vectors that are not finite or zero, and MissingExtra if `approximate` is
    set without FAISS.

    >>> from faceprep.core.embeddings import Model
    >>> rows = np.array([[1, 0], [0, 1], [0, 2], [0, 3]], "f4")
    >>> keys, identities = ["a/1", "b/1", "b/2", "c/1"], ["a", "b", "b", "c"]
    >>> plan_merges(Embeddings(keys, identities, rows, Model())).decisions[0][:4]
    ('merge', 'c', 'b', 1.0)
    """
    bounds = bounds or Bounds.of(embeddings.model)
    likely = LikelyPairs(embeddings, linkage)
    vectors, groups = likely.vectors, likely.groups
    approximate_search = ApproximateSearch(progress=progress)
    if approximate:
        pairs = likely.find(bounds.undecided_from, search=approximate_search.search)
    else:
        pairs = likely.find(bounds.undecided_from, progress)
    _warn_of_too_many_matches(pairs, bounds, len(groups))
    start = build_clusters(groups, linkage, bounds.undecided_from, pairs)
    clusters, joins, bridges = join_all(start, bounds)
    roots = np.array([clusters.root(identity) for identity in range(len(groups))], np.int64)
    crowding = measure_crowding(pairs, roots)
    plan = _Plan(vectors, clusters, linkage, bounds, crowding)
    merges = sorted(plan.list_merges(joins), key=lambda decision: decision.subject)
    accepted = [decision for decision in merges if decision.verdict == ACCEPTED]
    crowded = [decision for decision in merges if decision.verdict != ACCEPTED]

    def rank(decision: Decision) -> tuple[float, str, str]:
        distance = abs((decision.score or 0) - bounds.merge_from)
        return distance, decision.subject, decision.into

    undecided = sorted([*crowded, *plan.list_undecided(bridges)], key=rank)
    n = len(vectors.names)
    recall = 1.0 if approximate_search.recall is None else approximate_search.recall
    return Merges([*accepted, *undecided], n, len(bridges), recall, len(crowded))


def _warn_of_too_many_matches(pairs: Pairs, bounds: Bounds, n: int) -> None:
    """Warn before the joins, which then take long: a person rarely has so many identities."""
    n_matches = int(np.count_nonzero(pairs.likeness >= bounds.merge_from))
    if n_matches > _MOST_MATCHES * n:
        log.warning(
            "%s pairs of %s identities have a similarity of %.6g or more, which is far too many: "
            "the threshold is too low for this embedder, or these are not aligned faces",
            f"{n_matches:,}",
            f"{n:,}",
            bounds.merge_from,
        )


class LikelyPairs:
    """Identities as a linkage compares them: whole, or their cores for the mean of all pairs.

    Raises SourceError for vectors that are not finite or zero.
    """

    def __init__(self, embeddings: Embeddings, linkage: str) -> None:
        self._linkage = linkage
        self.vectors = prepare(embeddings)
        self.groups = gather_groups(self.vectors)
        if linkage == MEAN:
            model = embeddings.model
            angle = model.outlier_angle
            self.groups = gather_cores(self.vectors, self.groups, Bounds.of(model), angle)

    def find(
        self, least: float, progress: Progress | None = None, search: Search | None = None
    ) -> Pairs:
        """Find the pairs of identities with a likeness of `least` or more."""
        search = search or partial(all_pairs, progress=progress)
        if self._linkage == SINGLE:
            return find_maxima(self.vectors, least, search)
        if self._linkage == CENTROID:
            return find_centroid_pairs(self.groups, least, search)
        pairs = find_mean_pairs(self.groups, least, search)
        if self._linkage == MEAN:
            return pairs
        sides = zip(pairs.left, pairs.right, strict=True)
        likeness = np.array([_minimum(self.vectors, a, b) for a, b in sides], np.float64)
        enough = likeness >= least
        return Pairs(pairs.left[enough], pairs.right[enough], likeness[enough])


def _minimum(vectors: Vectors, a: int, b: int) -> float:
    """Return the likeness of the least similar images of two identities."""
    _, least = find_extremes(vectors, vectors.rows_of([a]), vectors.rows_of([b]))
    return least[2]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Final clusters, with methods that turn them into decisions.

    `crowding` (n,) is the likeness of each identity to several unrelated ones.
    """

    vectors: Vectors
    clusters: Clusters
    linkage: str
    bounds: Bounds
    crowding: Doubles

    def list_merges(self, joins: Sequence[Join]) -> list[Decision]:
        """List decisions that merge the members of each cluster into its largest identity.

        Those of blurry identities are undecided.

        The score is the likeness of the join that put an identity and the largest one together.
        """
        roots = {self.clusters.root(join.joined) for join in joins}
        members_of = {root: self.clusters.identities(root) for root in roots}
        into_of = {root: self.largest(members) for root, members in members_of.items()}
        kept = set(into_of.values())
        scores: dict[int, float] = {}
        for join in joins:
            sides = self.clusters.identities(join.left), self.clusters.identities(join.right)
            for one, other in (sides, sides[::-1]):
                if not kept.isdisjoint(one):
                    scores |= dict.fromkeys(other, join.likeness)
        decisions = []
        for root, members in members_of.items():
            into = into_of[root]
            for subject in members:
                if subject != into:
                    score = scores[subject]
                    decisions.append(self.judge(subject, into, score, len(members)))
        return decisions

    def judge(self, subject: int, into: int, score: float, n: int) -> Decision:
        """Merge an identity into the largest of its `n`, unless both are in a crowd."""
        reason = f"{self.linkage} similarity {score:.3f}, at least {self.bounds.merge_from:.3f}"
        if n > 2:
            reason += f"; one of {n} identities that match"
        verdict = ACCEPTED
        crowd = float(min(self.crowding[subject], self.crowding[into]))
        if crowd >= score - self.bounds.half_band:
            verdict = UNDECIDED
            reason += f"; but both reach {crowd:.3f} with {CROWD} or more unrelated identities"
        evidence = self.evidence((subject,), (into,))
        names = self.name(subject), self.name(into)
        return Decision(MERGE, *names, score, reason, verdict, evidence)

    def list_undecided(self, bridges: Mapping[int, Bridge]) -> list[Decision]:
        """List possible merges of the remaining clusters, the smaller into the larger."""
        between = f"between {self.bounds.undecided_from:.3f} and {self.bounds.merge_from:.3f}"
        decisions = []
        for a, b, score in self.clusters.pairs(self.bounds.undecided_from):
            both = self.clusters.identities(a), self.clusters.identities(b)
            smaller, larger = sorted(both, key=self.size)
            conflicts = [self.conflict(side, bridges[side]) for side in (a, b) if side in bridges]
            reason = f"{self.linkage} similarity {score:.3f}, {'; '.join(conflicts) or between}"
            names = self.name_of_largest(smaller), self.name_of_largest(larger)
            evidence = self.evidence(smaller, larger)
            decisions.append(Decision(MERGE, *names, score, reason, UNDECIDED, evidence))
        return decisions

    def conflict(self, cluster: int, bridge: Bridge) -> str:
        """Describe the two matches that hold a cluster back."""
        held = self.name_of_largest(self.clusters.identities(cluster))
        one, other = sorted(map(self.name_of_largest, (bridge.one, bridge.other)))
        return (
            f"but {held} matches {one} and {other}, which do not match each other "
            f"({bridge.likeness:.3f})"
        )

    def name(self, identity: int) -> str:
        return self.vectors.names[identity]

    def largest(self, identities: Sequence[int]) -> int:
        """Return the identity with the most images, or the first of several by name."""
        return max(identities, key=lambda identity: (self.vectors.count(identity), -identity))

    def name_of_largest(self, identities: Sequence[int]) -> str:
        return self.name(self.largest(identities))

    def size(self, identities: Sequence[int]) -> tuple[int, int]:
        """Return a sort key: the number of images, then the name, of which an earlier is larger."""
        n_images = sum(map(self.vectors.count, identities))
        return n_images, -self.largest(identities)

    def evidence(self, subject: Sequence[int], into: Sequence[int]) -> dict[str, Any]:
        vectors = self.vectors
        return gather_evidence(vectors, vectors.rows_of(subject), vectors.rows_of(into))


def second_opinion(embeddings: Embeddings, decisions: Sequence[Decision]) -> list[Decision]:
    """Check merges against embeddings of another model, and return all decisions.

    An accepted merge whose mean likeness in `embeddings` is below the threshold of that model
    becomes undecided. The evidence of each merge records the likeness as `second_opinion`. Raises
    SourceError if an identity has no embeddings here.
    """
    least = embeddings.model.threshold
    vectors = prepare(embeddings)
    groups = gather_groups(vectors)
    number = {name: at for at, name in enumerate(vectors.names)}
    merges = [decision for decision in decisions if decision.action == MERGE]
    subjects, targets = [d.subject for d in merges], [d.into for d in merges]
    missing = sorted({*subjects, *targets} - number.keys())
    if missing:
        raise SourceError("no embeddings for the second opinion", found=", ".join(missing[:3]))
    if not merges:
        return list(decisions)
    left = groups.totals[[number[name] for name in subjects]]
    right = groups.totals[[number[name] for name in targets]]
    scores = iter(groups.mean_likeness(left, right).tolist())
    judged = []
    for decision in decisions:
        if decision.action == MERGE:
            decision = _apply_score(decision, next(scores), least)
        judged.append(decision)
    return judged


def _apply_score(decision: Decision, score: float, least: float) -> Decision:
    """Record the score of the second model; an accepted merge below `least` becomes undecided."""
    decision = decision._replace(evidence={**decision.evidence, "second_opinion": score})
    if decision.verdict != ACCEPTED or score >= least:
        return decision
    reason = f"{decision.reason}; the second opinion contradicts: {score:.3f}, below {least:.3f}"
    return decision._replace(verdict=UNDECIDED, reason=reason)
