"""What encoded bytes say of themselves, without decoding them: format, size, and whether they hang together.

JPEG: the chain of segments from SOI over a frame (SOF) to the scan (SOS); PNG: signature and IHDR. The other
formats that OpenCV reads are told by their first bytes alone.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from faceprep.types import Buffer

_BY_START = (
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tiff"),
    (b"MM\0*", ".tiff"),
    (b"\0\0\0\x0cjP  ", ".jp2"),
    (b"\x76\x2f\x31\x01", ".exr"),
    *((b"P%d" % kind, suffix) for kind, suffix in zip(range(1, 7), (".pbm", ".pgm", ".ppm") * 2, strict=True)),
)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_HEAD = 1024
_N_HEADS = 4096
_SOUND_HEADS: dict[bytes, ImageHeader] = {}
_PNG = b"\x89PNG\r\n\x1a\n"

IMAGE_SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".jp2"]
    + [".pgm", ".ppm", ".pbm", ".pnm", ".exr", ".hdr"]
)
"""Names of files that are taken for images, in lower case."""


class ImageHeader(NamedTuple):
    """`suffix` as the bytes say, `size` (height, width) in pixels where it is known, `damage` when broken."""

    suffix: str
    size: tuple[int, int] | None = None
    damage: str = ""


_latest = (b"none yet", ImageHeader(""))


def read_header(data: Buffer) -> ImageHeader:
    """Look at the beginning of an encoded image; `suffix` is empty when it is none.

    >>> read_header(b"hello").damage
    'not an image: it begins with 68 65 6c 6c 6f'
    """
    global _latest
    if isinstance(data, bytes) and data.startswith(_latest[0]):  # a tenth of the time of what follows
        return _latest[1]
    start = bytes(data[:_HEAD])
    head = start[: start.find(_SCAN) + 2]
    known = _SOUND_HEADS.get(head)
    if known:
        _latest = head, known
        return known
    if start.startswith(b"\xff\xd8\xff"):
        return _read_jpeg(head, data)
    if start.startswith(_PNG):
        return _read_png(data)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return ImageHeader(".webp")
    for magic, suffix in _BY_START:
        if start.startswith(magic):
            return ImageHeader(suffix)
    return ImageHeader("", damage=f"not an image: it begins with {start[:8].hex(' ')}" if start else "no bytes at all")


def _read_jpeg(head: bytes, data: Buffer) -> ImageHeader:
    """Images of one set mostly share their segments up to the scan: such a `head` is walked once."""
    header, at = _walk_jpeg(data)
    if not header.damage and at + 2 == len(head) and len(_SOUND_HEADS) < _N_HEADS:
        _SOUND_HEADS[head] = header
    return header


def _walk_jpeg(data: Buffer) -> tuple[ImageHeader, int]:
    """What the segments say, and where the walk ended: at the scan when nothing is wrong."""
    at, n, size = 2, len(data), None
    while at + 4 <= n:
        if data[at] != 0xFF:
            return ImageHeader(".jpg", size, f"JPEG segment expected at byte {at}, found {data[at]:#04x}"), at
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # without length
            at += 2
            continue
        if marker in _FRAMES and at + 9 <= n:
            size = data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8]
        elif marker == 0xDA:
            return ImageHeader(".jpg", size, "" if size else "JPEG scan without a frame"), at
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return ImageHeader(".jpg", size, f"JPEG of {n} bytes ends before its scan"), at


def _read_png(data: Buffer) -> ImageHeader:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return ImageHeader(".png", None, "PNG without its IHDR chunk")
    width, height = struct.unpack_from(">II", data, 16)
    return ImageHeader(".png", (height, width), "" if width and height else f"PNG of {width} × {height} pixels")


def check_image(data: Buffer) -> ImageHeader:
    """As `read_header`, and that the image is not cut off: its end mark is there; other bytes may follow it."""
    header = read_header(data)
    if not header.damage and header.suffix == ".jpg" and bytes(data).rfind(_END, _walk_jpeg(data)[1]) < 0:
        return header._replace(damage="JPEG without its end marker")
    if not header.damage and header.suffix == ".png" and b"IEND" not in bytes(data):
        return header._replace(damage="PNG without its IEND chunk")
    return header
