"""Encoded bytes <-> RGB pixels; the only place that knows OpenCV's BGR."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.errors import FaceprepError, MissingExtra
from faceprep.types import Buffer

Pixels = npt.NDArray[np.uint8]


class Undecodable(FaceprepError):
    """These bytes are no image that OpenCV can read."""


@functools.cache
def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra(
            f"OpenCV cannot be loaded ({error})",
            remedy="On a bare Debian or Ubuntu: apt-get install libgl1 libglib2.0-0",
        ) from error
    cv2.setNumThreads(1)
    return cv2


def decode(data: Buffer) -> Pixels:
    """(height, width, 3) uint8 RGB; EXIF orientation applied, alpha dropped. Raises Undecodable."""
    cv2 = _opencv()
    buffer = np.frombuffer(data, np.uint8)
    try:
        bgr = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if len(buffer) else None
    except cv2.error as error:
        raise Undecodable(f"OpenCV cannot decode it: {error.err}") from error
    if bgr is None:
        raise Undecodable("OpenCV cannot decode it")
    rgb: Pixels = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # ten times faster than a reversed view and its copy
    return rgb


def encode(pixels: Pixels, suffix: str, quality: int = 95) -> bytes:
    """(height, width, 3) uint8 RGB as ``.jpg`` of `quality` 1 … 100, or as ``.png`` (lossless)."""
    cv2 = _opencv()
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    done, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise Undecodable(f"OpenCV cannot encode {pixels.shape} as {suffix}")
    return bytes(data)
