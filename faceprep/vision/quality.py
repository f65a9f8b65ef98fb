"""Sharpness, brightness and contrast of crops.

The numbers compare crops of one size with each other; they are not verdicts. They are computed from
grey levels 0 … 255 (ITU-R BT.601). All except the two counts are means over the pixels.

Each docstring describes the measure on four ladders: more blur, more noise, more JPEG compression,
and loss of size (shrunk and enlarged again). "Falls" and "rises" mean at every step, on drawn faces
and on photos. Measures of sharpness take noise for detail, and the edges of JPEG blocks too. Do not
judge noisy or strongly compressed sets by them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Floats, Pixels
from faceprep.core.opencv import opencv

EDGE = 50
"""Pixels whose Laplacian is further from 0 than this count as edges."""
_SIDE, _STRIP = 256, 32
"""Side of the image of `laplacian_count_256`, and its rows that are weighted at a time."""
DARK, BRIGHT = 5, 250
"""Clipped pixels have a grey level of at most `DARK` or at least `BRIGHT`."""


@dataclass(frozen=True)
class Grey:
    """One crop in grey, (height, width) uint8, with intermediate results that measures share."""

    levels: npt.NDArray[np.uint8]

    @cached_property
    def values(self) -> Floats:
        """Convert the levels to float32."""
        return self.levels.astype(np.float32)

    @cached_property
    def laplacian(self) -> Floats:
        """Compute the Laplacian of each pixel, with the kernel 0 1 0, 1 -4 1, 0 1 0."""
        return _apply_filter("Laplacian", self.values)

    @cached_property
    def right(self) -> Floats:
        """Compute the absolute difference from each pixel to the next one in its row."""
        return np.asarray(opencv().absdiff(self.values[:-1, 1:], self.values[:-1, :-1]))

    @cached_property
    def below(self) -> Floats:
        """Compute the absolute difference from each pixel to the one below."""
        return np.asarray(opencv().absdiff(self.values[1:, :-1], self.values[:-1, :-1]))

    @cached_property
    def histogram(self) -> Doubles:
        """Compute the share of the pixels at each of the 256 levels."""
        return np.bincount(self.levels.ravel(), minlength=256) / self.levels.size


def _apply_filter(name: str, values: Floats, *order: int) -> Floats:
    cv2 = opencv()
    return np.asarray(getattr(cv2, name)(values, cv2.CV_32F, *order))


def _mean_product(one: Floats, other: Floats) -> float:
    return float(np.vdot(one, other)) / one.size


# Sharpness


def laplacian_variance(grey: Grey) -> float:
    """Compute the variance of the Laplacian (Pech-Pacheco et al., ICPR 2000).

    The kernel is 0 1 0, 1 -4 1, 0 1 0.

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    _, deviation = opencv().meanStdDev(grey.laplacian)
    return float(deviation[0, 0] ** 2)


def laplacian_count(grey: Grey) -> float:
    """Count the pixels whose Laplacian is further from 0 than 50.

    Larger crops have more of them. Falls with blur. Falls with loss of size and rises with noise,
    except for a few pixels; no order under JPEG compression.
    """
    return float(np.count_nonzero(np.abs(grey.laplacian) > EDGE))


def tenengrad(grey: Grey) -> float:
    """Compute the mean square of the Sobel gradient.

    Source: Tenenbaum, Stanford 1970; Schlag et al., CMU 1983.

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    across = _apply_filter("Sobel", grey.values, 1, 0)
    down = _apply_filter("Sobel", grey.values, 0, 1)
    return _mean_product(across, across) + _mean_product(down, down)


def brenner(grey: Grey) -> float:
    """Compute the mean square difference of pixels two apart in a row.

    Source: Brenner et al., J. Histochem. Cytochem. 24, 1976.

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    apart = grey.values[:, 2:] - grey.values[:, :-2]
    return _mean_product(apart, apart)


def smd(grey: Grey) -> float:
    """Add the mean absolute differences to the next pixel on the right and to the one below.

    Source: Jarvis, The Microscope 24, 1976.

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    return float(grey.right.mean() + grey.below.mean())


def smd2(grey: Grey) -> float:
    """Compute the mean product of the two differences of `smd`.

    Source: Li, Chen, Zhang, Application Research of Computers 27, 2010.

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    return _mean_product(grey.right, grey.below)


