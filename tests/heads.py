"""A head in space, seen from any side: landmarks whose pose is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_EYE, _NOSE, _MOUTH = (31.5, -33.0, 0.0), (0.0, 0.0, 28.0), (26.0, 32.0, 3.0)
"""Millimetres: x to the viewer's right, y down, z towards the viewer. Eyes 63 mm apart, the tip of
the nose 28 mm before them."""


def turned_head(
    yaw: float = 0, pitch: float = 0, roll: float = 0, distance: float = 0
) -> npt.NDArray[np.float64]:
    """(5, 2) landmarks, in millimetres, of a head that nods up by `pitch` degrees, turns its nose
    to the right by `yaw`, and is then turned clockwise by `roll`; seen from `distance` millimetres,
    or from far away."""
    head = np.array([_EYE, _EYE, _NOSE, _MOUTH, _MOUTH]) * [
        [-1, 1, 1],
        [1, 1, 1],
        [1, 1, 1],
        [-1, 1, 1],
        [1, 1, 1],
    ]
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    seen = head @ (about_z @ about_y @ about_x).T
    nearness = distance / (distance - seen[:, 2:]) if distance else 1.0
    return seen[:, :2] * nearness


def similarity(angle: float, scale: float, x: float, y: float) -> npt.NDArray[np.float64]:
    """(2, 3) transform: turns by `angle` degrees, scales, then moves."""
    cos, sin = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    return np.array([[cos, -sin, x], [sin, cos, y]])
