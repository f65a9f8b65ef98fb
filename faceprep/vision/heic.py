"""Decoding of HEIC, which OpenCV does not read, with the package pillow-heif."""

from __future__ import annotations

import importlib.util

import numpy as np

from faceprep.core.arrays import Pixels
from faceprep.core.types import Buffer

REMEDY = "a HEIC image needs the package pillow-heif: pip install 'faceprep[heic]'"
_FAULTS = (OSError, ValueError, RuntimeError, SyntaxError)
"""What pillow-heif raises for a damaged image."""


def can_read_heic() -> bool:
    """Return whether the package is installed, without importing it."""
    return importlib.util.find_spec("pillow_heif") is not None


def has_several_images(data: Buffer) -> bool:
    """Return whether a HEIC holds more images than the main one; thumbnails do not count."""
    import pillow_heif

    try:
        return len(pillow_heif.open_heif(bytes(data))) > 1
    except _FAULTS:
        return False


def decode_heic(data: Buffer) -> Pixels | None:
    """Decode to (height, width, 3) uint8 RGB, upright; return None if that fails."""
    import pillow_heif

    try:
        image = pillow_heif.open_heif(bytes(data), convert_hdr_to_8bit=True)
        pixels = np.asarray(image)
    except _FAULTS:
        return None
    if pixels.dtype == np.uint16:  # grey stays deep, whatever the depth, with the values at the top
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])
