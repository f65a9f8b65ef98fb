"""What stays of an image when it is encoded or sized anew: a hash to find candidates by, a
thumbnail to decide by.

A copy is the same photo at another JPEG quality (down to 40), size (half to double), format or
ratio of sides: many a set is stretched to squares. Another photo of the same face is no copy, nor
is a mirror image or a part. Measured on 200 photos of 20 people as they are (AT&T/ORL) and on 216
aligned crops of 31 identities, 16 copies of each, against all pairs that are no copies:

                                  copies              two identities    two photos of one identity
    pairs                         6,656               41,314            1,806
    Hamming distance of hashes    at most 4           at least 6        35 pairs at most 4
    agreement of thumbnails       at least 0.987      at most 0.77      at most 0.979

In the dark JPEG leaves too little: of crops whose thumbnail has a standard deviation under 10 grey
levels about half the copies are not found, from 10 to 15 one in six, from 15 to 20 one in fifty.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.faces import Pixels
from faceprep.core.opencv import opencv

SIDE = 24
"""Of the thumbnails: finer ones lose copies at half the size, coarser ones take other photos
for copies.
"""
AGREES = 0.982
"""Agreement of thumbnails from which on two images are copies."""
FAINT = 2.0
"""Standard deviation of a thumbnail's grey levels under which there is nothing to compare but
noise.
"""
_LARGE = 4 * SIDE
"""Larger images are brought to this side first, in bytes: in floats they would take long."""
_GREY = 8
"""Difference between channels up to which a pixel is grey."""
_SOME = 0.01
_STEP = 1.25
_LOW = 8
_SCALE = 4096

Thumbnails = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]


class Small(NamedTuple):
    """What is kept of an image: (24, 24) grey, its range stretched to 0 … 255; whether that says
    anything, as there was next to no contrast; whether there is colour; how much detail, in steps
    of a factor of 1.25."""

    thumbnail: Thumbnails
    is_faint: bool
    has_colour: bool
    detail: int


def shrink(image: Pixels) -> Small:
    """Of an RGB image of any size and shape.

    >>> small = shrink(np.full((112, 96, 3), 7, np.uint8))
    >>> small.thumbnail.shape, small.is_faint, small.has_colour
    ((24, 24), True, False)
    """
    cv2 = opencv()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    few = (
        grey
        if min(grey.shape) < 2 * _LARGE
        else cv2.resize(grey, (_LARGE, _LARGE), interpolation=cv2.INTER_AREA)
    )
    few = cv2.resize(few.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low, high = float(few.min()), float(few.max())
    thumbnail = np.rint((few - low) * (255 / max(high - low, 1))).astype(np.uint8)
    _, deviation = cv2.meanStdDev(few)
    return Small(thumbnail, float(deviation[0, 0]) < FAINT, has_colour(image), measure_detail(grey))


def has_colour(image: Pixels) -> bool:
    """Whether the channels differ in more than one of a hundred pixels, looked at 24 a side."""
    height, width = image.shape[:2]
    few = image[:: max(height // SIDE, 1), :: max(width // SIDE, 1)]
    red, green, blue = (few[:, :, channel].astype(np.int16) for channel in range(3))
    differs = (abs(red - green) > _GREY) | (abs(green - blue) > _GREY)
    return bool(differs.mean() > _SOME)


def measure_detail(grey: npt.NDArray[np.uint8]) -> int:
    """Variance of the Laplacian of a Gaussian of one pixel, as a number of steps of a factor of
    1.25.

    Falls with blur and loss of size. Without the Gaussian, and in finer steps, it would rise with
    the noise of JPEG.
    """
    cv2 = opencv()
    smooth = cv2.GaussianBlur(grey, (5, 5), 1)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(smooth, cv2.CV_16S))
    return round(math.log(max(float(deviation[0, 0]) ** 2, 1e-3), _STEP))


def perceptual_hashes(thumbnails: Thumbnails) -> Hashes:
    """(n,) of (n, 24, 24): the signs of 8 × 8 low frequencies about their median.

    pHash (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010): rows
    and columns 1 to 8 of the cosine transform. All sums are of whole numbers, so that every machine
    finds the same bits.

    >>> ramp = np.arange(24 * 24, dtype=np.float64).reshape(1, 24, 24) // 3
    >>> perceptual_hashes((ramp % 200).astype(np.uint8)).shape
    (1,)
    """
    cosines = _cosines()
    low = (cosines @ thumbnails.astype(np.float64) @ cosines.T).reshape(
        len(thumbnails), _LOW * _LOW
    )
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).ravel()


@functools.cache
def _cosines() -> npt.NDArray[np.float64]:
    """(8, 24) rows 1 to 8 of the transform, as whole numbers: products of them with bytes are
    exact in any order.
    """
    rows, places = np.arange(1, _LOW + 1)[:, None], np.arange(SIDE)
    return np.asarray(np.rint(_SCALE * np.cos(np.pi * (2 * places + 1) * rows / (2 * SIDE))))


def slopes(thumbnails: Thumbnails) -> npt.NDArray[np.float32]:
    """(n, 1104) the steps from each pixel to the next right and below, of length 1: products are
    the agreement.

    Steps, not levels: what all faces have in common is mostly smooth, what tells two photos apart
    is not, and light and contrast fall out.
    """
    levels = thumbnails.astype(np.float32)
    across, down = levels[:, :, 1:] - levels[:, :, :-1], levels[:, 1:] - levels[:, :-1]
    steps = np.concatenate([across.reshape(len(levels), -1), down.reshape(len(levels), -1)], axis=1)
    lengths = np.sqrt((steps * steps).sum(axis=1, keepdims=True))
    return np.asarray(steps / np.maximum(lengths, 1), np.float32)
