"""Decoding and encoding of images. Only this module deals with the BGR order of OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Pixels
from faceprep.core.errors import FaceprepError
from faceprep.core.io.heif_header import read_heif
from faceprep.core.io.image_end import check_image
from faceprep.core.io.image_header import ImageHeader
from faceprep.core.io.image_traits import (
    RGB_555,
    RGB_565,
    RGB_888,
    has_pages,
    has_planes_of_sixteen_bits,
    has_sixteen_bits,
    has_white_as_zero,
    is_animation,
    read_bmp_masks,
    read_largest,
    set_tiles_upright,
)
from faceprep.core.opencv import opencv
from faceprep.core.types import Buffer
from faceprep.vision.decoder_warnings import catch_warnings, find_damage
from faceprep.vision.heic import REMEDY, can_read_heic, decode_heic, has_several_images
from faceprep.vision.png import encode_png

MAX_PIXELS = 178_956_970
"""The limit above which Pillow refuses an image as a decompression bomb: half a gigabyte of pixels.
OpenCV holds two copies while it decodes."""
MIN_SIDE = 4
_PREVIEW_QUALITY = 85
_DEPTHS = (8, 10, 12, 14, 16)
"""Bits per channel that cameras and scanners use."""
_UNKNOWN = "decoding is not implemented"
"""What libtiff says of a compression that it does not know. It leaves such an image black."""
_FEWER_BITS = 64
"""Upper 8 bits of 16 that no pixel reaches if at most 14 bits are in use."""
_TURNS = {1: (0, None), 2: (0, 1), 3: (2, None), 4: (0, 0), 5: (1, 0), 6: (3, None)}
_TURNS |= {7: (1, 1), 8: (1, None)}
"""Quarter turns counter-clockwise, and the axis that is mirrored then, by EXIF orientation."""


class Undecodable(FaceprepError):
    """An error for bytes that are not an image that OpenCV can read completely."""


def decode(data: Buffer, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode the bytes of an image in any encoding to (height, width, 3) uint8 RGB.

    The orientation in EXIF, HEIC and AVIF is applied. Grey is repeated, and CMYK becomes RGB. Of 16
    bits, the upper 8 of those in use are kept. The bits in use are the fewest of 8, 10, 12, 14 and
    16 that hold the largest value. Alpha is dropped: the pixels under it stay as stored, but a TIFF
    is composited on black. Only the first frame is decoded.

    Raises Undecodable for truncated and damaged data. Images of more than `max_pixels` pixels or
    with a side under 4 are refused from the header alone.
    """
    return decode_noted(data, max_pixels)[0]


def decode_noted(data: Buffer, max_pixels: int = MAX_PIXELS) -> tuple[Pixels, str]:
    """Decode as `decode` does; also return a note on what was left out, usually empty."""
    header = check_image(data)
    problem = _describe_bad_size(*header.size, max_pixels) if header.size else ""
    problem = problem or header.damage
    if problem:
        raise Undecodable(problem)
    if header.suffix == ".jpg":  # the most frequent format, which needs no note
        return _decode_sound(data, header), ""
    notes = []
    if is_animation(header.suffix, data):
        notes.append("an animation: its first frame is used")
    if has_pages(header.suffix, data):
        notes.append("a TIFF of several pages: the first is used")
    if header.suffix == ".heic" and can_read_heic() and has_several_images(data):
        notes.append("a HEIC of several images: the main one is used")
    if has_sixteen_bits(header.suffix, data):
        pixels, n_bits = _keep_upper_bits(_decode_sound(data, header, is_deep=True))
        if n_bits < 16:
            notes.append(f"{n_bits} of 16 bits are in use, and the upper 8 of them are kept")
        if has_white_as_zero(header.suffix, data):
            pixels = 255 - pixels
    else:
        pixels = _decode_sound(data, header)
        if has_planes_of_sixteen_bits(header.suffix, data) and pixels.max() < _FEWER_BITS:
            raise Undecodable(
                "a TIFF that uses fewer than 16 bits and stores each channel by itself, which is "
                "not read: convert it to PNG"
            )
    return pixels, "; ".join(notes)


