"""Format, size and damage of an encoded image, read without decoding it.

JPEG is checked along its segments from SOI over a frame (SOF) to the scan (SOS), PNG by its
signature and IHDR. The other formats that OpenCV reads are checked by their first bytes and the
fields with the size. No memory is allocated from the values of these fields.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from faceprep.core.io.heif_header import read_heif
from faceprep.core.types import Buffer

PNM_SUFFIXES = (".pbm", ".pgm", ".ppm")
_BY_START = (
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tiff"),
    (b"MM\0*", ".tiff"),
    (b"II+\0", ".tiff"),
    (b"MM\0+", ".tiff"),
    (b"\0\0\0\x0cjP  ", ".jp2"),
    (b"\x76\x2f\x31\x01", ".exr"),
    *((b"P%d" % kind, suffix) for kind, suffix in zip(range(1, 7), PNM_SUFFIXES * 2, strict=True)),
)
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the segments that state the size."""
_SCAN = b"\xff\xda"
SCAN_START = 4
"""Bytes of the marker of a scan and of the length behind it. A sound JPEG has at least these."""
_HEAD = 1024
_N_HEADS = 4096
_SOUND_HEADS: dict[bytes, ImageHeader] = {}
_PNG = b"\x89PNG\r\n\x1a\n"
JP2_SIZE = b"\xff\x4f\xff\x51"
"""The beginning of a JPEG 2000 codestream, with the marker of the segment that states the size."""
PNM_HEAD = re.compile(
    rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:(?:\s|#[^\n]*\n)+(\d{1,5}))?\s"
)
_UNREAD = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"IIRO", "raw (ORF)"),
    (b"IIU\0", "raw (RW2)"),
    (b"FUJIFILMCCD-RAW", "raw (RAF)"),
    (b"\0\0\0\x18ftypcrx ", "raw (CR3)"),
)
_UNREAD_LINE = "a {} image, which is not read: convert it to JPEG or PNG"
_TGA_END = b"TRUEVISION-XFILE.\0"
_TIFF_FORMS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_BIG_TIFF = 43
_SUBFILE, _BITS, _DNG_VERSION = 254, 258, 50706
_REDUCED = 1

UNREAD_SUFFIXES = frozenset(
    [".tga", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".psd", ".jxl"]
)
"""Suffixes of images that no library here reads, in lower case. Such files are failures."""
IMAGE_SUFFIXES = UNREAD_SUFFIXES | frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff"]
    + [".webp", ".jp2", ".pgm", ".ppm", ".pbm", ".pnm", ".exr", ".hdr", ".avif"]
    + [".heic", ".heif", ".hif"]
)
"""Suffixes of image files, in lower case."""


class ImageHeader(NamedTuple):
    """Format of an encoded image as a suffix, its size (height, width) in pixels, its damage.

    `suffix` is empty where OpenCV cannot read the format. `size` is None where it is not known.
    """

    suffix: str
    size: tuple[int, int] | None = None
    damage: str = ""


_latest = (b"none yet", ImageHeader(""))


def read_header(data: Buffer) -> ImageHeader:
    """Read the header of an encoded image.

    >>> read_header(b"hello").damage
    'not an image: it begins with 68 65 6c 6c 6f'
    """
    global _latest
    if isinstance(data, bytes) and data.startswith(_latest[0]):  # ten times as fast as the rest
        return _latest[1]
    start = bytes(data[:_HEAD])
    head = start[: start.find(_SCAN) + SCAN_START]
    known = _SOUND_HEADS.get(head)
    if known:
        _latest = head, known
        return known
    if start.startswith(b"\xff\xd8\xff"):
        return _read_jpeg(head, data)
    if start.startswith(_PNG):
        return _read_png(data)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _read_fields(".webp", data)
    for magic, suffix in _BY_START:
        if start.startswith(magic):
            return _read_fields(suffix, data)
    heif = read_heif(data)
    if heif:
        return _check_size(heif.suffix, heif.size, data)
    return ImageHeader("", damage=_describe_foreign(data))


