"""Finds outliers, the images far from the centre of their identity, in groups of one person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Ints
from faceprep.core.slow_step import Progress
from faceprep.identity.cores import measure_angles
from faceprep.identity.identity_sums import Groups, gather_images
from faceprep.identity.linkage import MEAN, Bounds, build_clusters, join_all
from faceprep.identity.similarity import find_mean_pairs, find_nearest_groups
from faceprep.identity.vectors import Vectors

_AT_ONCE = 1 << 10
"""Images that are grouped by all their pairs; the time grows with the square."""


class Outliers(NamedTuple):
    """Similar images of one identity that are far from its centre.

    `angles` are their distances from the centre in degrees. `is_clear` is true if less than half of
    the identity is far from the centre.
    """

    group: int
    rows: Ints
    angles: Doubles
    is_clear: bool


def find_outliers(
    vectors: Vectors, groups: Groups, bounds: Bounds, limit: float, progress: Progress | None
) -> Iterator[Outliers]:
    """Yield the outliers of each identity, more than `limit` degrees from its centre."""
    for group in range(len(vectors.names)):
        rows = vectors.rows_of([group])
        angles = measure_angles(vectors, rows, limit, groups.is_unit)
        far = np.flatnonzero(angles > limit)
        is_clear = 2 * len(far) < len(rows)
        for alike in group_alike(vectors, groups, rows[far], bounds):
            places = far[alike]
            yield Outliers(group, rows[places], angles[places], is_clear)
        if progress:
            progress(group + 1, len(vectors.names))


def group_alike(
    vectors: Vectors, groups: Groups, rows: Ints, bounds: Bounds, at_once: int = _AT_ONCE
) -> list[Ints]:
    """Group images that are one person; return their positions in `rows`.

    Of more than `at_once` images, an even sample is grouped first. The others join the group that
    they match best, and those that match none are grouped next.
    """
    images = replace(groups, totals=gather_images(vectors, groups, rows))
    found: list[Ints] = []
    left = np.arange(len(rows))
    while len(left):
        sample = left[:: -(-len(left) // at_once)]
        alike = [sample[each] for each in _join_alike(images, sample, bounds)]
        left = np.setdiff1d(left, sample)
        if len(left):
            totals = np.stack([images.totals[each].sum(axis=0) for each in alike])
            nearest = find_nearest_groups(replace(images, totals=totals), images.totals[left], 1)
            is_match = nearest.likeness >= bounds.merge_from
            matching, others = nearest.right[is_match], left[is_match]
            for number in np.unique(matching).tolist():
                alike[number] = np.union1d(alike[number], others[matching == number])
            left = left[~is_match]
        found += alike
    return sorted(found, key=lambda positions: int(positions[0]))


def _join_alike(images: Groups, chosen: Ints, bounds: Bounds) -> list[Ints]:
    """Group the `chosen` images by mean linkage; return positions in `chosen`."""
    some = replace(images, totals=images.totals[chosen])
    pairs = find_mean_pairs(some, bounds.undecided_from)
    clusters, _, _ = join_all(build_clusters(some, MEAN, bounds.undecided_from, pairs), bounds)
    together = {clusters.identities(clusters.root(at)) for at in range(len(chosen))}
    return [np.array(positions) for positions in together]