def _decode_sound(data: Buffer, header: ImageHeader, is_deep: bool = False) -> npt.NDArray[Any]:
    """Decode an image with a sound header, as uint16 if it `is_deep`."""
    if header.suffix == ".heic":
        return _decode_heic(data)
    orientation = 1
    if header.suffix == ".tiff":
        data, orientation = set_tiles_upright(data)
    pixels, warnings = catch_warnings(lambda: _imdecode(data, is_deep, header.suffix))
    damage = find_damage(warnings)
    if pixels is None or _UNKNOWN in damage:
        raise Undecodable(": ".join(filter(None, ["OpenCV cannot decode it", damage])))
    if damage:
        raise Undecodable(f"the {header.suffix[1:].upper()} has damaged pixels: {damage}")
    if header.suffix in (".pgm", ".ppm"):
        return _stretch(pixels, data)
    if header.suffix == ".bmp":
        return _fill_bits(pixels, read_bmp_masks(data))
    if header.suffix == ".avif":
        return _turn_avif(pixels, data)
    return pixels if orientation == 1 else _turn(pixels, *_TURNS[orientation])


def _decode_heic(data: Buffer) -> Pixels:
    if not can_read_heic():
        raise Undecodable(REMEDY)
    pixels = decode_heic(data)
    if pixels is None:
        raise Undecodable("libheif cannot decode it")
    return pixels


def _turn_avif(pixels: Pixels, data: Buffer) -> Pixels:
    """Turn and mirror the pixels of an AVIF, which OpenCV returns as they are stored."""
    header = read_heif(data)
    return pixels if header is None else _turn(pixels, header.quarters, header.mirror)


def _turn(pixels: npt.NDArray[Any], quarters: int, mirror: int | None) -> npt.NDArray[Any]:
    """Turn pixels by `quarters` counter-clockwise, then mirror the axis `mirror`."""
    turned = np.rot90(pixels, quarters)
    if mirror is not None:
        turned = np.flip(turned, axis=mirror)
    return np.ascontiguousarray(turned)


def _stretch(pixels: npt.NDArray[Any], data: Buffer) -> npt.NDArray[Any]:
    """Stretch the values of a PNM to all bits; OpenCV does so only for a text file of 8 bits."""
    largest, most = read_largest(data), int(np.iinfo(pixels.dtype).max)
    is_binary = bytes(data[1:2]) in (b"5", b"6")
    if not 0 < largest < most or (most == 255 and not is_binary):  # noqa: PLR2004
        return pixels
    values = np.rint(np.minimum(np.arange(most + 1) * (most / largest), most))
    stretched: npt.NDArray[Any] = values.astype(pixels.dtype)[pixels]
    return stretched


def _fill_bits(pixels: npt.NDArray[Any], masks: tuple[int, ...]) -> npt.NDArray[Any]:
    """Stretch the channels of a BMP of 5 or 6 bits to 8; OpenCV shifts them, which is darker."""
    if masks not in ((), RGB_555, RGB_565, RGB_888):
        raise Undecodable(
            "a BMP with an unusual order of colours, which is not read: convert it to PNG"
        )
    for channel, mask in enumerate(masks):
        brightest = 256 - (256 >> mask.bit_count())
        values = np.rint(np.arange(256) * (255 / brightest)).clip(max=255)
        pixels[..., channel] = values.astype(np.uint8)[pixels[..., channel]]
    return pixels


def _keep_upper_bits(pixels: npt.NDArray[Any]) -> tuple[Pixels, int]:
    """Return the upper 8 of the bits in use, and how many are in use."""
    if pixels.dtype != np.uint16:
        return pixels.astype(np.uint8), 16
    largest = int(pixels.max())
    n_bits = next(n for n in _DEPTHS if largest >> n == 0)
    return (pixels >> (n_bits - 8)).astype(np.uint8), n_bits


def _imdecode(data: Buffer, is_deep: bool, suffix: str) -> npt.NDArray[Any] | None:
    """Decode with OpenCV; return None where it fails.

    As RGB, OpenCV 5.0 swaps the colours of an AVIF with alpha, and leaves the memory of a TIFF of
    16 bits as it was.
    """
    cv2 = opencv()
    is_bgr = is_deep or suffix == ".avif"
    flags = cv2.IMREAD_COLOR_BGR if is_bgr else cv2.IMREAD_COLOR_RGB
    if is_deep:
        flags |= cv2.IMREAD_ANYDEPTH
    try:
        pixels: npt.NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        return None
    return pixels[..., ::-1] if is_bgr and pixels is not None else pixels


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
    if suffix == ".png":
        return encode_png(pixels)
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
