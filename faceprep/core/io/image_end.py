"""Damage of an encoded image that is cut off, or announces more than its bytes can hold.

Nothing is decoded, and no memory is allocated from what the bytes announce.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from operator import sub

from faceprep.core.io.heif_header import measure_boxes
from faceprep.core.io.image_header import (
    PNM_HEAD,
    PNM_SUFFIXES,
    SCAN_START,
    ImageHeader,
    bmp_size,
    find_scan,
    read_header,
)
from faceprep.core.types import Buffer

_END = b"\xff\xd9"
_PNG_START, _PNG_CHUNK = 8, struct.Struct(">I4s")
_PNM_HEAD = 1024
_UNCOMPRESSED = (0, 3)
_MOST_PIXELS = {".jpg": 512, ".png": 8256, ".gif": 2731, ".bmp": 128}
"""Pixels that a byte can hold at most.

JPEG has at least a bit for a block of 8 × 8 pixels. Deflate shrinks to a 1,032th at most. An LZW
code of 12 bits stands for at most 4,096 pixels, and a run of 2 bytes in a BMP for 255.
"""


def check_image(data: Buffer) -> ImageHeader:
    """Read the header as `read_header` does, and check that the image is not cut off.

    The end marker must be present, or as many bytes as the header announces. Other bytes may
    follow. GIF, TIFF and JPEG 2000 can only be checked by decoding them.
    """
    header = read_header(data)
    if header.damage:
        return header
    damage = _check_end(header.suffix, data) or _check_density(header, len(data))
    return header._replace(damage=damage) if damage else header


def check_images(block: bytes, starts: Sequence[int], stops: Sequence[int]) -> list[ImageHeader]:
    """Check the images ``block[starts[i] : stops[i]]`` as `check_image` does.

    They are checked at once if all begin with the bytes of the first up to its scan, as JPEG files
    of one program and size do.
    """
    first = block[starts[0] : stops[0]]
    header = check_image(first)
    if header.suffix == ".jpg" and not header.damage:
        head = first[: find_scan(first) + SCAN_START]
        shortest = min(map(sub, stops, starts))
        are_long = shortest >= len(head) and not _check_density(header, shortest)
        have_ends = all(block.startswith(_END, stop - len(_END)) for stop in stops)
        if are_long and have_ends and all(block.startswith(head, start) for start in starts):
            return [header] * len(starts)
    spans = zip(starts, stops, strict=True)
    return list(map(check_image, (block[start:stop] for start, stop in spans)))


def _check_end(suffix: str, data: Buffer) -> str:
    """Describe an image that is cut off; empty where its end is there."""
    if suffix == ".jpg":
        return _check_jpeg(data)
    if suffix == ".png":
        return _check_png(data)
    measure = _LENGTHS.get(suffix)
    n_expected = measure(data) if measure else 0
    if len(data) >= n_expected:
        return ""
    return f"{suffix[1:].upper()} is cut off: {len(data):,} of {n_expected:,} bytes"


def _check_density(header: ImageHeader, n_bytes: int) -> str:
    """Describe an image whose bytes cannot hold its pixels, as in a decompression bomb."""
    most = _MOST_PIXELS.get(header.suffix)
    if most is None or header.size is None or header.size[0] * header.size[1] <= most * n_bytes:
        return ""
    height, width = header.size
    name = header.suffix[1:].upper()
    return f"{name} of {n_bytes:,} bytes cannot hold {height:,} × {width:,} pixels"


def _check_jpeg(data: Buffer) -> str:
    if data[-2:] == _END or bytes(data).rfind(_END, find_scan(data)) >= 0:
        return ""
    return "JPEG without its end marker"


def _check_png(data: Buffer) -> str:
    """Follow the chunks up to IEND; a decoder reserves what a chunk announces."""
    at, n = _PNG_START, len(data)
    while at + _PNG_CHUNK.size <= n:
        length, kind = _PNG_CHUNK.unpack_from(data, at)
        if kind == b"IEND":
            return ""
        at += _PNG_CHUNK.size + length + 4
    return "PNG without its IEND chunk"


def _webp_length(data: Buffer) -> int:
    return 8 + int(struct.unpack_from("<I", data, 4)[0])


def _pnm_length(data: Buffer) -> int:
    """Compute the length in bytes of a binary file, or of the header of a text file."""
    match = PNM_HEAD.match(bytes(data[:_PNM_HEAD]))
    if not match:
        return 0
    kind, width, height = data[1] - 48, int(match[1]), int(match[2])
    if kind == 4:
        return match.end(2) + 1 + (width + 7) // 8 * height
    if kind < 4:
        return match.end()
    n_channels = 3 if kind == 6 else 1
    n_bytes = 2 if int(match[3] or 0) > 255 else 1
    return match.end() + width * height * n_channels * n_bytes


def _bmp_length(data: Buffer) -> int:
    """Compute the length in bytes of a file with uncompressed pixels; return 0 for others."""
    if len(data) < 34 or struct.unpack_from("<I", data, 14)[0] < 40:
        return 0
    (offset,) = struct.unpack_from("<I", data, 10)
    bits, compression = struct.unpack_from("<HI", data, 28)
    if compression not in _UNCOMPRESSED:
        return 0
    height, width = bmp_size(data)
    return int(offset + (width * bits + 31) // 32 * 4 * height)


_LENGTHS: dict[str, Callable[[Buffer], int]] = {
    ".webp": _webp_length,
    ".bmp": _bmp_length,
    **dict.fromkeys((".heic", ".avif"), measure_boxes),
    **dict.fromkeys(PNM_SUFFIXES, _pnm_length),
}
