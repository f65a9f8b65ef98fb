"""What stays of an image when it is encoded or sized anew: a hash to find candidates by, a thumbnail to decide by.

A copy is the same photo at another JPEG quality (down to 40), size (half to double) or format. Another photo of the
same face is no copy, nor is a mirror image or a part. Measured on 200 photos of 20 people as they are (AT&T/ORL) and on
216 aligned crops of 31 identities, 16 copies of each, against all pairs that are no copies:

                                  copies              two identities    two photos of one identity
    pairs                         6,656               41,314            1,806
    Hamming distance of hashes    at most 4           at least 6        35 pairs at most 4
    agreement of thumbnails       at least 0.987      at most 0.77      at most 0.979
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.faces import Pixels
from faceprep.opencv import opencv

SIDE = 24
"""Of the thumbnails: finer ones lose copies at half the size, coarser ones take other photos for copies."""
AGREES = 0.982
"""Agreement of thumbnails from which on two images are copies."""
FAINT = 2.0
"""Standard deviation of a thumbnail's grey levels under which there is nothing to compare but noise."""
_GREY = 8
"""Difference between channels of a thumbnail up to which it is grey: what JPEG makes of grey stays below."""
_STEP = 1.25
_LOW = 8
_SCALE = 4096

Thumbnails = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]


class Small(NamedTuple):
    """What is kept of an image: (24, 24) grey; whether it has colour; how much detail, in steps of a factor of 1.25."""

    thumbnail: Thumbnails
    has_colour: bool
    detail: int


def shrink(image: Pixels) -> Small:
    """Of an RGB image of any size and shape.

    >>> small = shrink(np.full((112, 96, 3), 7, np.uint8))
    >>> small.thumbnail.shape, small.has_colour
    ((24, 24), False)
    """
    cv2 = opencv()
    few = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    thumbnail = np.asarray(cv2.cvtColor(few, cv2.COLOR_RGB2GRAY))
    return Small(thumbnail, bool(np.ptp(few, axis=2).max() > _GREY), measure_detail(image))


def measure_detail(image: Pixels) -> int:
    """Variance of the Laplacian of a Gaussian of one pixel, as a number of steps of a factor of 1.25.

    Falls with blur and loss of size. Without the Gaussian, and in finer steps, it would rise with the noise of JPEG.
    """
    cv2 = opencv()
    smooth = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (5, 5), 1)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(smooth, cv2.CV_16S))
    return round(math.log(max(float(deviation[0, 0]) ** 2, 1e-3), _STEP))


def perceptual_hashes(thumbnails: Thumbnails) -> Hashes:
    """(n,) of (n, 24, 24): the signs of 8 × 8 low frequencies about their median.

    pHash (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010): rows and columns 1 to 8
    of the cosine transform. All sums are of whole numbers, so that every machine finds the same bits.

    >>> ramp = np.arange(24 * 24, dtype=np.float64).reshape(1, 24, 24) // 3
    >>> perceptual_hashes((ramp % 200).astype(np.uint8)).shape
    (1,)
    """
    cosines = _cosines()
    low = (cosines @ thumbnails.astype(np.float64) @ cosines.T).reshape(len(thumbnails), _LOW * _LOW)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).ravel()


@functools.cache
def _cosines() -> npt.NDArray[np.float64]:
    """(8, 24) rows 1 to 8 of the transform, as whole numbers: products of them with bytes are exact in any order."""
    rows, places = np.arange(1, _LOW + 1)[:, None], np.arange(SIDE)
    return np.asarray(np.rint(_SCALE * np.cos(np.pi * (2 * places + 1) * rows / (2 * SIDE))))


def is_faint(thumbnails: Thumbnails) -> npt.NDArray[np.bool_]:
    """(n,) whether there is next to no contrast: such images have a hash, but it says nothing."""
    return np.asarray(thumbnails.reshape(len(thumbnails), SIDE * SIDE).std(axis=1) < FAINT)


def slopes(thumbnails: Thumbnails) -> npt.NDArray[np.float32]:
    """(n, 1104) the steps from each pixel to the next right and below, of length 1: products are the agreement.

    Steps, not levels: what all faces have in common is mostly smooth, what tells two photos apart is not, and light
    and contrast fall out.
    """
    levels = thumbnails.astype(np.float32)
    across, down = levels[:, :, 1:] - levels[:, :, :-1], levels[:, 1:] - levels[:, :-1]
    steps = np.concatenate([across.reshape(len(levels), -1), down.reshape(len(levels), -1)], axis=1)
    lengths = np.sqrt((steps * steps).sum(axis=1, keepdims=True))
    return np.asarray(steps / np.maximum(lengths, 1), np.float32)