def vollath(grey: Grey) -> float:
    """Compute Vollath's F5, the covariance of neighbours in a row (J. Microscopy 147, 1987).

    Falls with blur and loss of size; no order with noise, which is independent between neighbours,
    nor under JPEG compression. It is rather a measure of contrast: a sharp pale face has less than
    a blurred one in hard light.
    """
    values = grey.values
    return float((values[:, 1:] * values[:, :-1]).mean() - values.mean() ** 2)


# Light


def variance(grey: Grey) -> float:
    """Compute the variance of the grey levels (Groen et al., Cytometry 6, 1985).

    Falls with blur and loss of size, rises with noise; no order under JPEG compression.
    """
    _, deviation = opencv().meanStdDev(grey.levels)
    return float(deviation[0, 0] ** 2)


def contrast(grey: Grey) -> float:
    """Measure the range between the 5 % darkest and the 5 % brightest pixels, as a share: 0 … 1.

    It says nothing about sharpness: there is no reliable order on any of the four ladders.
    """
    low, high = np.searchsorted(grey.histogram.cumsum(), (0.05, 0.95))
    return float(high - low) / 255


def brightness(grey: Grey) -> float:
    """Compute the mean grey level, 0 … 255: the exposure. No order on any of the four ladders."""
    return float(grey.histogram @ np.arange(256))


def dark_share(grey: Grey) -> float:
    """Compute the share of pixels at grey level 5 or below.

    They are crushed shadows, or parts of the crop outside of the image.
    """
    return float(grey.histogram[: DARK + 1].sum())


def bright_share(grey: Grey) -> float:
    """Compute the share of pixels at grey level 250 or above, which are burnt out."""
    return float(grey.histogram[BRIGHT:].sum())


# Colour


def laplacian_count_256(crop: Pixels) -> float:
    """Count the pixels whose Laplacian exceeds 50 after the crop is resized to 256 × 256.

    The Android code that is used with FaceAntiSpoofing.tflite counts like this and calls a face
    below 1000 blurred. The count is one-sided and leaves out the border, grey is 0.3 R + 0.59 G +
    0.11 B without its fraction, and the resizing is bilinear. Crops of any size can be compared.

    Falls with blur and loss of size, except for a few pixels; rises with noise; no order under JPEG
    compression.
    """
    cv2 = opencv()
    work = _workspace
    for channel, plane in zip(cv2.split(crop), work.planes, strict=True):
        cv2.resize(channel, (_SIDE, _SIDE), dst=plane)
    for top in range(0, _SIDE, _STRIP):
        rows = slice(top, top + _STRIP)
        np.multiply(work.planes[0, rows], 0.3, out=work.total)
        for plane, weight in ((work.planes[1], 0.59), (work.planes[2], 0.11)):
            work.total += np.multiply(plane[rows], weight, out=work.term)
        work.grey[rows] = work.total
    cv2.Laplacian(work.grey, cv2.CV_8U, dst=work.edges)
    return float(np.count_nonzero(work.edges[1:-1, 1:-1] > EDGE))


class _Workspace(threading.local):
    """Arrays of `laplacian_count_256`, kept by each thread.

    New ones for each crop make malloc take memory from the system and give it back every time.
    """

    def __init__(self) -> None:
        self.planes = np.empty((3, _SIDE, _SIDE), np.uint8)
        self.grey, self.edges = np.empty((2, _SIDE, _SIDE), np.uint8)
        self.total, self.term = np.empty((2, _STRIP, _SIDE))


_workspace = _Workspace()
_SHARPNESS = (laplacian_variance, laplacian_count, tenengrad, brenner, smd, smd2, variance, vollath)
_LIGHT = (brightness, contrast, dark_share, bright_share)
MEASURES = tuple(measure.__name__ for measure in (*_SHARPNESS, *_LIGHT, laplacian_count_256))


def measure_crop(crop: Pixels) -> dict[str, float]:
    """Compute all measures of one (height, width, 3) RGB crop of at least 4 × 4 pixels.

    >>> flat = measure_crop(np.full((112, 112, 3), 100, np.uint8))
    >>> flat["laplacian_variance"], flat["brightness"], flat["contrast"]
    (0.0, 100.0, 0.0)
    """
    cv2 = opencv()
    grey = Grey(np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)))
    measured = {measure.__name__: measure(grey) for measure in (*_SHARPNESS, *_LIGHT)}
    return measured | {laplacian_count_256.__name__: laplacian_count_256(crop)}
