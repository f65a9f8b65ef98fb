"""What does not belong: images far from the centre of their identity, and identities of too few
images.

The centre is robust: it begins with the nearer half of the images, so that even two fifths of other
people's images do not draw it to them. Outliers that are alike are taken together. What matches
another identity surely is moved there; what is alike among itself is probably a second person, for
whom an identity is proposed; the rest is dropped.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import OptionError
from faceprep.core.text import count_noun
from faceprep.core.types import ACCEPTED, DROP, MOVE, UNDECIDED, Decision
from faceprep.identity.identity_sums import Groups, gather_groups, gather_images
from faceprep.identity.linkage import MEAN, Bounds, build_clusters, join_all
from faceprep.identity.similarity import (
    Progress,
    find_extremes,
    find_mean_pairs,
    find_nearest_groups,
)
from faceprep.identity.vectors import Doubles, Ints, Vectors, prepare

_TURNS = 20
_SAMPLE = 1 << 14
_AT_ONCE = 1 << 12
_PERSON = 3
"""So many alike images are a person; two may be one photo twice."""


class Stray(NamedTuple):
    """Rows of one identity that are far from its centre, by these angles in degrees, and alike
    among each other.

    `clear` says that most of the identity is not far.
    """

    group: int
    rows: Ints
    angles: Doubles
    clear: bool


def plan_cleaning(
    embeddings: Embeddings,
    angle: float | None = None,
    least_images: int = 0,
    progress: Progress | None = None,
) -> list[Decision]:
    """Images to drop or to move, by identity and key; then identities to drop because fewer than
    `least_images` are left of them.

    `angle` in degrees, None for the model's own: from the centre, as `angles_from` has it.
    Thresholds for what is alike are the model's. Undecided are identities proposed for a second
    person, unless it has three images or more and is surely not the first. Raises SourceError for
    vectors that are not finite or zero.
    """
    limit = embeddings.model.outlier_angle if angle is None else angle
    if not 0 < limit <= 180:
        raise OptionError(
            "bad angle", expected="degrees, more than 0 and at most 180", found=f"{limit:g}"
        )
    vectors = prepare(embeddings)
    groups = gather_groups(vectors)
    bounds = Bounds(embeddings.model.surely, embeddings.model.surely_not)
    strays = list(_find_strays(vectors, groups, bounds, limit, progress))
    images = _Plan(vectors, groups, bounds, limit, set(vectors.names)).judge_all(strays)
    return _drop_small(vectors, images, least_images)


def robust_centre(rows: Doubles, limit: float, is_unit: bool) -> Doubles:
    """(d,) the middle of the rows (n, d) that are within `limit` degrees of the middle of the
    nearer half; of length 1 where rows are. The nearer half is found in turns from the mean of all.

    Least trimmed squares by concentration steps, then reweighted once, so that images that are only
    a little aside count: Rousseeuw and Van Driessen, "Computing LTS regression for large data
    sets", 2006.

    >>> rows = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> robust_centre(rows, 75, True).tolist()
    [1.0, 0.0]
    """
    kept = np.arange(len(rows))
    for _ in range(_TURNS):
        apart = _distances(_middle(rows[kept], is_unit), rows)
        nearer = np.sort(np.argsort(apart, kind="stable")[: len(rows) // 2 + 1])
        if len(nearer) == len(kept) and (nearer == kept).all():
            break
        kept = nearer
    within = angles_from(_middle(rows[kept], is_unit), rows) <= limit
    return _middle(rows[within] if within.any() else rows[kept], is_unit)


def _middle(rows: Doubles, is_unit: bool) -> Doubles:
    mean = rows.mean(axis=0)
    length = np.sqrt((mean * mean).sum())
    return np.asarray(mean / length if is_unit and length > 0 else mean)


def angles_from(centre: Doubles, rows: Doubles) -> Doubles:
    """(n,) degrees. For any metric the angle under which two directions are as far apart as a row
    is from the centre, 2·arcsin(distance / 2): for vectors of length 1 the angle between them; 180
    from a distance of 2 on.

    >>> angles_from(np.array([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0]])).tolist()
    [90.0, 0.0]
    """
    return np.asarray(
        np.degrees(2 * np.arcsin(np.minimum(_distances(centre, rows) / 2, 1))).round(3)
    )


def _distances(centre: Doubles, rows: Doubles) -> Doubles:
    apart = rows - centre
    return np.asarray(np.sqrt((apart * apart).sum(axis=1)).round(12))


def _find_strays(
    vectors: Vectors, groups: Groups, bounds: Bounds, limit: float, progress: Progress | None
) -> Iterator[Stray]:
    for group in range(len(vectors.names)):
        rows = vectors.rows_of([group])
        angles = _angles(vectors, rows, limit, groups.is_unit)
        far = np.flatnonzero(angles > limit)
        for alike in _alike(vectors, groups, rows[far], bounds):
            yield Stray(group, rows[far[alike]], angles[far[alike]], 2 * len(far) < len(rows))
        if progress:
            progress(group + 1, len(vectors.names))


def _angles(vectors: Vectors, rows: Ints, limit: float, is_unit: bool) -> Doubles:
    """From the robust centre; that of very many images is found from some of them, evenly
    spread.
    """
    step = -(-len(rows) // _SAMPLE)
    centre = robust_centre(vectors.take(rows[::step]), limit, is_unit)
    pieces = (vectors.take(rows[at : at + _AT_ONCE]) for at in range(0, len(rows), _AT_ONCE))
    return np.concatenate([angles_from(centre, piece) for piece in pieces])


def _alike(vectors: Vectors, groups: Groups, rows: Ints, bounds: Bounds) -> list[Ints]:
    """Positions in `rows` of the images that are one person, by mean linkage; most are alone."""
    if len(rows) < 2:
        return [np.arange(len(rows))] if len(rows) else []
    images = Groups(gather_images(vectors, groups, rows), groups.unit, groups.is_unit)
    pairs = find_mean_pairs(images, bounds.undecided_from)
    clusters, _, _ = join_all(build_clusters(images, MEAN, bounds.undecided_from, pairs), bounds)
    together = {clusters.identities(clusters.root(at)) for at in range(len(rows))}
    return [np.array(positions) for positions in sorted(together)]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Turns strays into decisions; `names` are those that are taken."""

    vectors: Vectors
    groups: Groups
    bounds: Bounds
    limit: float
    names: set[str]

    def judge_all(self, strays: Sequence[Stray]) -> dict[int, Decision]:
        """One for each row that strays, in order."""
        judged: dict[int, Decision] = {}
        for at in range(0, len(strays), _AT_ONCE):
            some = strays[at : at + _AT_ONCE]
            totals = np.stack(
                [gather_images(self.vectors, self.groups, s.rows).sum(axis=0) for s in some]
            )
            matches = find_nearest_groups(self.groups, totals, 2)
            for number, stray in enumerate(some):
                found = [
                    (int(group), float(likeness))
                    for group, likeness in zip(
                        *(part[matches.left == number] for part in matches[1:]), strict=True
                    )
                    if group != stray.group
                ]
                judged |= zip(
                    stray.rows.tolist(), self.judge(stray, totals[number], *found[:1]), strict=True
                )
        return dict(sorted(judged.items()))

    def judge(
        self, stray: Stray, total: Doubles, match: tuple[int, float] | None = None
    ) -> list[Decision]:
        """A decision a row: move it to the identity it matches or to a new one, or drop it."""
        rest = np.setdiff1d(self.vectors.rows_of([stray.group]), stray.rows)
        name = self.vectors.names[stray.group]
        verdict = ACCEPTED if stray.clear else UNDECIDED
        near = (
            f"; {self.vectors.names[match[0]]} is the nearest other identity, {match[1]:.3f}"
            if match
            else ""
        )
        if match and match[1] >= self.bounds.merge_from:
            there = self.vectors.rows_of([match[0]])
            near = f"; mean likeness {match[1]:.3f} to {self.vectors.names[match[0]]}"
            return self.of_each(
                stray, (MOVE, self.vectors.names[match[0]], verdict), near, (there, rest)
            )
        if len(stray.rows) > 1 and len(rest):
            own = float(
                self.groups.mean_likeness(total[None], self.groups.totals[[stray.group]] - total)[0]
            )
            if len(stray.rows) < _PERSON or own >= self.bounds.undecided_from:
                verdict = UNDECIDED
            near = (
                f"; one of {len(stray.rows)} that are alike, mean likeness {own:.3f} to the "
                "rest: a second person"
            )
            return self.of_each(
                stray, (MOVE, self.new_name(name), verdict), near, (stray.rows, rest)
            )
        return self.of_each(stray, (DROP, "", verdict), near, (stray.rows[:0], rest))

    def of_each(
        self, stray: Stray, what: tuple[str, str, str], why: str, ends: tuple[Ints, Ints]
    ) -> list[Decision]:
        """A decision a row, its score the angle; `what` is action, into and verdict."""
        action, into, verdict = what
        decisions = []
        for row, angle in zip(stray.rows.tolist(), stray.angles.tolist(), strict=True):
            key, reason, evidence = (
                self.vectors.key(row),
                self.far(stray, angle) + why,
                self.ends(row, *ends),
            )
            decisions.append(Decision(action, key, into, angle, reason, verdict, evidence))
        return decisions

    def far(self, stray: Stray, angle: float) -> str:
        """Why it strays, for people."""
        why = (
            f"{angle:.1f} degrees from the centre of {self.vectors.names[stray.group]}, more "
            f"than {self.limit:g}"
        )
        return why if stray.clear else f"{why}, as are most of its images"

    def ends(self, row: int, there: Ints, rest: Ints) -> dict[str, Any]:
        """The image most alike where it would go, and the one most alike where it is."""
        found: dict[str, Any] = {"images": [1, len(there) or len(rest)]}
        for side, rows in (("for", there[there != row]), ("against", rest)):
            if len(rows):
                _, other, likeness = find_extremes(self.vectors, np.array([row]), rows)[0]
                found[side] = [self.vectors.key(row), self.vectors.key(other), likeness]
        return found

    def new_name(self, name: str) -> str:
        """NAME-2, or the next that is not taken."""
        new = next(f"{name}-{at}" for at in itertools.count(2) if f"{name}-{at}" not in self.names)
        self.names.add(new)
        return new


