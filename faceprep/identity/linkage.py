"""Joins identities into clusters, most similar first, without chains through similar people.

Joins do not depend on names or order: pairs of the same likeness are ordered by the content of
their identities. A *bridge* is an identity that matches two others that do not match each other: a
face half way between two people, or a folder with photos of both. To find bridges, each identity is
compared with its cluster without it. Bridges are held back, and all else is joined again.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles
from faceprep.core.embeddings import Model
from faceprep.identity.identity_sums import Groups
from faceprep.identity.similarity import Pairs

MEAN, COMPLETE, CENTROID, SINGLE = "mean", "complete", "centroid", "single"
LINKAGES = (MEAN, COMPLETE, CENTROID, SINGLE)


class Bounds(NamedTuple):
    """Two thresholds on the likeness: join at `merge_from`, and ignore below `undecided_from`."""

    merge_from: float
    undecided_from: float

    @classmethod
    def of(cls, model: Model, merge_from: float | None = None) -> Bounds:
        """Return the thresholds of a model, or `merge_from` and one that is as far below it."""
        bounds = cls(model.merge_from, min(model.undecided_from, model.merge_from))
        if merge_from is None:
            return bounds
        return cls(merge_from, merge_from - (bounds.merge_from - bounds.undecided_from))

    @property
    def match_from(self) -> float:
        """The likeness, half way up, from which a match can contradict a join."""
        return (self.merge_from + self.undecided_from) / 2

    @property
    def half_band(self) -> float:
        """Half of the difference between the two thresholds."""
        return (self.merge_from - self.undecided_from) / 2


class Join(NamedTuple):
    """One join of two clusters into a new one."""

    left: int
    right: int
    joined: int
    likeness: float


class Bridge(NamedTuple):
    """The reason to hold a cluster back: the members of its two matches and their likeness."""

    one: tuple[int, ...]
    other: tuple[int, ...]
    likeness: float


@dataclass(slots=True)
class Clusters:
    """Identities 0 … n-1 and the clusters n, n+1, … that were joined from them.

    `near` holds every likeness of `least` or more between current clusters.
    """

    groups: Groups
    linkage: str
    least: float
    near: dict[int, dict[int, float]]
    members: dict[int, tuple[int, ...]] = field(default_factory=dict)
    totals: dict[int, Doubles] = field(default_factory=dict)
    parent: dict[int, int] = field(default_factory=dict)

    def copy(self) -> Clusters:
        """Return a copy whose joins do not change this object."""
        near = {a: dict(others) for a, others in self.near.items()}
        tables = dict(self.members), dict(self.totals), dict(self.parent)
        return Clusters(self.groups, self.linkage, self.least, near, *tables)

    def root(self, cluster: int) -> int:
        """Return the current cluster that contains `cluster`, and shorten the way to it."""
        root = cluster
        while root in self.parent:
            root = self.parent[root]
        while cluster != root:
            self.parent[cluster], cluster = root, self.parent[cluster]
        return root

    def identities(self, cluster: int) -> tuple[int, ...]:
        """Return the identities of a cluster in ascending order."""
        return self.members.get(cluster, (cluster,))

    def total(self, cluster: int) -> Doubles:
        """Return the row of totals (d + 2,) of a cluster."""
        if cluster in self.totals:
            return self.totals[cluster]
        return np.asarray(self.groups.totals[cluster])

    def join(self, a: int, b: int) -> int:
        """Join two clusters and return the number of the new one."""
        joined = len(self.groups) + len(self.members)
        self.members[joined] = tuple(sorted(self.identities(a) + self.identities(b)))
        self.totals[joined] = self.total(a) + self.total(b)
        self.parent[a] = self.parent[b] = joined
        near = self._near_of_union(a, b, joined)
        for cluster in (a, b):
            for other in self.near.pop(cluster):
                self.near[other].pop(cluster, None)
        self.near[joined] = near
        for other, likeness in near.items():
            self.near[other][joined] = likeness
        return joined

    def _near_of_union(self, a: int, b: int, joined: int) -> dict[int, float]:
        of_a, of_b = self.near[a], self.near[b]
        if self.linkage == COMPLETE:
            return {other: min(of_a[other], of_b[other]) for other in of_a.keys() & of_b.keys()}
        others = sorted((of_a.keys() | of_b.keys()) - {a, b})
        if self.linkage == SINGLE:
            none = -np.inf
            return {other: max(of_a.get(other, none), of_b.get(other, none)) for other in others}
        if not others:
            return {}
        totals = np.stack([self.total(other) for other in others])
        found = self.likeness(self.total(joined)[None], totals)
        pairs = zip(others, found.tolist(), strict=True)
        return {other: value for other, value in pairs if value >= self.least}

    def likeness(self, left: Doubles, right: Doubles) -> Doubles:
        """Measure the likeness of rows of totals.

        Linkage `centroid` compares centroids. Any other takes the mean over all pairs of images.
        """
        if self.linkage == CENTROID:
            return self.groups.centroid_likeness(left, right)
        return self.groups.mean_likeness(left, right)

    def pairs(self, least: float) -> Iterator[tuple[int, int, float]]:
        """Yield (a, b, likeness), a < b, for clusters with a likeness of `least` or more."""
        for a, others in self.near.items():
            for b, likeness in others.items():
                if a < b and likeness >= least:
                    yield a, b, likeness


def build_clusters(groups: Groups, linkage: str, least: float, pairs: Pairs) -> Clusters:
    """Make each identity a cluster; `pairs` must hold all with a likeness of `least` or more."""
    near: dict[int, dict[int, float]] = {}
    for a, b, likeness in zip(*(part.tolist() for part in pairs), strict=True):
        near.setdefault(a, {})[b] = near.setdefault(b, {})[a] = likeness
    return Clusters(groups, linkage, least, near)


def join_all(clusters: Clusters, bounds: Bounds) -> tuple[Clusters, list[Join], dict[int, Bridge]]:
    """Join until nothing more matches; return final clusters, joins in order, and final bridges.

    Joined clusters are treated as if they had been one identity from the start, until no more are
    joined. So a second plan for the result changes nothing.
    """
    joins: list[Join] = []
    while True:
        bridges: dict[int, Bridge] = {}
        while True:
            trial = clusters.copy()
            new = _join_most_alike(trial, bounds.merge_from, bridges)
            found = _find_bridges(clusters, trial, bounds, bridges)
            if not found:
                break
            bridges |= found
        if not new:
            return trial, joins, bridges
        joins += new
        clusters = trial


def _join_most_alike(
    clusters: Clusters, merge_from: float, held_back: Mapping[int, Bridge]
) -> list[Join]:
    """Join clusters in place, most similar first, and break ties by the digest of the content."""
    digests: dict[int, bytes] = {}

    def entry(a: int, b: int, likeness: float) -> tuple[float, list[bytes], int, int]:
        for cluster in (a, b):
            if cluster not in digests:
                digests[cluster] = clusters.groups.digest(clusters.total(cluster))
        return -likeness, sorted((digests[a], digests[b])), min(a, b), max(a, b)

    heap = []
    for a, b, likeness in clusters.pairs(merge_from):
        if a not in held_back and b not in held_back:
            heap.append(entry(a, b, likeness))
    heapq.heapify(heap)
    joins = []
    while heap:
        negative, _, a, b = heapq.heappop(heap)
        if a in clusters.parent or b in clusters.parent:
            continue
        joined = clusters.join(a, b)
        joins.append(Join(a, b, joined, -negative))
        for other, likeness in clusters.near[joined].items():
            if likeness >= merge_from and other not in held_back:
                heapq.heappush(heap, entry(joined, other, likeness))
    return joins


def _find_bridges(
    before: Clusters, after: Clusters, bounds: Bounds, held_back: Mapping[int, Bridge]
) -> dict[int, Bridge]:
    """Find joined clusters whose matches do not match each other, joined with them or not.

    Single linkage has no bridges.
    """
    if after.linkage == SINGLE:
        return {}
    matches: dict[int, list[int]] = {}
    for a, b, _ in before.pairs(bounds.match_from):
        if a not in held_back and b not in held_back:
            matches.setdefault(a, []).append(b)
            matches.setdefault(b, []).append(a)
    bridges = {}
    for cluster, others in matches.items():
        if after.root(cluster) == cluster:
            continue
        bridge = _weakest_match(before, after, cluster, sorted(others))
        if bridge is not None and bridge.likeness < bounds.undecided_from:
            bridges[cluster] = bridge
    return bridges


def _weakest_match(
    before: Clusters, after: Clusters, cluster: int, matches: Sequence[int]
) -> Bridge | None:
    """Return the match that is least similar to the rest of the joined cluster.

    The rest excludes both `cluster` and the match. Returns None if the rest is empty.
    """
    own = after.root(cluster)
    totals = np.stack([before.total(match) for match in matches])
    is_inside = np.array([after.root(match) == own for match in matches])
    rest = after.total(own) - before.total(cluster) - np.where(is_inside[:, None], totals, 0)
    has_rest = np.flatnonzero(rest[:, -1] > 0)
    if not len(has_rest):
        return None
    likeness = after.likeness(totals[has_rest], rest[has_rest])
    at = int(np.argmin(likeness))
    other = before.identities(matches[has_rest[at]])
    one = set(after.identities(own)) - set(before.identities(cluster)) - set(other)
    return Bridge(tuple(sorted(one)), other, float(likeness[at]))
