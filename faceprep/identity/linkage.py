"""Joining identities, most alike first, without chaining through look-alikes.

Joins do not depend on names or order: equal likenesses are ordered by what the identities are
made of. A *bridge* is an identity that matches two that do not match each other (a face half way
between two people, a folder with photos of both): it is found by taking it out of its cluster, held
back, and everything is joined again without it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from faceprep.identity.identity_sums import Groups
from faceprep.identity.similarity import Pairs
from faceprep.identity.vectors import Doubles

MEAN, COMPLETE, CENTROID, SINGLE = "mean", "complete", "centroid", "single"
LINKAGES = (MEAN, COMPLETE, CENTROID, SINGLE)


class Bounds(NamedTuple):
    """Joined from `surely` on; not thought of below `surely_not`."""

    surely: float
    surely_not: float

    @property
    def rival(self) -> float:
        """Likeness from which another match speaks against a join: half way up."""
        return (self.surely + self.surely_not) / 2


class Join(NamedTuple):
    """Two clusters became a new one."""

    left: int
    right: int
    joined: int
    likeness: float


class Bridge(NamedTuple):
    """Why a cluster is held back: its two matches, members of each, and how alike those two are."""

    one: tuple[int, ...]
    other: tuple[int, ...]
    likeness: float


@dataclass(slots=True)
class Clusters:
    """Identities 0 … n-1 and the clusters n, n+1, … that were made of them; `near` has all
    likenesses that matter.
    """

    groups: Groups
    linkage: str
    least: float
    near: dict[int, dict[int, float]]
    members: dict[int, tuple[int, ...]] = field(default_factory=dict)
    totals: dict[int, Doubles] = field(default_factory=dict)
    parent: dict[int, int] = field(default_factory=dict)

    def copy(self) -> Clusters:
        """One that can be joined further without changing this one."""
        near = {a: dict(others) for a, others in self.near.items()}
        tables = dict(self.members), dict(self.totals), dict(self.parent)
        return Clusters(self.groups, self.linkage, self.least, near, *tables)

    def root(self, cluster: int) -> int:
        """The cluster that it is part of now."""
        while cluster in self.parent:
            cluster = self.parent[cluster]
        return cluster

    def identities(self, cluster: int) -> tuple[int, ...]:
        """In rising order."""
        return self.members.get(cluster, (cluster,))

    def total(self, cluster: int) -> Doubles:
        """Its row of totals (d + 2,)."""
        return self.totals[cluster] if cluster in self.totals else self.groups.totals[cluster]

    def join(self, a: int, b: int) -> int:
        """The number of the union."""
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
            return {
                other: max(of_a.get(other, -np.inf), of_b.get(other, -np.inf)) for other in others
            }
        if not others:
            return {}
        found = self.likeness(
            self.total(joined)[None], np.stack([self.total(other) for other in others])
        )
        return {
            other: value
            for other, value in zip(others, found.tolist(), strict=True)
            if value >= self.least
        }

    def likeness(self, left: Doubles, right: Doubles) -> Doubles:
        """Of rows of totals: that of centroids for the linkage centroid, else the mean of all
        pairs of images.
        """
        return (
            self.groups.centroid_likeness if self.linkage == CENTROID else self.groups.mean_likeness
        )(left, right)

    def pairs(self, least: float) -> Iterator[tuple[int, int, float]]:
        """(a, b, likeness), a < b, of the clusters that are alike by `least` or more."""
        for a, others in self.near.items():
            for b, likeness in others.items():
                if a < b and likeness >= least:
                    yield a, b, likeness


def clusters_of(groups: Groups, linkage: str, least: float, pairs: Pairs) -> Clusters:
    """One cluster an identity; `pairs` are all that are alike by `least` or more."""
    near: dict[int, dict[int, float]] = {}
    for a, b, likeness in zip(*(part.tolist() for part in pairs), strict=True):
        near.setdefault(a, {})[b] = near.setdefault(b, {})[a] = likeness
    return Clusters(groups, linkage, least, near)


def join_all(clusters: Clusters, bounds: Bounds) -> tuple[Clusters, list[Join], dict[int, Bridge]]:
    """The clusters at the end, the joins in order, and the bridges that are held back at the end.

    What is joined is looked at again as if it had always been one, until nothing more is joined: so
    the outcome, planned again, is left as it is.
    """
    joins: list[Join] = []
    while True:
        bridges: dict[int, Bridge] = {}
        while True:
            trial = clusters.copy()
            new = _join_most_alike(trial, bounds.surely, bridges)
            found = (
                {} if trial.linkage == SINGLE else _find_bridges(clusters, trial, bounds, bridges)
            )
            if not found:
                break
            bridges |= found
        if not new:
            return trial, joins, bridges
        joins += new
        clusters = trial


def _join_most_alike(clusters: Clusters, surely: float, held_back: dict[int, Bridge]) -> list[Join]:
    """Joins in place, most alike first; of several alike those whose content comes first."""
    digests: dict[int, bytes] = {}

    def entry(a: int, b: int, likeness: float) -> tuple[float, list[bytes], int, int]:
        for cluster in (a, b):
            if cluster not in digests:
                digests[cluster] = clusters.groups.digest(clusters.total(cluster))
        return -likeness, sorted((digests[a], digests[b])), min(a, b), max(a, b)

    heap = [entry(*pair) for pair in clusters.pairs(surely) if not held_back.keys() & set(pair[:2])]
    heapq.heapify(heap)
    joins = []
    while heap:
        negative, _, a, b = heapq.heappop(heap)
        if a in clusters.parent or b in clusters.parent:
            continue
        joined = clusters.join(a, b)
        joins.append(Join(a, b, joined, -negative))
        for other, likeness in clusters.near[joined].items():
            if likeness >= surely and other not in held_back:
                heapq.heappush(heap, entry(joined, other, likeness))
    return joins


def _find_bridges(
    before: Clusters, after: Clusters, bounds: Bounds, held_back: dict[int, Bridge]
) -> dict[int, Bridge]:
    """What was joined although its matches do not match each other, be they joined with it or
    not.
    """
    matches: dict[int, list[int]] = {}
    for a, b, _ in before.pairs(bounds.rival):
        if a not in held_back and b not in held_back:
            matches.setdefault(a, []).append(b)
            matches.setdefault(b, []).append(a)
    bridges = {}
    for cluster, others in matches.items():
        bridge = (
            _bridge(before, after, cluster, sorted(others))
            if after.root(cluster) != cluster
            else None
        )
        if bridge is not None and bridge.likeness < bounds.surely_not:
            bridges[cluster] = bridge
    return bridges


def _bridge(before: Clusters, after: Clusters, cluster: int, matches: list[int]) -> Bridge | None:
    """The match that is least like the rest of what `cluster` was joined with, that is without
    both.
    """
    own = after.root(cluster)
    totals = np.stack([before.total(match) for match in matches])
    inside = np.array([after.root(match) == own for match in matches])
    rest = after.total(own) - before.total(cluster) - np.where(inside[:, None], totals, 0)
    there = np.flatnonzero(rest[:, -1] > 0)
    if not len(there):
        return None
    likeness = after.likeness(totals[there], rest[there])
    at = int(np.argmin(likeness))
    other = before.identities(matches[there[at]])
    one = set(after.identities(own)) - set(before.identities(cluster)) - set(other)
    return Bridge(tuple(sorted(one)), other, float(likeness[at]))