def _describe_foreign(data: Buffer) -> str:
    """Describe bytes that cannot be read as an image."""
    start = bytes(data[:_HEAD])
    if not start:
        return "no bytes at all"
    for magic, name in _UNREAD:
        if start.startswith(magic):
            return _UNREAD_LINE.format(name)
    if bytes(data[-len(_TGA_END) :]) == _TGA_END:
        return _UNREAD_LINE.format("TGA")
    return f"not an image: it begins with {start[:8].hex(' ')}"


def _read_jpeg(head: bytes, data: Buffer) -> ImageHeader:
    """Read a JPEG, and cache its `head` up to the scan, as images of one set mostly share it."""
    header, at = _walk_jpeg(data)
    if not header.damage and at + SCAN_START == len(head) and len(_SOUND_HEADS) < _N_HEADS:
        _SOUND_HEADS[head] = header
    return header


def find_scan(data: Buffer) -> int:
    """Return the position of the scan of a sound JPEG: an end before it is a thumbnail's."""
    latest = _latest[0]
    is_latest = isinstance(data, bytes) and data.startswith(latest)
    if is_latest and latest.startswith(_SCAN, -SCAN_START):
        return len(latest) - SCAN_START
    return _walk_jpeg(data)[1]


def _walk_jpeg(data: Buffer) -> tuple[ImageHeader, int]:
    """Follow the segments; return the header and the end of the walk, the scan where intact."""
    at, n, size = 2, len(data), None
    while at + 4 <= n:
        if data[at] != 0xFF:
            damage = f"JPEG segment expected at byte {at}, found {data[at]:#04x}"
            return ImageHeader(".jpg", size, damage), at
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # a marker without a length
            at += 2
            continue
        if marker in JPEG_FRAMES and at + 9 <= n:
            size = data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8]
        elif marker == 0xDA:
            damage = "" if size else "JPEG scan without a frame"
            return ImageHeader(".jpg", size, damage), at
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return ImageHeader(".jpg", size, f"JPEG of {n} bytes ends before its scan"), at


def _read_png(data: Buffer) -> ImageHeader:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return ImageHeader(".png", None, "PNG without its IHDR chunk")
    width, height = struct.unpack_from(">II", data, 16)
    damage = "" if width and height else f"PNG of {width} × {height} pixels"
    return ImageHeader(".png", (height, width), damage)


# Formats that keep their size at a fixed position


def _read_fields(suffix: str, data: Buffer) -> ImageHeader:
    find_size = _SIZES.get(suffix)
    if find_size is None:
        return ImageHeader(suffix)
    try:
        size = find_size(data)
    except (struct.error, IndexError):
        size = None
    header = _check_size(suffix, size, data)
    if suffix == ".tiff" and not header.damage:
        return header._replace(damage=_find_raw(data))
    return header


def _check_size(suffix: str, size: tuple[int, int] | None, data: Buffer) -> ImageHeader:
    """Return the header of a format that states its size; 0 stands for an unknown side."""
    if not size:
        damage = f"{suffix[1:].upper()} of {len(data)} bytes does not hold its size"
        return ImageHeader(suffix, None, damage)
    return ImageHeader(suffix, size if all(size) else None)


def _gif_size(data: Buffer) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def bmp_size(data: Buffer) -> tuple[int, int]:
    """Read the size (height, width) of a BMP. Raises struct.error for a truncated file."""
    is_old = struct.unpack_from("<I", data, 14)[0] == 12
    form = "<HH" if is_old else "<ii"
    width, height = struct.unpack_from(form, data, 18)
    return abs(height), abs(width)


def _webp_size(data: Buffer) -> tuple[int, int] | None:
    kind = bytes(data[12:16])
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (low_h | high_h << 16) + 1, (low_w | high_w << 16) + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def read_tiff_tags(data: Buffer, page: int | None = None) -> dict[int, int]:
    """Read the first value of each tag of whole numbers in a directory of a (Big)TIFF.

    `page` is one of `find_tiff_pages`; None stands for the first. Raises struct.error for a
    truncated file.
    """
    places = find_tiff_values(data, page)
    return {tag: struct.unpack_from(form, data, at)[0] for tag, (form, at) in places.items()}


