"""How sharp, bright and contrasty crops are: numbers to compare crops of one size with each other,
no verdicts.

All are taken from the grey levels 0 … 255 (ITU-R BT.601), and are means over the pixels but for the
count. Each docstring says how the measure behaves on four ladders: more blur, more noise, more JPEG
compression, and loss of size (shrunk and enlarged again). "Falls" and "rises" mean at every step,
on drawn faces and on photos. To all measures of sharpness noise is detail, and so are the edges of
JPEG's blocks: judge noisy and hard-pressed sets by other means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.faces import Pixels
from faceprep.core.opencv import opencv

Doubles = npt.NDArray[np.float64]
Levels = npt.NDArray[np.float32]

EDGE = 50
"""Laplacians further from 0 than this count as edges."""
DARK, BRIGHT = 5, 250
"""Grey levels up to which, and from which, a pixel counts as clipped."""


@dataclass(frozen=True)
class Grey:
    """One crop in grey, (height, width) uint8, and what several measures need of it, made once."""

    levels: npt.NDArray[np.uint8]

    @cached_property
    def values(self) -> Levels:
        return self.levels.astype(np.float32)

    @cached_property
    def laplacian(self) -> Levels:
        return _filtered("Laplacian", self.values)

    @cached_property
    def right(self) -> Levels:
        """Distance of each level from that of the next pixel in its row."""
        return np.asarray(opencv().absdiff(self.values[:-1, 1:], self.values[:-1, :-1]))

    @cached_property
    def below(self) -> Levels:
        return np.asarray(opencv().absdiff(self.values[1:, :-1], self.values[:-1, :-1]))

    @cached_property
    def histogram(self) -> Doubles:
        """Share of the pixels at each of the 256 levels."""
        return np.bincount(self.levels.ravel(), minlength=256) / self.levels.size


def _filtered(name: str, values: Levels, *order: int) -> Levels:
    cv2 = opencv()
    return np.asarray(getattr(cv2, name)(values, cv2.CV_32F, *order))


def _mean_product(one: Levels, other: Levels) -> float:
    return float(np.vdot(one, other)) / one.size


# Sharpness


def laplacian_variance(grey: Grey) -> float:
    """Variance of the Laplacian, kernel 0 1 0, 1 -4 1, 0 1 0 (Pech-Pacheco et al., ICPR 2000).

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    _, deviation = opencv().meanStdDev(grey.laplacian)
    return float(deviation[0, 0] ** 2)


def laplacian_count(grey: Grey) -> float:
    """Pixels whose Laplacian is further from 0 than 50: a number, so that larger crops have more.

    Falls with blur. Falls with loss of size, rises with noise but for a few pixels; no order under
    JPEG compression.
    """
    return float(np.count_nonzero(np.abs(grey.laplacian) > EDGE))


def tenengrad(grey: Grey) -> float:
    """Mean square of the Sobel gradient (Tenenbaum, Stanford 1970; Schlag et al., CMU 1983).

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    across, down = _filtered("Sobel", grey.values, 1, 0), _filtered("Sobel", grey.values, 0, 1)
    return _mean_product(across, across) + _mean_product(down, down)


def brenner(grey: Grey) -> float:
    """Mean square difference of pixels two apart in a row (Brenner et al., J. Histochem. Cytochem.
    24, 1976).

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    apart = grey.values[:, 2:] - grey.values[:, :-2]
    return _mean_product(apart, apart)


def smd(grey: Grey) -> float:
    """Sum of the mean distances to the next pixel right and to that below (Jarvis, The Microscope
    24, 1976).

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    return float(grey.right.mean() + grey.below.mean())


def smd2(grey: Grey) -> float:
    """Mean product of the two distances of `smd` (Li, Chen, Zhang, Application Research of
    Computers 27, 2010).

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    return _mean_product(grey.right, grey.below)


def vollath(grey: Grey) -> float:
    """Vollath's F5: the covariance of neighbours in a row (J. Microscopy 147, 1987).

    Falls with blur and loss of size; no order with noise, of which neighbours have no part in
    common, nor under JPEG compression. More a measure of contrast: a sharp pale face has less than
    a blurred one in hard light.
    """
    values = grey.values
    return float((values[:, 1:] * values[:, :-1]).mean() - values.mean() ** 2)


# Light


def variance(grey: Grey) -> float:
    """Of the grey levels (Groen et al., Cytometry 6, 1985).

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    _, deviation = opencv().meanStdDev(grey.levels)
    return float(deviation[0, 0] ** 2)


def contrast(grey: Grey) -> float:
    """Between the 5 % darkest and the 5 % brightest pixels, as a share of the range: 0 … 1.

    Says nothing of sharpness: on none of the four ladders is there an order to rely on.
    """
    low, high = np.searchsorted(grey.histogram.cumsum(), (0.05, 0.95))
    return float(high - low) / 255


def brightness(grey: Grey) -> float:
    """Mean grey level, 0 … 255: the exposure. No order on any of the four ladders."""
    return float(grey.histogram @ np.arange(256))


def dark_share(grey: Grey) -> float:
    """Share of the pixels at grey level 5 or below: crushed shadows, or a crop that leaves the
    image.
    """
    return float(grey.histogram[: DARK + 1].sum())


def bright_share(grey: Grey) -> float:
    """Share of the pixels at grey level 250 or above: burnt out."""
    return float(grey.histogram[BRIGHT:].sum())


_SHARPNESS = (laplacian_variance, laplacian_count, tenengrad, brenner, smd, smd2, variance, vollath)
_LIGHT = (brightness, contrast, dark_share, bright_share)
MEASURES = tuple(measure.__name__ for measure in (*_SHARPNESS, *_LIGHT))


def measure_crop(crop: Pixels) -> dict[str, float]:
    """All measures of one (height, width, 3) RGB crop, at least 4 pixels high and wide.

    >>> flat = measure_crop(np.full((112, 112, 3), 100, np.uint8))
    >>> flat["laplacian_variance"], flat["brightness"], flat["contrast"]
    (0.0, 100.0, 0.0)
    """
    cv2 = opencv()
    grey = Grey(np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)))
    return {measure.__name__: measure(grey) for measure in (*_SHARPNESS, *_LIGHT)}


def measure_crops(crops: Iterable[Pixels]) -> dict[str, Doubles]:
    """All measures, (n,) float64 each, of (n, height, width, 3) RGB crops, or of crops that
    differ in size.
    """
    rows: list[dict[str, Any]] = [measure_crop(crop) for crop in crops]
    return {name: np.array([row[name] for row in rows], np.float64) for name in MEASURES}
