"""Head pose from five landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles
from faceprep.core.landmarks import ARCFACE_112, apply_transforms, estimate_similarity

NOSE_LENGTH = 0.687
"""Distance from the middle of the eyes to the tip of the nose, in units of the eye distance. In an
adult face this is about 33 mm down and 28 mm forward, at an eye distance of 63 mm."""
_MIN_DEPTH = 0.25
"""Depth of the nose that is assumed when a face looks down. A smaller depth takes noise for a turn.
"""


@dataclass(frozen=True)
class Pose:
    """Head pose of n faces; all (n,) float64, NaN where the landmarks coincide.

    `roll` is the rotation that sets the face upright: degrees, -180 … 180, positive clockwise as
    the viewer sees it. `lean` is the distance of the nose to the right of the middle of the eyes,
    in pixels of an arcface-112 crop. `yaw` is in degrees, -90 … 90, positive where the nose points
    to the viewer's right.
    """

    roll: Doubles
    lean: Doubles
    yaw: Doubles

    def __getitem__(self, rows: slice) -> Pose:
        """Select the faces of a slice."""
        return Pose(self.roll[rows], self.lean[rows], self.yaw[rows])


def estimate_pose(landmarks: npt.ArrayLike) -> Pose:
    """Estimate the pose of faces from (n, 5, 2) landmarks, in the coordinates of any crop.

    `roll` is the rotation of the similarity fitted to arcface-112. `yaw` follows from a triangle,
    after Gee and Cipolla (Image and Vision Computing 12, 1994). Seen from afar, a head turned by y
    shows its eye distance times cos(y). The nose appears beside the middle of the eyes by its depth
    times sin(y). The depth follows from the length of the nose and its height below the eyes.

    The estimate is meant for -60° … 60°; beyond, an eye is hidden, detectors guess it, and the
    estimate saturates. Errors in that range: up to 2° for a nod of 20°, 20° for a nod of 30° down,
    4° for a nose of 0.8 or 1.2 times the depth, 3° for a camera at 60 cm. Landmarks are off by a
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
        nose_offset = (nose - (left + right) / 2) @ (1, 1j) / eyes
        roll = np.degrees(np.arctan2(transforms[:, 1, 0], transforms[:, 0, 0]))
    lean = nose[:, 0] - (left + right)[:, 0] / 2
    return Pose(roll, lean, _estimate_yaw(nose_offset.real, nose_offset.imag))


def _estimate_yaw(beside: Doubles, below: Doubles) -> Doubles:
    """Estimate the yaw in degrees from the nose position, in units of the observed eye distance.

    The equations, with t = tan²(yaw) and the depth z of the nose, are beside² = t z² and
    z² = length² - below² / (1 + t).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        half = (beside**2 + below**2 - NOSE_LENGTH**2) / 2
        t = (half + np.sqrt(half**2 + (NOSE_LENGTH * beside) ** 2)) / NOSE_LENGTH**2
        is_flat = NOSE_LENGTH**2 - below**2 / (1 + t) < _MIN_DEPTH**2
        tangent = np.where(is_flat, np.abs(beside) / _MIN_DEPTH, np.sqrt(t))
        yaw: Doubles = np.degrees(np.copysign(np.arctan(tangent), beside))
    return yaw
