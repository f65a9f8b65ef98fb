"""Traits of an encoded image that a decoder does not report: more pictures, more bits, tiles."""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import islice

from faceprep.core.io.heif_header import read_heif
from faceprep.core.io.image_header import (
    JP2_SIZE,
    PNM_HEAD,
    find_tiff_pages,
    find_tiff_values,
    read_tiff_tags,
)
from faceprep.core.types import Buffer

_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_ORIENTATION, _TIFF_PLANES = 258, 262, 274, 284
_TIFF_SUBFILE, _TIFF_TILE_WIDTH = 254, 322
_SMALL_COPY, _MASK = 1, 4
_WHITE_IS_ZERO, _PLANES_APART = 0, 2
_WEBP_ANIMATION = 0x02
_GIF_EXTENSION, _GIF_IMAGE = 0x21, 0x2C
_JP2_DEPTH = 42
"""Bytes from `JP2_SIZE` to the byte with the sign of the first channel and its bits less one."""
_BMP_INFO, _BMP_V3, _BMP_BITFIELDS = 40, 56, 3
RGB_555, RGB_565, RGB_888 = (0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F), (0xFF0000, 0xFF00, 0xFF)
"""The masks of red, green and blue in a BMP that OpenCV reads."""


def is_animation(suffix: str, data: Buffer) -> bool:
    """Return whether a sound image of the format `suffix` has several frames."""
    if suffix == ".png":
        before_pixels = bytes(data[: 1 << 16]).partition(b"IDAT")[0]
        at = before_pixels.find(b"acTL")
        return at > 0 and int.from_bytes(before_pixels[at + 4 : at + 8], "big") > 1
    if suffix == ".gif":
        return _has_second_gif_frame(data)
    if suffix == ".webp":
        return bytes(data[12:16]) == b"VP8X" and bool(data[20] & _WEBP_ANIMATION)
    if suffix in (".avif", ".heic"):
        heif = read_heif(data)
        return heif is not None and heif.is_sequence
    return False


def has_pages(suffix: str, data: Buffer) -> bool:
    """Return whether a sound image of the format `suffix` is a TIFF of several pages.

    Small copies and masks of a page do not count.
    """
    if suffix == ".tiff":
        with suppress(struct.error):
            for page in islice(find_tiff_pages(data), 1, None):
                if not read_tiff_tags(data, page).get(_TIFF_SUBFILE, 0) & (_SMALL_COPY | _MASK):
                    return True
    return False


def has_sixteen_bits(suffix: str, data: Buffer) -> bool:
    """Return whether a sound image of the format `suffix` holds 16 bits per channel for OpenCV.

    OpenCV reads only the upper 8 bits of a TIFF that stores each channel by itself.
    """
    if suffix == ".png":
        return bool(data[24] == 16)
    if suffix in (".pgm", ".ppm"):
        return read_largest(data) > 255
    if suffix == ".jp2":
        depth = bytes(data).find(JP2_SIZE) + _JP2_DEPTH
        return depth < len(data) and bool(data[depth] & 0x7F == 15)
    tags = _read_tiff(suffix, data)
    return tags.get(_TIFF_BITS) == 16 and tags.get(_TIFF_PLANES) != _PLANES_APART


def has_planes_of_sixteen_bits(suffix: str, data: Buffer) -> bool:
    """Return whether a sound image is a TIFF of 16 bits that stores each channel by itself."""
    tags = _read_tiff(suffix, data)
    return tags.get(_TIFF_BITS) == 16 and tags.get(_TIFF_PLANES) == _PLANES_APART


def has_white_as_zero(suffix: str, data: Buffer) -> bool:
    """Return whether a sound image of the format `suffix` is a TIFF that stores white as 0."""
    return _read_tiff(suffix, data).get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO


def _read_tiff(suffix: str, data: Buffer) -> dict[int, int]:
    """Read the tags of a TIFF; none of another format, or where it is truncated."""
    try:
        return read_tiff_tags(data) if suffix == ".tiff" else {}
    except struct.error:
        return {}


def set_tiles_upright(data: Buffer) -> tuple[Buffer, int]:
    """Return a TIFF of tiles with the orientation 1, and the orientation (1 to 8) that it had.

    OpenCV mirrors each tile by itself. Another TIFF is returned as it is, with 1.
    """
    try:
        places = find_tiff_values(data)
        form, at = places[_TIFF_ORIENTATION]
        (orientation,) = struct.unpack_from(form, data, at)
    except (struct.error, KeyError):
        return data, 1
    if _TIFF_TILE_WIDTH not in places or not 1 < orientation <= 8:
        return data, 1
    upright = bytearray(data)
    struct.pack_into(form, upright, at, 1)
    return bytes(upright), orientation


def read_bmp_masks(data: Buffer) -> tuple[int, ...]:
    """Read the masks of red, green and blue in a pixel of a sound BMP of 16 or 32 bits.

    There are none in other BMPs, and none are returned if the header is of a version (BITMAPV3 or
    later) whose masks OpenCV applies.
    """
    start = bytes(data[14:66]).ljust(52, b"\0")
    header_size, n_bits, compression = struct.unpack_from("<I10xHI", start)
    if header_size < _BMP_INFO:
        return ()
    if compression != _BMP_BITFIELDS:
        return RGB_555 if n_bits == 16 else ()
    return struct.unpack_from("<3I", start, _BMP_INFO) if header_size < _BMP_V3 else ()


def read_largest(data: Buffer) -> int:
    """Read the largest value that a sound .pgm or .ppm announces; 0 if it cannot be read."""
    head = PNM_HEAD.match(bytes(data[:1024]))
    return int(head[3] or 0) if head else 0


def _has_second_gif_frame(data: Buffer) -> bool:
    """Follow the blocks of a GIF up to its second image."""
    at, n_images = 13 + _gif_table(data[10]), 0
    while at + 10 < len(data) and data[at] in (_GIF_EXTENSION, _GIF_IMAGE):
        if data[at] == _GIF_IMAGE:
            n_images += 1
            at += 11 + _gif_table(data[at + 9])
        else:
            at += 2
        while at < len(data) and data[at]:  # parts of up to 255 bytes
            at += 1 + data[at]
        at += 1
    return n_images > 1


def _gif_table(flags: int) -> int:
    """Return the bytes of the colour table that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
