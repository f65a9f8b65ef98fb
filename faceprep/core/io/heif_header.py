"""Headers of HEIC and AVIF images: size, orientation and kind, read without decoding.

Both are files of boxes (ISO/IEC 14496-12): u32 size, big-endian, and four letters. `meta` names the
primary item (`pitm`); `iprp` holds properties (`ipco`) and says which items have them (`ipma`):
`ispe` u32 width, u32 height; `irot` quarter turns, counter-clockwise; `imir` the axis of a mirror.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from faceprep.core.types import Buffer

_AVIF_BRANDS = frozenset([b"avif", b"avis"])
_HEIC_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"])
_SEQUENCES = frozenset([b"avis", b"hevc", b"hevx", b"msf1"])
_MOST_META = 1 << 22
"""Bytes that are searched for `meta`, which takes some kilobytes in a large photo of tiles."""


class HeifHeader(NamedTuple):
    """The header of a HEIC or AVIF image.

    `suffix` is ``.heic`` or ``.avif``. `size` is the largest (height, width) that it names, None
    where it names none. A reader turns the picture by `quarters` counter-clockwise, then mirrors it
    at `mirror`: 0 swaps top and bottom, 1 left and right, None neither.
    """

    suffix: str
    size: tuple[int, int] | None
    quarters: int
    mirror: int | None
    is_sequence: bool


def read_heif(data: Buffer) -> HeifHeader | None:
    """Read the header of a HEIC or AVIF image; None for other bytes, including other HEIF images.

    Damaged boxes are skipped.
    """
    if bytes(data[4:8]) != b"ftyp":
        return None
    n_ftyp = int.from_bytes(data[:4], "big")
    brands = [bytes(data[at : at + 4]) for at in (8, *range(16, min(n_ftyp, 256), 4))]
    if _AVIF_BRANDS & set(brands):
        suffix = ".avif"
    elif _HEIC_BRANDS & set(brands):
        suffix = ".heic"
    else:
        return None
    is_sequence = brands[0] in _SEQUENCES
    try:
        properties, own = _read_meta(data)
    except (struct.error, IndexError):
        properties, own = [], []
    sizes = [
        struct.unpack_from(">II", content, 4)[::-1]
        for kind, content in properties
        if kind == b"ispe" and len(content) >= 12
    ]
    size = max(sizes, key=lambda each: each[0] * each[1], default=None)
    turns = {properties[at][0]: properties[at][1][:1] for at in own if at < len(properties)}
    quarters = int.from_bytes(turns.get(b"irot", b"\0"), "big") & 3
    mirror = int.from_bytes(turns[b"imir"], "big") & 1 if b"imir" in turns else None
    return HeifHeader(suffix, size, quarters, mirror, is_sequence)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, content) of consecutive boxes."""
    at = 0
    while at + 8 <= len(data):
        size, start = int.from_bytes(data[at : at + 4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        elif size == 0:
            size = len(data) - at
        if size < start - at:
            return
        yield data[at + 4 : at + 8], data[start : at + size]
        at += size


def measure_boxes(data: Buffer) -> int:
    """Compute the length in bytes of a file of boxes; the last may reach beyond `data`."""
    at = 0
    while at + 16 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # 0 stands for the rest of the file
            return at
        at += size
    return at


def _read_meta(data: Buffer) -> tuple[list[tuple[bytes, bytes]], list[int]]:
    """Return all properties, and the indices of those of the primary item."""
    parts = {}
    for name, content in _boxes(bytes(data[:_MOST_META])):
        if name == b"meta":
            parts = dict(_boxes(content[4:]))
            break
    held = dict(_boxes(parts.get(b"iprp", b"")))
    properties = list(_boxes(held.get(b"ipco", b"")))
    item = parts.get(b"pitm", b"")
    if len(item) < 6 or b"ipma" not in held:
        return properties, []
    primary = int.from_bytes(item[4:6] if item[0] == 0 else item[4:8], "big")
    return properties, _properties_of(primary, held[b"ipma"])


def _properties_of(item: int, table: bytes) -> list[int]:
    """Return the indices of the properties of an item, read from `ipma`."""
    id_size = 2 if table[0] == 0 else 4
    is_wide = table[3] & 1
    at = 8
    for _ in range(int.from_bytes(table[4:8], "big")):
        if at + id_size >= len(table):
            break
        found = int.from_bytes(table[at : at + id_size], "big")
        n, at = table[at + id_size], at + id_size + 1
        step = 1 + is_wide
        places = [
            (int.from_bytes(table[i : i + step], "big") & (0x7FFF if is_wide else 0x7F)) - 1
            for i in range(at, at + n * step, step)
        ]
        if found == item:
            return [place for place in places if place >= 0]
        at += n * step
    return []
