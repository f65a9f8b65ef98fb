"""Plans which identities and images to leave out because they show somebody of another set.

An identity is decided upon as a whole where its images agree: those that match a person of the
other set also match the rest of the identity. Then the mean likeness of all pairs of images counts,
as in merging. Where they disagree, the identity holds several people, and each image is compared
with the people of the other set. In that set, an image that does not match the rest of its identity
counts as a person of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.arrays import Bools, Doubles, Ints
from faceprep.core.embeddings import Embeddings
from faceprep.core.random_order import shuffled
from faceprep.core.slow_step import Progress
from faceprep.core.types import ACCEPTED, DROP, UNDECIDED, Decision
from faceprep.identity.evidence import NameOther, gather_evidence
from faceprep.identity.identity_sums import Groups, compare_groups, gather_groups, gather_images
from faceprep.identity.linkage import Bounds
from faceprep.identity.similarity import (
    BLOCK,
    Factors,
    Pairs,
    factors_of_groups,
    factors_of_images,
    keep_greatest,
    ordered,
    sieve,
    with_equal_sides,
)
from faceprep.identity.strays import find_strays, separate_strays
from faceprep.identity.vectors import Vectors, prepare

_N_RIVALS, _FEW = 5, 3
_DRAWN = 300


class Exclusion(NamedTuple):
    """Decisions to drop identities and images, and numbers of identities.

    `n_shared` of the `n_others` in the other set match what accepted decisions drop.
    Accepted decisions come first, by name. Undecided ones follow, nearest to the threshold first.
    """

    decisions: list[Decision]
    n_identities: int
    n_others: int
    n_shared: int


def plan_exclusion(
    embeddings: Embeddings,
    others: Embeddings,
    bounds: Bounds,
    name_other: NameOther = str,
    progress: Progress | None = None,
    judge: Callable[[Decision], Decision] = lambda decision: decision,
) -> Exclusion:
    """Plan what to drop from a set so that nobody of `others` stays in it.

    `judge` gives a decision the verdict that a person has given it before. Raises SourceError for
    vectors that are not finite or zero.

    >>> from faceprep.core.embeddings import Model
    >>> rows = np.array([[1, 0], [0, 1]], "f4")
    >>> ours = Embeddings(["a/1", "b/1"], ["a", "b"], rows, Model())
    >>> theirs = Embeddings(["x/1"], ["x"], rows[1:], Model())
    >>> plan_exclusion(ours, theirs, Bounds(0.5, 0.3)).decisions[0][:4]
    ('drop', 'b', '', 1.0)
    """
    ours = _measure_set(embeddings)
    theirs = _separate_people(_measure_set(others), bounds.undecided_from)
    search = _Search(theirs, bounds.undecided_from, progress)
    identities = search.find(factors_of_groups(ours.groups), ours.choose_identities, _N_RIVALS)
    images = search.find(factors_of_images(ours.vectors), ours.choose_images, 1)
    plan = _Plan(ours, theirs, bounds, name_other, identities, images)
    planned = (drop for group in plan.involved() for drop in plan.judge(group))
    found = [drop._replace(decision=judge(drop.decision)) for drop in planned]
    shared = _find_shared(plan, [drop for drop in found if drop.decision.verdict == ACCEPTED])
    decisions = sorted((drop.decision for drop in found), key=lambda each: _rank(each, bounds))
    n_shared = len(np.unique(theirs.identity_of(np.flatnonzero(shared))))
    return Exclusion(decisions, len(ours.vectors.names), len(theirs.vectors.names), n_shared)


def measure_sameness(embeddings: Embeddings, least: float) -> float:
    """Return the share of pairs of identities that have a likeness of `least` or more, from 0 to 1.

    At most `_DRAWN` identities are drawn; fewer than three give 0. A share above a half says that
    these are not aligned faces, or that the threshold is of another model.

    >>> from faceprep.core.embeddings import Model
    >>> rows = np.array([[1, 0], [1, 0.1], [0, 1]], "f4")
    >>> round(measure_sameness(Embeddings(["1", "2", "3"], ["a", "b", "c"], rows, Model()), 0.9), 3)
    0.333
    """
    groups = _measure_set(embeddings).groups
    drawn = groups.totals[np.sort(shuffled(len(groups), 0)[:_DRAWN])]
    n = len(drawn)
    if n < _FEW:
        return 0.0
    alike = sum(
        int(np.count_nonzero(groups.mean_likeness(drawn[row : row + 1], drawn[row + 1 :]) >= least))
        for row in range(n - 1)
    )
    return 2 * alike / (n * (n - 1))


def _rank(decision: Decision, bounds: Bounds) -> tuple[bool, float, str]:
    if decision.verdict == ACCEPTED:
        return False, 0.0, decision.subject
    return True, abs((decision.score or 0) - bounds.merge_from), decision.subject


class _MeasuredSet(NamedTuple):
    """A set, with the sums of its people: its identities, then the images in rows `strays`."""

    vectors: Vectors
    groups: Groups
    strays: Ints = np.zeros(0, np.int64)

    def choose_identities(self, identities: Ints) -> Groups:
        """Return the sums of some identities."""
        return _choose(self.groups, identities)

    def choose_images(self, rows: Ints) -> Groups:
        """Return the sums of some images, each as an identity of its own."""
        return replace(self.groups, totals=gather_images(self.vectors, self.groups, rows))

    def identity_of(self, people: Ints) -> Ints:
        """Return the identity that each person is found in."""
        places = people - len(self.vectors.names)
        is_stray = places >= 0
        identities = people.copy()
        identities[is_stray] = self.vectors.group_of(self.strays[places[is_stray]])
        return identities

    def is_stray(self, person: int) -> bool:
        return person >= len(self.vectors.names)

    def name_of(self, person: int) -> str:
        return self.vectors.names[int(self.identity_of(np.array([person]))[0])]

    def rows_of(self, person: int) -> Ints:
        """Return the rows of the images of a person, without strays unless there are no others."""
        place = person - len(self.vectors.names)
        if place >= 0:
            return self.strays[place : place + 1]
        first, last = np.searchsorted(self.strays, self.vectors.starts[person : person + 2])
        rows = self.vectors.rows_of([person])
        core = np.setdiff1d(rows, self.strays[first:last])
        if not len(core):
            return rows
        return core


def _measure_set(embeddings: Embeddings) -> _MeasuredSet:
    vectors = prepare(embeddings)
    return _MeasuredSet(vectors, gather_groups(vectors))


def _separate_people(measured: _MeasuredSet, least: float) -> _MeasuredSet:
    """Make each image that does not match the rest of its identity a person of its own."""
    vectors, groups, _ = measured
    strays = find_strays(vectors, groups, least)
    if not len(strays):
        return measured
    return _MeasuredSet(vectors, separate_strays(vectors, groups, strays), strays)


@dataclass(frozen=True)
class _Search:
    """A search for the people of the other set that are similar by `least` or more."""

    others: _MeasuredSet
    least: float
    progress: Progress | None

    def find(self, factors: Factors, choose: Callable[[Ints], Groups], n: int) -> Pairs:
        """Find the `n` closest people (right) of each row (left), closest first.

        `choose` returns the sums of some of the rows that the factors are made of.
        """
        best = ordered([])
        for found in self._matches(factors, choose):
            best = keep_greatest(n, [best, found])
        return best

    def find_people(self, factors: Factors, choose: Callable[[Ints], Groups]) -> Bools:
        """Return whether each person is similar to any of the rows."""
        is_similar: Bools = np.zeros(len(self.others.groups), np.bool_)
        for _, people, _ in self._matches(factors, choose):
            is_similar[people] = True
        return is_similar

    def _matches(
        self, factors: Factors, choose: Callable[[Ints], Groups]
    ) -> Iterator[tuple[Ints, Ints, Doubles]]:
        """Yield blocks of similar rows and people, with their likeness."""
        left, right = with_equal_sides(factors, factors_of_groups(self.others.groups))
        for i, j in sieve(left, right, self.least, progress=self.progress):
            for start in range(0, len(i), BLOCK):
                piece = slice(start, start + BLOCK)
                rows, people = i[piece], j[piece]
                likeness = compare_groups(choose(rows), self.others.choose_identities(people))
                enough = likeness >= self.least
                yield rows[enough], people[enough], likeness[enough]


class _Judged(NamedTuple):
    """A likeness, the reason, and the verdict that follows."""

    score: float
    reason: str
    verdict: str


class _Drop(NamedTuple):
    """A decision on an identity, or on one of its images, which matches `person`.

    `row` is that of the image, or -1 for the whole identity.
    """

    decision: Decision
    person: int
    group: int
    row: int = -1


def _find_shared(plan: _Plan, drops: Sequence[_Drop]) -> Bools:
    """Return whether each person of the other set matches something that is dropped.

    One dropped identity may match several: the other set may have a person under two names.
    """
    search = _Search(plan.theirs, plan.bounds.merge_from, None)
    whole = np.array([drop.group for drop in drops if drop.row < 0], np.int64)
    rows = np.array([drop.row for drop in drops if drop.row >= 0], np.int64)
    is_shared: Bools = np.zeros(len(plan.theirs.groups), np.bool_)
    for dropped in (plan.ours.choose_identities(whole), plan.ours.choose_images(rows)):
        choose = partial(_choose, dropped)
        is_shared |= search.find_people(factors_of_groups(dropped), choose)
    is_shared[[drop.person for drop in drops]] = True  # a person may accept less similar ones
    return is_shared


def _choose(groups: Groups, rows: Ints) -> Groups:
    """Return the sums in these rows."""
    return replace(groups, totals=groups.totals[rows])


@dataclass(frozen=True)
class _Plan:
    """The people that are similar to identities and to images, and what to do about each."""

    ours: _MeasuredSet
    theirs: _MeasuredSet
    bounds: Bounds
    name_other: NameOther
    identities: Pairs
    images: Pairs

    def involved(self) -> list[int]:
        """Return the identities with an image or a mean that is similar to somebody."""
        of_images = self.ours.vectors.group_of(self.images.left)
        return sorted({*of_images.tolist(), *self.identities.left.tolist()})

    def judge(self, group: int) -> Iterator[_Drop]:
        """Yield the decisions on one identity: on the whole of it, or on some of its images."""
        first, last = np.searchsorted(self.identities.left, [group, group + 1]).tolist()
        if first == last:
            yield from self._judge_single_images(group)
        elif self._agree(group, int(self.identities.right[first])):
            yield self._judge_whole(group, slice(first, last))
        else:
            yield from self._judge_images(group)

    def _agree(self, group: int, person: int) -> bool:
        """Return whether the images that match a person also match the rest of the identity."""
        images = self.ours.choose_images(self.ours.rows_of(group))
        likeness = compare_groups(images, self.theirs.choose_identities(np.array([person])))
        matching = likeness >= self.bounds.undecided_from
        if matching.all():
            return True
        sides = images.totals[matching].sum(axis=0), images.totals[~matching].sum(axis=0)
        if not matching.any():
            return False
        return self._are_alike(sides[0], sides[1])

    def _are_alike(self, one: Doubles, other: Doubles) -> bool:
        likeness = self.ours.groups.mean_likeness(one[None], other[None])
        return bool(likeness[0] >= self.bounds.undecided_from)

    def _judge_whole(self, group: int, found: slice) -> _Drop:
        person = int(self.identities.right[found][0])
        score = float(self.identities.likeness[found][0])
        rival = self._find_rival(found)
        verdict, reason = self._compare(score, person, "mean similarity")
        if rival is not None:
            verdict = UNDECIDED
            names = self._person(person), self._person(rival)
            reason += f"; but it also matches {names[1]}, which does not match {names[0]}"
        name = self.ours.vectors.names[group]
        evidence = self._evidence(self.ours.rows_of(group), person)
        return _Drop(Decision(DROP, name, "", score, reason, verdict, evidence), person, group)

    def _find_rival(self, found: slice) -> int | None:
        """Return a person that matches as well, but does not match the first one.

        It is found in another identity: the images of one person may differ.
        """
        people, likeness = self.identities.right[found], self.identities.likeness[found]
        matching = people[likeness >= self.bounds.merge_from]
        identities = self.theirs.identity_of(matching)
        matching = matching[(identities != identities[:1]) | (np.arange(len(matching)) == 0)]
        if len(matching) < 2:
            return None
        totals = self.theirs.groups.totals
        among = self.theirs.groups.mean_likeness(totals[matching[:1]], totals[matching[1:]])
        others = matching[1:][among < self.bounds.undecided_from]
        if not len(others):
            return None
        return int(others[0])

    def _judge_images(self, group: int) -> Iterator[_Drop]:
        """Yield a decision on each image that is similar to somebody."""
        name = self.ours.vectors.names[group]
        for row, person, score in self._similar_images(group):
            verdict, reason = self._compare(score, person, "similarity")
            reason += f"; the images of {name} do not agree"
            yield self._drop_image(group, row, person, _Judged(score, reason, verdict))

    def _judge_single_images(self, group: int) -> Iterator[_Drop]:
        """Yield decisions on the images that match somebody although the identity does not.

        One that is similar to the rest of its identity as well is left to a person, and so is one
        that matches a stray alone: blurred images of different people are alike.
        """
        name, totals = self.ours.vectors.names[group], self.ours.groups.totals[group]
        for row, person, score in self._similar_images(group):
            verdict, reason = self._compare(score, person, "similarity")
            if verdict != ACCEPTED:
                continue
            own = self.ours.choose_images(np.array([row])).totals[0]
            if self._are_alike(own, totals - own):
                verdict = UNDECIDED
                reason += f"; but it also matches {name}, which does not match as a whole"
            elif self.theirs.is_stray(person):
                verdict = UNDECIDED
                reason += "; but neither image matches the rest of its identity"
            yield self._drop_image(group, row, person, _Judged(score, reason, verdict))

    def _similar_images(self, group: int) -> Iterator[tuple[int, int, float]]:
        """Yield (row, closest person, likeness) of the similar images of an identity."""
        starts = self.ours.vectors.starts[group : group + 2]
        first, last = np.searchsorted(self.images.left, starts).tolist()
        columns = (column[first:last].tolist() for column in self.images)
        yield from zip(*columns, strict=True)

    def _compare(self, score: float, person: int, measure: str) -> tuple[str, str]:
        """Return the verdict on a likeness, and the reason."""
        least, undecided = self.bounds.merge_from, self.bounds.undecided_from
        reason = f"{measure} {score:.3f} with {self._person(person)} of the other set"
        if score >= least:
            return ACCEPTED, f"{reason}, at least {least:.3f}"
        return UNDECIDED, f"{reason}, between {undecided:.3f} and {least:.3f}"

    def _drop_image(self, group: int, row: int, person: int, judged: _Judged) -> _Drop:
        key = self.ours.vectors.key(row)
        evidence = self._evidence(np.array([row]), person)
        return _Drop(Decision(DROP, key, "", *judged, evidence), person, group, row)

    def _person(self, person: int) -> str:
        return self.theirs.name_of(person)

    def _evidence(self, rows: Ints, person: int) -> dict[str, Any]:
        ours, theirs = self.ours.vectors, self.theirs.vectors
        others = self.theirs.rows_of(person)
        found = gather_evidence(ours, rows, others, theirs, self.name_other)
        return {"person": self._person(person)} | found