def _drop_small(vectors: Vectors, images: dict[int, Decision], least: int) -> list[Decision]:
    """The decisions on images, but for those that an identity takes with it, then on identities
    that become too small.

    Images are not moved to where there are too few.
    """
    while True:
        left = Counter({name: vectors.count(group) for group, name in enumerate(vectors.names)})
        for row, decision in images.items():
            if decision.verdict == ACCEPTED:
                left[vectors.names[int(vectors.group_of(row))]] -= 1
                left[decision.into] += decision.action == MOVE
        small = {name for name, n in left.items() if name and n < least}
        stranded = {row: d for row, d in images.items() if d.into in small}
        if not stranded:
            break
        for row, decision in stranded.items():
            reason = f"{decision.reason}; fewer than {least} images there"
            images[row] = decision._replace(action=DROP, into="", reason=reason)
    kept = [
        decision
        for row, decision in images.items()
        if vectors.names[int(vectors.group_of(row))] not in small
        or (decision.action, decision.verdict) == (MOVE, ACCEPTED)
    ]
    for group, name in enumerate(vectors.names):
        if name in small:
            n, had = left[name], vectors.count(group)
            reason = count_noun(n, "image")
            if n != had:
                reason += f" left of {had}"
            reason += f", fewer than {least}"
            kept.append(Decision(DROP, name, reason=reason))
    return kept