def find_tiff_values(data: Buffer, page: int | None = None) -> dict[int, tuple[str, int]]:
    """Return the form (for `struct`) and the place of each value that `read_tiff_tags` reads.

    Raises struct.error for a truncated file.
    """
    order, count, offset, start = _tiff_forms(data)
    n_inline = struct.calcsize(offset)
    at = _tiff_offset(data, order + offset, start) if page is None else page
    n_entries = struct.unpack_from(order + count, data, at)[0]
    at += struct.calcsize(count)
    found = {}
    for place in range(at, at + n_entries * (4 + 2 * n_inline), 4 + 2 * n_inline):
        tag, kind, n = struct.unpack_from(order + "HH" + offset, data, place)
        form = _TIFF_FORMS.get(kind)
        if form:
            is_apart = n * struct.calcsize(form) > n_inline
            value = place + 4 + n_inline
            if is_apart and tag == _BITS:
                value = _tiff_offset(data, order + offset, value)
            if not is_apart or tag == _BITS:
                found[tag] = order + form, value
    return found


def find_tiff_pages(data: Buffer) -> Iterator[int]:
    """Yield the place of each directory of a (Big)TIFF, such as that of a page or of a mask.

    Raises struct.error for a truncated file.
    """
    order, count, offset, at = _tiff_forms(data)
    seen: set[int] = set()
    while (page := _tiff_offset(data, order + offset, at)) and page not in seen:
        seen.add(page)
        yield page
        n_entries = struct.unpack_from(order + count, data, page)[0]
        at = page + struct.calcsize(count) + n_entries * (4 + 2 * struct.calcsize(offset))


def _tiff_forms(data: Buffer) -> tuple[str, str, str, int]:
    """Return the order of bytes, the forms of a count and of an offset, and where the first is."""
    order = "<" if data[0] == 0x49 else ">"
    if struct.unpack_from(order + "H", data, 2)[0] == _BIG_TIFF:
        return order, "Q", "Q", 8
    return order, "H", "I", 4


def _tiff_offset(data: Buffer, form: str, at: int) -> int:
    """Read an offset, at most the length of the file."""
    (offset,) = struct.unpack_from(form, data, min(at, len(data)))
    return min(int(offset), len(data))


def _tiff_size(data: Buffer) -> tuple[int, int] | None:
    """Read ImageWidth and ImageLength."""
    found = read_tiff_tags(data)
    return (found[257], found[256]) if {256, 257} <= found.keys() else None


def _find_raw(data: Buffer) -> str:
    """Describe a TIFF that is a camera's raw file, whose first image is a small preview."""
    try:
        tags = read_tiff_tags(data)
    except struct.error:
        return ""
    if _DNG_VERSION in tags:
        return _UNREAD_LINE.format("raw (DNG)")
    if bytes(data[8:10]) == b"CR" or tags.get(_SUBFILE, 0) & _REDUCED:
        return _UNREAD_LINE.format("raw")
    return ""


def _jp2_size(data: Buffer) -> tuple[int, int] | None:
    """Read the SIZ segment of the codestream, as decoders do; the box before it may be wrong."""
    at = bytes(data).find(JP2_SIZE)
    if at < 0:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
    return max(bottom - top, 0), max(right - left, 0)


def _pnm_size(data: Buffer) -> tuple[int, int] | None:
    match = PNM_HEAD.match(bytes(data[:_HEAD]))
    return (int(match[2]), int(match[1])) if match else None


_SIZES: dict[str, Callable[[Buffer], tuple[int, int] | None]] = {
    ".gif": _gif_size,
    ".bmp": bmp_size,
    ".webp": _webp_size,
    ".tiff": _tiff_size,
    ".jp2": _jp2_size,
    **dict.fromkeys(PNM_SUFFIXES, _pnm_size),
}


def is_image_name(name: str) -> bool:
    """Return whether the suffix is that of an image, in upper or lower case.

    >>> is_image_name("a.JPG"), is_image_name("a.txt"), is_image_name(".jpg")
    (True, False, False)
    """
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in IMAGE_SUFFIXES
