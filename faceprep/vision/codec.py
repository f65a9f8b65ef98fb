"""Decoding and encoding of images. Only this module deals with the BGR order of OpenCV."""

from __future__ import annotations

import numpy as np

from faceprep.core.arrays import Pixels
from faceprep.core.errors import FaceprepError
from faceprep.core.io.image_header import check_image
from faceprep.core.opencv import opencv
from faceprep.core.types import Buffer
from faceprep.vision.decoder_warnings import catch_warnings, find_damage

MAX_PIXELS = 178_956_970
"""The limit above which Pillow refuses an image as a decompression bomb: half a gigabyte of pixels.
OpenCV holds two copies while it decodes."""
MIN_SIDE = 4
_PREVIEW_QUALITY = 85


class Undecodable(FaceprepError):
    """An error for bytes that are not an image that OpenCV can read completely."""


def decode(data: Buffer, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode an image of any encoding to (height, width, 3) uint8 RGB.

    EXIF orientation is applied. Grey is repeated, the upper 8 of 16 bits are kept, and CMYK becomes
    RGB. Alpha is dropped: the pixels under it stay as stored, but a TIFF is composited on black.
    Only the first frame is decoded.

    Raises Undecodable for truncated and damaged data. Images of more than `max_pixels` pixels or
    with a side under 4 are refused from the header alone.
    """
    header = check_image(data)
    problem = header.damage
    if not problem and header.size:
        problem = _describe_bad_size(*header.size, max_pixels)
    if problem:
        raise Undecodable(problem)
    pixels, warnings = catch_warnings(lambda: _imdecode(data))
    if pixels is None:
        raise Undecodable("OpenCV cannot decode it")
    if damage := find_damage(warnings):
        raise Undecodable(f"the {header.suffix[1:].upper()} has damaged pixels: {damage}")
    return pixels


def _imdecode(data: Buffer) -> Pixels | None:
    """Decode with OpenCV; return None where it fails."""
    cv2 = opencv()
    try:
        pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
    return pixels


def _describe_bad_size(height: int, width: int, max_pixels: int) -> str:
    if min(height, width) < MIN_SIDE:
        return (
            f"too small for an image: expected at least {MIN_SIDE} × {MIN_SIDE} pixels, found "
            f"{height:,} × {width:,}"
        )
    if height * width > max_pixels:
        return f"too large: expected at most {max_pixels:,} pixels, found {height:,} × {width:,}"
    return ""


def encode(pixels: Pixels, suffix: str, quality: int = 95) -> bytes:
    """Encode (height, width, 3) uint8 RGB as ``.jpg`` of `quality` 1 to 100, or as ``.png``."""
    cv2 = opencv()
    options: list[int] = []
    if suffix == ".jpg":
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    is_encoded, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    if not is_encoded:
        raise Undecodable(f"OpenCV cannot encode {pixels.shape} as {suffix}")
    return bytes(data)


def encode_small(pixels: Pixels, long_side: int) -> bytes:
    """Encode RGB pixels as a small JPEG for display, with a long side of at most `long_side`."""
    height, width = pixels.shape[:2]
    scale = long_side / max(height, width)
    if scale < 1:
        cv2 = opencv()
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return encode(pixels, ".jpg", _PREVIEW_QUALITY)
