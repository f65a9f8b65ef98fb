"""Plans which images to remove: those far from the centre of their identity, and small identities.

Similar outliers form a group. Groups are compared with the cores of the identities, which are the
identities without their outliers. A group that matches another core, or lies well within the angle
of one core alone, is moved there. A group that matches none is probably a second person, so a new
identity is proposed for it. All other outliers are dropped. Drops and new identities are undecided
where another core is near.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Ints
from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import OptionError
from faceprep.core.large_arrays import copy_array
from faceprep.core.names import are_numbers
from faceprep.core.slow_step import Progress
from faceprep.core.text import count_noun
from faceprep.core.types import ACCEPTED, DROP, MOVE, REFUSED, UNDECIDED, Decision
from faceprep.identity.cores import angles_from
from faceprep.identity.identity_sums import Groups, gather_groups, gather_images
from faceprep.identity.linkage import Bounds
from faceprep.identity.outlier_groups import Outliers, find_outliers
from faceprep.identity.similarity import find_nearest_groups, find_nearest_rows
from faceprep.identity.vectors import Vectors, prepare

_AT_ONCE = 1 << 12
_PERSON = 3
"""The number of similar images that make a person; two may be the same photo twice."""
_SURE, _APART = 0.8, 0.1
"""Shares of the angle: an outlier is moved to a core within the first, if the next core is farther
away by the second. On AT&T with 40 % wrong images, 98 % are moved so, and all of these
correctly; of people who are not in the set, 3 % are moved."""


Hold = Callable[[Sequence[Decision]], list[Decision]]
"""A function that gives some decisions another verdict, in the same order."""


class Match(NamedTuple):
    """Another identity near a group of outliers: the mean likeness and the angle to its core."""

    group: int
    likeness: float
    angle: float


class _Nearest(NamedTuple):
    """The most similar image of several, by its key, and the likeness."""

    key: str
    likeness: float


class _NewNames:
    """The names of new identities: the next numbers where all names are numbers, as in a .rec."""

    def __init__(self, names: Sequence[str]) -> None:
        self._used = set(names)
        numbers = list(map(int, names)) if are_numbers(names) else []
        self._are_numbers = list(map(str, numbers)) == list(names)
        self._next = max(numbers, default=0) + 1

    def choose(self, name: str) -> str:
        """Return the name of an identity that is taken out of `name`, and mark it as used."""
        if self._are_numbers:
            self._next += 1
            return str(self._next - 1)
        candidates = (f"{name}-{at}" for at in itertools.count(2))
        new = next(candidate for candidate in candidates if candidate not in self._used)
        self._used.add(new)
        return new


def plan_cleaning(
    embeddings: Embeddings,
    angle: float | None = None,
    least_images: int = 0,
    progress: Progress | None = None,
    hold: Hold = list,
    taken: Iterable[str] = (),
) -> list[Decision]:
    """Plan which images to drop or move, by identity and key, then which identities to drop.

    An image is an outlier if it is more than `angle` degrees from the centre, as `angles_from`
    measures it; None takes the angle of the model. Likeness thresholds are those of the model. An
    identity is dropped if fewer than `least_images` remain. An identity proposed for a second
    person is accepted only with three or more images that do not match the first person. `hold`
    sees the decisions on images before small identities are counted. New identities get none of the
    names `taken`, which those without a vector have. Raises OptionError for a bad angle, and
    SourceError for vectors that are not finite or zero.
    """
    limit = angle
    if limit is None:
        limit = embeddings.model.outlier_angle
    if not 0 < limit <= 180:
        raise OptionError(
            "invalid angle", expected="degrees, more than 0 and at most 180", found=f"{limit:g}"
        )
    vectors = prepare(embeddings)
    groups = gather_groups(vectors)
    bounds = Bounds.of(embeddings.model)
    outliers = list(find_outliers(vectors, groups, bounds, limit, progress))
    cores = _take_out(vectors, groups, outliers)
    new_names = _NewNames([*{*vectors.names, *taken}])
    images = _Plan(vectors, cores, bounds, limit, new_names).judge_all(outliers)
    images = dict(zip(images, hold(list(images.values())), strict=True))
    return _drop_small(vectors, images, least_images)


def _take_out(vectors: Vectors, groups: Groups, outliers: Sequence[Outliers]) -> Groups:
    """Return the cores: identities without their outliers, or whole where nothing would be left."""
    totals = copy_array(groups.totals)
    for each in outliers:
        totals[each.group] -= gather_images(vectors, groups, each.rows).sum(axis=0)
    is_empty = totals[:, -1] == 0
    totals[is_empty] = groups.totals[is_empty]
    return replace(groups, totals=totals)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The set and its thresholds, with methods that turn groups of outliers into decisions.

    `cores` are the identities without their outliers. `new_names` chooses those of new identities.
    """

    vectors: Vectors
    cores: Groups
    bounds: Bounds
    limit: float
    new_names: _NewNames

    def judge_all(self, outliers: Sequence[Outliers]) -> dict[int, Decision]:
        """Return one decision for each row of the groups, in order of the rows."""
        judged: dict[int, Decision] = {}
        rests = self.compare_with_rests(outliers)
        for at in range(0, len(outliers), _AT_ONCE):
            block = outliers[at : at + _AT_ONCE]
            images = (gather_images(self.vectors, self.cores, each.rows) for each in block)
            totals = np.stack([image_totals.sum(axis=0) for image_totals in images])
            nearest = find_nearest_groups(self.cores, totals, 3)
            for number, each in enumerate(block):
                is_other = (nearest.left == number) & (nearest.right != each.group)
                others, likeness = nearest.right[is_other], nearest.likeness[is_other]
                matches = self.matches(totals[number], others[:2], likeness[:2])
                decisions = self.judge(each, totals[number], matches, rests)
                judged |= zip(each.rows.tolist(), decisions, strict=True)
        return dict(sorted(judged.items()))

    def matches(self, total: Doubles, others: Ints, likeness: Doubles) -> list[Match]:
        """Return the other identities near a row of totals (d + 2,), by angle."""
        if not len(others):
            return []
        centres = self.cores.centroids(self.cores.totals[others])
        angles = angles_from(self.cores.centroids(total[None])[0], centres)
        found = map(Match, others.tolist(), likeness.tolist(), angles.tolist())
        return sorted(found, key=lambda match: (match.angle, match.group))

    def compare_with_rests(self, outliers: Sequence[Outliers]) -> dict[int, _Nearest]:
        """Return the image most similar to each outlier in the rest of its identity, by row."""
        found: dict[int, _Nearest] = {}
        for group, parts in itertools.groupby(outliers, lambda each: each.group):
            rows = [each.rows for each in parts]
            own, left = self.vectors.rows_of([group]), np.concatenate(rows)
            numbers = np.repeat(np.arange(len(rows)), list(map(len, rows)))
            part_of = np.full(len(own), -1)
            part_of[left - own[0]] = numbers
            found |= self.find_nearest(left, own, (numbers, part_of))
        return found

    def find_nearest(
        self, left: Ints, right: Ints, parts: tuple[Ints, Ints] | None = None
    ) -> dict[int, _Nearest]:
        """Return what `find_nearest_rows` finds, by row."""
        pairs = find_nearest_rows(self.vectors, left, right, parts)
        found = map(_Nearest, map(self.vectors.key, pairs.right), pairs.likeness.tolist())
        return dict(zip(pairs.left.tolist(), found, strict=True))

    def judge(
        self,
        outliers: Outliers,
        total: Doubles,
        matches: Sequence[Match],
        rests: Mapping[int, _Nearest],
    ) -> list[Decision]:
        """Decide for each row: move it to a matching identity or to a new one, or drop it."""
        verdict = UNDECIDED
        if outliers.is_clear:
            verdict = ACCEPTED
        nearest = ""
        if matches:
            match = matches[0]
            name = self.vectors.names[match.group]
            if self.is_sure(matches):
                why = (
                    f"; mean similarity {match.likeness:.3f} to {name}, {match.angle:.1f} degrees "
                    "from its centre"
                )
                target = self.vectors.rows_of([match.group])
                return self.decide(outliers, (MOVE, name, verdict), why, (target, rests))
            nearest = f"; {name} is the nearest other identity, {match.likeness:.3f}"
            if match.likeness >= self.bounds.undecided_from or match.angle <= self.limit:
                verdict = UNDECIDED
        if len(outliers.rows) in (1, self.vectors.count(outliers.group)):
            return self.decide(outliers, (DROP, "", verdict), nearest, (outliers.rows[:0], rests))
        return self.propose(outliers, total, verdict, rests)

    def is_sure(self, matches: Sequence[Match]) -> bool:
        """Return whether the nearest core is that of the same person."""
        first, *others = matches
        if first.likeness >= self.bounds.merge_from:
            return True
        is_alone = not others or others[0].angle - first.angle >= _APART * self.limit
        return first.angle <= _SURE * self.limit and is_alone

    def propose(
        self, outliers: Outliers, total: Doubles, verdict: str, rests: Mapping[int, _Nearest]
    ) -> list[Decision]:
        """Propose a new identity for a group of similar outliers."""
        own = float(self.cores.mean_likeness(total[None], self.cores.totals[[outliers.group]])[0])
        if len(outliers.rows) < _PERSON or own >= self.bounds.undecided_from:
            verdict = UNDECIDED
        why = (
            f"; one of {len(outliers.rows)} that are alike, mean similarity {own:.3f} to the "
            "rest: a second person"
        )
        new = self.new_names.choose(self.vectors.names[outliers.group])
        return self.decide(outliers, (MOVE, new, verdict), why, (outliers.rows, rests))

    def decide(
        self,
        outliers: Outliers,
        outcome: tuple[str, str, str],
        why: str,
        compared: tuple[Ints, Mapping[int, _Nearest]],
    ) -> list[Decision]:
        """Make one decision for each row, with the angle as its score.

        `outcome` is action, into and verdict. `compared` are the rows of the target, and the most
        similar images in the rest of the identity.
        """
        action, into, verdict = outcome
        target, rests = compared
        targets = self.find_nearest(outliers.rows, target)
        n_rest = self.vectors.count(outliers.group) - len(outliers.rows)
        decisions = []
        for row, angle in zip(outliers.rows.tolist(), outliers.angles.tolist(), strict=True):
            key, reason = self.vectors.key(row), self.distance_reason(outliers, angle) + why
            evidence: dict[str, Any] = {"images": [1, len(target) or n_rest]}
            for side, nearest in (("for", targets), ("against", rests)):
                if row in nearest:
                    evidence[side] = [self.vectors.key(row), *nearest[row]]
            decisions.append(Decision(action, key, into, angle, reason, verdict, evidence))
        return decisions

    def distance_reason(self, outliers: Outliers, angle: float) -> str:
        """Describe the distance from the centre for the reason of a decision."""
        name = self.vectors.names[outliers.group]
        reason = f"{angle:.1f} degrees from the centre of {name}, more than {self.limit:g}"
        if not outliers.is_clear:
            reason += ", as are most of its images"
        return reason


