"""Features of an image that survive encoding and resizing.

A hash finds candidates, and a thumbnail decides. A copy is the same photo at another JPEG quality
(down to 40), size (half to double), format or aspect ratio: many sets are stretched to squares.
Another photo of the same face is not a copy. Mirror images and parts are left to `copy_views`. The
table compares copies with all pairs that are not copies. It was measured on 200 unaligned photos of
20 people (AT&T/ORL) and on 216 aligned crops of 31 identities, with 16 copies of each:

                                  copies              two identities    two photos of one identity
    pairs                         6,656               41,314            1,806
    Hamming distance of hashes    at most 4           at least 6        35 pairs at most 4
    agreement of thumbnails       at least 0.987      at most 0.77      at most 0.979

JPEG keeps too little of dark crops. About half of the copies are missed where the thumbnail has a
standard deviation under 10 grey levels, one in six from 10 to 15, and one in fifty from 15 to 20.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Hashes, Pixels, Thumbnails
from faceprep.core.opencv import opencv

SIDE = 24
"""Side of a thumbnail. Finer ones miss copies at half the size; coarser ones confuse photos."""
MIN_AGREEMENT = 0.982
"""Minimum agreement of the thumbnails of two copies."""
MIN_DEVIATION = 2.0
"""Minimum standard deviation of a thumbnail's grey levels; below it there is only noise."""
_INTERMEDIATE_SIDE = 4 * SIDE
"""Large images are resized to this side first, as bytes: resizing them as floats is slow."""
_MAX_CHANNEL_DIFFERENCE = 8
"""Difference between channels up to which a pixel is grey."""
_MIN_COLOUR_SHARE = 0.01
_DETAIL_FACTOR = 1.25
_N_FREQUENCIES = 8
_SCALE = 4096


class ImageSummary(NamedTuple):
    """The features of one image by which copies are recognised.

    `thumbnail` is (24, 24) uint8 grey, stretched to 0 … 255. `is_faint` is true if the image has so
    little contrast that the thumbnail shows only noise. `detail` counts steps of a factor of 1.25.
    """

    thumbnail: Thumbnails
    is_faint: bool
    has_colour: bool
    detail: int


def summarize_image(image: Pixels) -> ImageSummary:
    """Summarize an RGB image of any size and shape.

    >>> summary = summarize_image(np.full((112, 96, 3), 7, np.uint8))
    >>> summary.thumbnail.shape, summary.is_faint, summary.has_colour
    ((24, 24), True, False)
    """
    cv2 = opencv()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    levels = grey
    if min(grey.shape) >= 2 * _INTERMEDIATE_SIDE:
        size = (_INTERMEDIATE_SIDE, _INTERMEDIATE_SIDE)
        levels = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    levels = cv2.resize(levels.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low, high = float(levels.min()), float(levels.max())
    thumbnail = np.rint((levels - low) * (255 / max(high - low, 1))).astype(np.uint8)
    _, deviation = cv2.meanStdDev(levels)
    is_faint = float(deviation[0, 0]) < MIN_DEVIATION
    return ImageSummary(thumbnail, is_faint, has_colour(image), measure_detail(grey))


def has_colour(image: Pixels) -> bool:
    """Return True if the channels differ in over 1 % of a sample of about 24 × 24 pixels."""
    height, width = image.shape[:2]
    sample = image[:: max(height // SIDE, 1), :: max(width // SIDE, 1)]
    red, green, blue = (sample[:, :, channel].astype(np.int16) for channel in range(3))
    limit = _MAX_CHANNEL_DIFFERENCE
    differs = (abs(red - green) > limit) | (abs(green - blue) > limit)
    return bool(differs.mean() > _MIN_COLOUR_SHARE)


def measure_detail(grey: npt.NDArray[np.uint8]) -> int:
    """Measure the detail of grey levels (height, width), in steps of a factor of 1.25.

    The steps are those of the variance of the Laplacian, after a Gaussian of one pixel. The number
    falls with blur and loss of size. Without the Gaussian, and in finer steps, it would rise with
    the noise of JPEG.
    """
    cv2 = opencv()
    smooth = cv2.GaussianBlur(grey, (5, 5), 1)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(smooth, cv2.CV_16S))
    variance = max(float(deviation[0, 0]) ** 2, 1e-3)
    return round(math.log(variance, _DETAIL_FACTOR))


def hash_thumbnails(thumbnails: Thumbnails | Doubles) -> Hashes:
    """Hash (n, 24, 24) thumbnails to (n,) uint64.

    Each bit is the sign of one of 8 × 8 low frequencies about their median. This is pHash (Zauner,
    Implementation and Benchmarking of Perceptual Image Hash Functions, 2010) with rows and columns
    1 to 8 of the cosine transform. All sums are of whole numbers, so that every machine finds the
    same bits.

    >>> ramp = np.arange(24 * 24, dtype=np.float64).reshape(1, 24, 24) // 3
    >>> hash_thumbnails((ramp % 200).astype(np.uint8)).shape
    (1,)
    """
    cosines = _cosines()
    frequencies = cosines @ thumbnails.astype(np.float64) @ cosines.T
    low = frequencies.reshape(len(thumbnails), _N_FREQUENCIES**2)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).ravel()


@functools.cache
def _cosines() -> npt.NDArray[np.float64]:
    """Return rows 1 to 8 of the cosine transform, (8, 24), rounded to whole numbers.

    Their products with bytes are exact in any order.
    """
    rows, columns = np.arange(1, _N_FREQUENCIES + 1)[:, None], np.arange(SIDE)
    return np.asarray(np.rint(_SCALE * np.cos(np.pi * (2 * columns + 1) * rows / (2 * SIDE))))


def compute_gradients(thumbnails: Thumbnails | Doubles) -> npt.NDArray[np.float32]:
    """Compute the gradients of (n, 24, 24) thumbnails: (n, 1104), scaled to length 1.

    The inner product of two rows is the agreement of their images. A row holds the difference from
    each pixel to the next one on the right, then to the next one below. Gradients separate photos
    better than levels do: the features that all faces share are mostly smooth. They also cancel
    brightness, and scaling cancels contrast.
    """
    levels = thumbnails.astype(np.float32)
    n = len(levels)
    across, down = levels[:, :, 1:] - levels[:, :, :-1], levels[:, 1:] - levels[:, :-1]
    gradients = np.concatenate([across.reshape(n, -1), down.reshape(n, -1)], axis=1)
    lengths = np.sqrt((gradients * gradients).sum(axis=1, keepdims=True))
    return np.asarray(gradients / np.maximum(lengths, 1), np.float32)
