"""Head pose from five landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceprep.vision.align import ARCFACE_112, Doubles, apply_transforms, estimate_similarity

NOSE_LENGTH = 0.687
"""From the middle of the eyes to the tip of the nose, in distances of the eyes: about 33 mm down
and 28 mm forward, of 63 mm, in an adult face."""
_LEAST_DEPTH = 0.25
"""What is left of the length towards the viewer when a face looks down; below it, noise would
pass for a turn.
"""
YAW_RANGE = 60.0
"""Degrees: further round, an eye is hidden, detectors guess it, and the estimate saturates."""


@dataclass(frozen=True)
class Pose:
    """Head pose of n faces; all (n,) float64, NaN where the landmarks coincide.

    `roll` in degrees, -180 … 180: the turn that sets the face upright, positive clockwise as the
    viewer sees it. `lean` in pixels of an arcface-112 crop: how far the nose is right of the middle
    of the eyes. `yaw` in degrees, -90 … 90, positive where the nose points to the viewer's right.
    """

    roll: Doubles
    lean: Doubles
    yaw: Doubles


def estimate_pose(landmarks: npt.ArrayLike) -> Pose:
    """Estimate the pose of faces from (n, 5, 2) landmarks, in the coordinates of any crop.

    `roll` is the rotation of the similarity fitted to arcface-112. `yaw` is a triangle (the idea is
    that of Gee and Cipolla, Image and Vision Computing 12, 1994): seen from afar, a head turned by
    y shows its eyes cos(y) as far apart as they are, and the nose beside their middle by sin(y) ×
    how far it stands out; that follows from its length and from how far below the eyes it is seen.
    Meant for -60° … 60°: there a nod of 20° costs up to 2°, of 30° down 20°, a nose that stands out
    0.8 or 1.2 × as far 4°, a camera at 60 cm 3°. Beyond, it only says "profile". Detectors err by a
    pixel or two, which is 5° where the eyes are 35 pixels apart.

    >>> pose = estimate_pose([ARCFACE_112 * 2, ARCFACE_112[:, ::-1] * [-1, 1]])
    >>> abs(pose.roll.round()), pose.lean.round(1), pose.yaw.round()
    (array([ 0., 90.]), array([0.1, 0.1]), array([0., 0.]))
    """
    points = np.asarray(landmarks, np.float64)
    transforms = estimate_similarity(points, ARCFACE_112)
    left, right, nose = apply_transforms(points[:, :3], transforms).transpose(1, 0, 2)
    eyes = (right - left) @ (1, 1j)
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = (nose - (left + right) / 2) @ (1, 1j) / eyes
        roll = np.degrees(np.arctan2(transforms[:, 1, 0], transforms[:, 0, 0]))
    return Pose(roll, nose[:, 0] - (left + right)[:, 0] / 2, _yaw(seen.real, seen.imag))


def _yaw(beside: Doubles, below: Doubles) -> Doubles:
    """Compute the yaw in degrees from the nose position, in units of the observed eye distance.

    With t = tan²(yaw) and the depth z of the nose: beside² = t z², z² = length² - below² / (1 + t).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        half = (beside**2 + below**2 - NOSE_LENGTH**2) / 2
        t = (half + np.sqrt(half**2 + (NOSE_LENGTH * beside) ** 2)) / NOSE_LENGTH**2
        is_flat = NOSE_LENGTH**2 - below**2 / (1 + t) < _LEAST_DEPTH**2
        tangent = np.where(is_flat, np.abs(beside) / _LEAST_DEPTH, np.sqrt(t))
        yaw: Doubles = np.degrees(np.copysign(np.arctan(tangent), beside))
    return yaw