def _drop_small(vectors: Vectors, images: dict[int, Decision], least: int) -> list[Decision]:
    """Add decisions to drop identities of fewer than `least` images to those on images.

    Images are not moved to a small identity. Decisions on images that a small identity contains are
    left out, unless the image is moved elsewhere, or a person refused them.
    """
    identity_of = {row: vectors.names[int(vectors.group_of(row))] for row in images}
    small = _count_small(vectors, images, identity_of, least)
    while stranded := [row for row, each in images.items() if _is_stranded(each, small)]:
        for row in stranded:
            images[row] = _drop_instead(images[row], least)
        small = _count_small(vectors, images, identity_of, least)
    kept = [
        decision
        for row, decision in images.items()
        if identity_of[row] not in small or _is_moved(decision) or decision.verdict == REFUSED
    ]
    for group, name in enumerate(vectors.names):
        if name in small:
            kept.append(_drop_identity(name, small[name], vectors.count(group), least))
    return kept


def _is_moved(decision: Decision) -> bool:
    return (decision.action, decision.verdict) == (MOVE, ACCEPTED)


def _is_stranded(decision: Decision, small: Collection[str]) -> bool:
    return decision.into in small and decision.verdict != REFUSED


def _drop_instead(move: Decision, least: int) -> Decision:
    """Return the decision to drop an image instead of moving it to a small identity."""
    reason = f"{move.reason}; fewer than {least} images there"
    return move._replace(action=DROP, into="", reason=reason)


def _drop_identity(name: str, n: int, n_before: int, least: int) -> Decision:
    """Return the decision to drop an identity with `n` images left."""
    reason = count_noun(n, "image")
    if n != n_before:
        reason += f" left of {n_before}"
    return Decision(DROP, name, reason=f"{reason}, fewer than {least}")


def _count_small(
    vectors: Vectors, images: Mapping[int, Decision], identity_of: Mapping[int, str], least: int
) -> dict[str, int]:
    """Return the identities of fewer than `least` images after the accepted decisions on images,
    each with the number that is left.
    """
    left = Counter({name: vectors.count(group) for group, name in enumerate(vectors.names)})
    for row, decision in images.items():
        if decision.verdict == ACCEPTED:
            left[identity_of[row]] -= 1
            if decision.action == MOVE:
                left[decision.into] += 1
    return {name: n for name, n in left.items() if name and n < least}
