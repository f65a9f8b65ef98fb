"""Cores: identities without the images that are far from their centre.

The centre is robust: it starts from the nearer half of the images, so even two fifths of other
people's images do not shift it. A core describes a person better than all images of an identity:
outliers make the mean less similar to the same person elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from faceprep.core.arrays import Doubles, Ints
from faceprep.core.large_arrays import copy_array
from faceprep.identity.identity_sums import Groups, gather_images
from faceprep.identity.linkage import Bounds
from faceprep.identity.vectors import Vectors

_TURNS = 20
_SAMPLE = 1 << 14
_AT_ONCE = 1 << 12
_FEWEST = 3
"""The number of images from which an identity can have an outlier."""


def gather_cores(vectors: Vectors, groups: Groups, bounds: Bounds, limit: float) -> Groups:
    """Return `groups` without the outliers of identities whose images are less alike than a match.

    Outliers are images more than `limit` degrees from the centre. An identity keeps all its images
    if they are alike on average, if half of them or more are outliers, or if the outliers are
    alike: then they may be a second person, and it is not clear which of the two it is.
    """
    totals = copy_array(groups.totals)
    doubtful = groups.likeness_within(groups.totals) < bounds.merge_from
    for group in np.flatnonzero(doubtful & (groups.totals[:, -1] >= _FEWEST)).tolist():
        rows = vectors.rows_of([group])
        angles = measure_angles(vectors, rows, limit, groups.is_unit)
        outliers = rows[angles > limit]
        if not len(outliers) or 2 * len(outliers) >= len(rows):
            continue
        total = gather_images(vectors, groups, outliers).sum(axis=0)
        if groups.likeness_within(total[None])[0] < bounds.undecided_from:
            totals[group] -= total
    return replace(groups, totals=totals)


def measure_angles(vectors: Vectors, rows: Ints, limit: float, is_unit: bool) -> Doubles:
    """Measure the angles (n,) of these rows from their robust centre, in degrees.

    A very large identity takes the centre from a sample.
    """
    step = -(-len(rows) // _SAMPLE)
    centre = robust_centre(vectors.take(rows[::step]), limit, is_unit)
    pieces = (vectors.take(rows[at : at + _AT_ONCE]) for at in range(0, len(rows), _AT_ONCE))
    return np.concatenate([angles_from(centre, piece) for piece in pieces])


def robust_centre(rows: Doubles, limit: float, is_unit: bool) -> Doubles:
    """Return a centre (d,) of rows (n, d) that outliers do not shift.

    It is the mean of the rows within `limit` degrees of the mean of the nearer half, scaled to
    length 1 if `is_unit`. The nearer half is found by iteration from the mean of all rows.

    Method: least trimmed squares by concentration steps, reweighted once so that rows a little
    aside count as well. Rousseeuw and Van Driessen, "Computing LTS regression for large data sets",
    2006.

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
    is_within = angles_from(_middle(rows[kept], is_unit), rows) <= limit
    if is_within.any():
        return _middle(rows[is_within], is_unit)
    return _middle(rows[kept], is_unit)


def _middle(rows: Doubles, is_unit: bool) -> Doubles:
    mean = rows.mean(axis=0)
    length = np.sqrt((mean * mean).sum())
    if is_unit and length > 0:
        mean = mean / length
    return np.asarray(mean)


def angles_from(centre: Doubles, rows: Doubles) -> Doubles:
    """Convert the distances of rows from the centre to angles (n,) in degrees.

    The angle is 2·arcsin(distance / 2), at which two directions have that distance. For vectors of
    length 1 it is the angle between them. Distances of 2 or more give 180 degrees.

    >>> angles_from(np.array([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0]])).tolist()
    [90.0, 0.0]
    """
    sines = np.minimum(_distances(centre, rows) / 2, 1)
    return np.asarray(np.degrees(2 * np.arcsin(sines)).round(3))


def _distances(centre: Doubles, rows: Doubles) -> Doubles:
    apart = rows - centre
    return np.asarray(np.sqrt((apart * apart).sum(axis=1)).round(12))
