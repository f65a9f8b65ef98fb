"""Geometry of face landmarks: an upright face, similarities to it, and faulty landmarks.

A transform is a 2×3 matrix that maps a point (x, y, 1) of the image to a point of the crop.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Bools, Complexes, Doubles
from faceprep.core.faces import N_LANDMARKS

ARCFACE_112: Doubles = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
"""x y of the five landmarks of an upright face in 112 × 112 pixels (InsightFace)."""

_MIN_SPREAD = 1.0
"""Pixels, root mean square: landmarks closer together than this coincide."""
_MAX_COORDINATE = 1e6
"""Pixels: no image is that large."""
_MIRRORED = -0.25
"""Width of the eyes or of the mouth in units of the height of the face. A frontal face has 0.87, a
profile 0, a mirror image -0.87. Landmarks detected on a head turned by 100° reach -0.18."""
_MAX_RESIDUAL = 0.8
"""Root mean square distance from the template after the fit, in units of the template's spread. A
profile has 0.67, a mirror image 0.97."""


def estimate_similarity(landmarks: npt.ArrayLike, template: npt.ArrayLike) -> Doubles:
    """Fit the similarity without reflection from each face to the template: (n, 2, 3).

    `landmarks` (n, 5, 2) and `template` (5, 2) are x y in pixels; any number of points works. The
    fit is least squares after Umeyama (IEEE PAMI 13, 1991). In the plane it is the quotient of two
    sums of complex numbers. Faces whose points coincide or are not finite get NaN, and
    `check_landmarks` reports them.

    >>> estimate_similarity([[(1, 1), (2, 1)]], [(0, 0), (0, 2)]).round(6) + 0.0
    array([[[ 0., -2.,  2.],
            [ 2.,  0., -2.]]])
    """
    points, target = _complex(landmarks), _complex(template)
    centre = target.mean()
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        centres = points.sum(axis=1) / points.shape[1]
        spread = points - centres[:, None]
        covariance = (spread.conj() * (target - centre)).sum(axis=1)
        variance = (spread * spread.conj()).real.sum(axis=1)
        turn = covariance / variance
        shift = centre - turn * centres
    fit = np.empty((len(turn), 2, 3))
    fit[:, 0, 0] = fit[:, 1, 1] = turn.real
    fit[:, 1, 0], fit[:, 0, 1] = turn.imag, -turn.imag
    fit[:, 0, 2], fit[:, 1, 2] = shift.real, shift.imag
    return fit


def _complex(points: npt.ArrayLike) -> npt.NDArray[np.complex128]:
    """Combine x y of the last axis into x + iy."""
    array = np.ascontiguousarray(points, np.float64)
    return array.view(np.complex128)[..., 0]


def _pairs(points: Complexes) -> Doubles:
    """Split x + iy into x y on a last axis."""
    return np.ascontiguousarray(points)[..., None].view(np.float64)


def apply_transforms(points: npt.ArrayLike, transforms: npt.ArrayLike) -> Doubles:
    """Map points (n, k, 2) of the image into the crops of `transforms` (n, 2, 3).

    >>> apply_transforms([[(1, 2)]], [[(2, 0, 5), (0, 2, 0)]])
    array([[[7., 4.]]])
    """
    matrices = np.asarray(transforms, np.float64)
    turned = np.asarray(points, np.float64) @ matrices[..., :2].swapaxes(-1, -2)
    moved: Doubles = turned + matrices[..., None, :, 2]
    return moved


def measure_offsets(landmarks: npt.ArrayLike, others: npt.ArrayLike) -> Doubles:
    """Return the offsets (n, 5, 2) from `landmarks` (n, 5, 2) to `others` (n, 5, 2).

    They are in pixels of arcface-112, so that they stay the same while a face moves, turns in the
    plane or grows.
    """
    scales = _complex(estimate_similarity(landmarks, ARCFACE_112)[..., 0])[:, None]
    return _pairs((_complex(others) - _complex(landmarks)) * scales)


def add_offsets(landmarks: npt.ArrayLike, offsets: npt.ArrayLike) -> Doubles:
    """Move landmarks (n, 5, 2) by offsets (n, 5, 2) or (5, 2), in pixels of arcface-112.

    >>> larger = ARCFACE_112[None] * 2
    >>> (add_offsets(larger, np.ones((5, 2))) - larger).round(9)[0, 0]
    array([2., 2.])
    """
    scales = _complex(estimate_similarity(landmarks, ARCFACE_112)[..., 0])[:, None]
    return _pairs(_complex(landmarks) + _complex(offsets) / scales)


def combine_transforms(second: npt.ArrayLike, first: npt.ArrayLike) -> Doubles:
    """Return the (2, 3) transform that applies `first` and then `second`.

    >>> combine_transforms([(2, 0, 1), (0, 2, 0)], [(1, 0, 5), (0, 1, 0)]).tolist()
    [[2.0, 0.0, 11.0], [0.0, 2.0, 0.0]]
    """
    whole = np.vstack([np.asarray(first, np.float64), (0, 0, 1)])
    combined: Doubles = np.asarray(second, np.float64) @ whole
    return combined


_FACE = _complex(ARCFACE_112 - ARCFACE_112.mean(axis=0))
_FACE /= np.sqrt((_FACE * _FACE.conj()).real.mean())
"""The template, centred and scaled to a spread of 1."""


def check_landmarks(landmarks: npt.ArrayLike) -> list[str]:
    """Describe the fault of each of the (n, 5, 2) landmarks, with an empty string for sound ones.

    There are three kinds of fault. The points coincide or are not finite. Left and right, or above
    and below, are exchanged, as in a mirror image or with the columns of another layout. Or the
    points are not a face at all. Turned heads, profiles and faces upside down are sound.

    >>> check_landmarks([ARCFACE_112, ARCFACE_112 * [-1, 1], ARCFACE_112 * 0])
    ['', 'mirrored landmarks: the left eye is right of the right eye, seen upright', \
'degenerate landmarks: they all lie within 0.0 pixels']
    """
    facts = _measure(landmarks)
    return [_describe_fault(*face) for face in zip(*(fact.tolist() for fact in facts), strict=True)]


def are_sound(landmarks: npt.ArrayLike) -> Bools:
    """Return which landmarks (n, 5, 2) are without a fault, as `check_landmarks` finds them."""
    finite, spread, eyes, mouth, residual = _measure(landmarks)
    sound: Bools = finite & ~(spread < _MIN_SPREAD) & (residual <= _MAX_RESIDUAL)
    return sound & ~((eyes < _MIRRORED) | (mouth < _MIRRORED))


def _measure(landmarks: npt.ArrayLike) -> tuple[Bools, Doubles, Doubles, Doubles, Doubles]:
    """Measure what `_describe_fault` judges, for each of the landmarks (n, 5, 2)."""
    array = np.asarray(landmarks, np.float64).reshape(-1, N_LANDMARKS, 2)
    finite: Bools = np.all(np.abs(array) < _MAX_COORDINATE, axis=(1, 2))
    points = _complex(np.where(finite[:, None, None], array, 0))
    offsets = points - points.sum(axis=1, keepdims=True) / N_LANDMARKS
    spread = (offsets * offsets.conj()).real.sum(axis=1) / N_LANDMARKS
    residual = _residuals(offsets, spread)
    with np.errstate(invalid="ignore", divide="ignore"):
        down = (points[:, 3:].sum(axis=1) - points[:, :2].sum(axis=1)) / 2
        eyes, mouth = -((points[:, [1, 4]] - points[:, [0, 3]]) / down[:, None]).imag.T
    return finite, np.sqrt(spread), eyes, mouth, residual


def measure_residuals(landmarks: npt.ArrayLike) -> Doubles:
    """Measure the distance (n,) of landmarks (n, 5, 2) from a frontal face, in units of its spread.

    0 is a frontal face, 0.67 a profile, 1 anything but a face. NaN where the landmarks coincide.

    >>> measure_residuals([ARCFACE_112, ARCFACE_112 * [-1, 1]]).round(2)
    array([0.  , 0.97])
    """
    points = _complex(landmarks)
    offsets = points - points.mean(axis=1, keepdims=True)
    return _residuals(offsets, (offsets * offsets.conj()).real.mean(axis=1))


def _residuals(offsets: Complexes, spread: Doubles) -> Doubles:
    with np.errstate(invalid="ignore", divide="ignore"):
        agreement = np.abs(offsets.conj() @ _FACE / N_LANDMARKS) ** 2 / spread
        residuals: Doubles = np.sqrt(np.maximum(1 - agreement, 0))
    return residuals


def measure_rolls(landmarks: npt.ArrayLike) -> Doubles:
    """Measure the roll (n,) of landmarks (n, 5, 2): 0 to 180 degrees, for either direction.

    Infinite where the landmarks coincide.

    >>> measure_rolls([ARCFACE_112, -ARCFACE_112]).round().tolist()
    [0.0, 180.0]
    """
    fit = estimate_similarity(landmarks, ARCFACE_112)
    rolls: Doubles = np.degrees(np.abs(np.arctan2(fit[:, 1, 0], fit[:, 0, 0])))
    return np.where(np.isfinite(rolls), rolls, np.inf)


def measure_leans(landmarks: npt.ArrayLike) -> Doubles:
    """Measure how far (n,) the nose is beside the middle of the eyes, in eye distances.

    `landmarks` are (n, 5, 2). 0 is a face seen from the front. NaN where the eyes coincide.

    >>> measure_leans([ARCFACE_112, ARCFACE_112[[0, 1, 1, 3, 4]]]).round(1).tolist()
    [0.0, 0.5]
    """
    points = _complex(landmarks)
    eyes = points[:, 1] - points[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        beside = (points[:, 2] - (points[:, 0] + points[:, 1]) / 2) / eyes
        leans: Doubles = np.abs(beside.real)
    return leans


def _describe_fault(
    is_finite: bool, spread: float, eyes: float, mouth: float, residual: float
) -> str:
    if not is_finite:
        return f"degenerate landmarks: not all of them are numbers within ±{_MAX_COORDINATE:,.0f}"
    if spread < _MIN_SPREAD:
        return f"degenerate landmarks: they all lie within {spread:.1f} pixels"
    if eyes < _MIRRORED:
        return "mirrored landmarks: the left eye is right of the right eye, seen upright"
    if mouth < _MIRRORED:
        return "mirrored landmarks: the left mouth corner is right of the right one, seen upright"
    if not residual <= _MAX_RESIDUAL:
        return f"implausible landmarks: they miss those of a face by {residual:.0%} of its size"
    return ""
