"""Small upright squares cut out of large images, and points of them mapped back.

A square is a complex pair: its centre x + iy and half its side as the vector from the centre to the
middle of its right edge, in pixels of the image. 0 is the outer edge of the first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Bools, Complexes, Doubles, Pixels, Rows
from faceprep.core.landmarks import ARCFACE_112, estimate_similarity
from faceprep.core.opencv import opencv

_GREY = 127
"""Level of the pixels beyond an image."""
_HALF_PIXEL = 0.5 + 0.5j
_MAX_SHRINK = 2.0
"""Sampling sees most pixels up to this reduction; the region is halved before."""
_MAX_SIDE = 30_000.0
"""Pixels: OpenCV cuts no larger region."""


@dataclass(frozen=True)
class Squares:
    """n squares: `centres` (n,) and `halves` (n,), complex."""

    centres: Complexes
    halves: Complexes

    def __len__(self) -> int:
        return len(self.centres)

    def take(self, rows: Rows) -> Squares:
        return Squares(self.centres[rows], self.halves[rows])

    def place(self, shares: npt.ArrayLike) -> Doubles:
        """Map points (n, k, 2), in shares of the squares, to pixels of the image."""
        points = np.asarray(shares, np.float64) @ (2, 2j) - (1 + 1j)
        placed = points * self.halves[:, None] + self.centres[:, None]
        return np.stack([placed.real, placed.imag], axis=-1)

    def are_sound(self) -> Bools:
        """Return which squares (n,) have a finite place and a side of at least a pixel."""
        sides, reach = 2 * np.abs(self.halves), np.abs(self.centres)
        sound: Bools = (sides >= 1) & (sides < _MAX_SIDE) & (reach < _MAX_SIDE)
        return sound


def squares_of_landmarks(landmarks: Doubles, centre: tuple[float, float], side: float) -> Squares:
    """Return squares, upright in the face, from `landmarks` (n, 5, 2).

    `centre` and `side` are in pixels of arcface-112.
    """
    transforms = estimate_similarity(landmarks, ARCFACE_112)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Complexes = np.reciprocal(transforms[..., 0] @ np.array([1, 1j]))
        shift: Complexes = transforms[..., 2] @ np.array([1, 1j])
        middles: Complexes = (complex(*centre) - shift) * unit
    return Squares(middles, unit * (side / 2))


def squares_of_boxes(boxes: Doubles, turns: Complexes, factor: float) -> Squares:
    """Return squares of `factor` × the longer side of `boxes` (n, 4), turned by `turns` (n,)."""
    corners = boxes.reshape(-1, 2, 2)
    sides = np.ptp(corners, axis=1).max(axis=1)
    middles: Complexes = corners.mean(axis=1) @ np.array([1, 1j])
    return Squares(middles, turns * (sides * (factor / 2)))


def cut_squares(
    images: Sequence[Pixels], rows: Rows, squares: Squares, side: int, is_cubic: bool = True
) -> Pixels:
    """Cut square k out of image `rows[k]`: (n, side, side, 3).

    Every pixel of the image counts. Pixels beyond the image are grey. Cubic sampling is sharper;
    linear sampling takes a third of the time and is that of detectors.
    """
    cv2 = opencv()
    sampling = cv2.INTER_CUBIC if is_cubic else cv2.INTER_LINEAR
    crops = np.empty((len(squares), side, side, 3), np.uint8)
    for crop, row, centre, half in zip(
        crops, rows.tolist(), squares.centres.tolist(), squares.halves.tolist(), strict=True
    ):
        _cut(images[row], centre, half, crop, sampling)
    return crops


def _cut(image: Pixels, centre: complex, half: complex, crop: Pixels, sampling: int) -> None:
    """Fill `crop` with the square around `centre`; `sampling` is a flag of OpenCV."""
    cv2 = opencv()
    region, corner = _region(image, centre, half)
    if not region.size:
        crop[:] = _GREY
        return
    centre, shrink = centre - corner, 2 * abs(half) / len(crop)
    while shrink > _MAX_SHRINK and min(region.shape[:2]) > 1:
        height, width = (side // 2 for side in region.shape[:2])
        region = cv2.resize(
            region[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA
        )
        centre, half, shrink = centre / 2, half / 2, shrink / 2
    turn = half * 2 / len(crop)
    shift = centre - half * (1 + 1j) + turn * _HALF_PIXEL - _HALF_PIXEL
    inverse = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    cv2.warpAffine(
        region,
        inverse,
        crop.shape[:2],
        dst=crop,
        flags=sampling | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(_GREY,) * 3,
    )


def _region(image: Pixels, centre: complex, half: complex) -> tuple[Pixels, complex]:
    """Return the part of the image that the square covers, and its upper left corner.

    The corner is even, so that halving pairs the same pixels in every frame.
    """
    reach = abs(half.real) + abs(half.imag) + 2
    left, top = (max(int(side - reach), 0) & ~1 for side in (centre.real, centre.imag))
    right, bottom = (max(int(side + reach) + 1, 0) for side in (centre.real, centre.imag))
    return image[top:bottom, left:right], complex(left, top)
