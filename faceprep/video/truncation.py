"""A check for video files that are shorter than their headers say.

It decodes nothing and follows sizes.

    .mp4 .mov    boxes: u32 size (big-endian), 4 letters; 1: u64 size follows; 0: up to the end
    .avi         chunks: "RIFF", u32 size (little-endian) of what follows, "AVI " or "AVIX"
    .mkv .webm   elements: id, size, of 1 to 8 bytes each: leading zero bits of the first give the
                 number; a size of ones only is not known
    .wmv         u64 size of the file in the object of file properties; objects: 16 bytes, u64 size

Files of MPEG (.ts .mts .mpg), .flv and .ogv do not state their size.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator

from faceprep.core import storage
from faceprep.core.storage import ByteSource
from faceprep.video.transport import SYNC

CONTAINERS = "MP4, MOV, AVI, MKV, WebM, WMV, FLV, MPEG or Ogg"
"""The kinds of files that are read as videos."""
_EBML = b"\x1a\x45\xdf\xa3"
_ASF = bytes.fromhex("3026b2758e66cf11")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEAD = 1 << 16
_FLV = b"FLV\x01"
_FLV_HEAD = re.compile(_FLV + rb"[\0-\5]\0\0\0\x09\0\0\0\0")
"""The header of .flv, and the size 0 of the tag before the first."""
_BLOCK = 1 << 20
_SILENT = (_FLV, b"\0\0\1\xba", b"\0\0\1\xb3", b"OggS")
_BOX_NAME = re.compile(rb"[A-Za-z0-9 \xa9]{4}")
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def describe_cut(path: str | os.PathLike[str]) -> str:
    """Describe the truncation of a file.

    Empty if it is whole, of another kind, or silent on its size.

    A file without any frame data, the `moov` box of .mp4 and .mov, counts as truncated. Raises
    SourceError.
    """
    with ByteSource(path) as source:
        follow = _layout(source.read_at(0, 12))
        return follow(source) if follow else ""


def describe_unread(path: str | os.PathLike[str]) -> str:
    """Describe files that were joined by `cat` behind those that FFmpeg reads; empty without any.

    Of .mp4, .mov, .wmv and .flv files it reads one, of .mkv and .webm files two. Of .mp4 files in
    fragments (`moof`), as segments of a stream are, it reads all. Raises SourceError.
    """
    with ByteSource(path) as source:
        head = source.read_at(0, 12)
        follow, n_parts, n_read = _layout(head), 0, 1
        if follow is _follow_boxes:
            names = Counter(name for name, _ in _boxes(source))
            n_parts = 0 if names[b"moof"] else names[b"ftyp"]
        elif follow is _follow_ebml:
            n_parts, n_read = sum(name == _EBML for name, _ in _elements(source)), 2
        elif follow is _follow_asf:
            n_parts = sum(name.startswith(_ASF) for name in _objects(source))
        elif head.startswith(_FLV):
            n_parts = _count_flv(source)
    if n_parts <= n_read:
        return ""
    return f"{n_parts} files are joined in it, and FFmpeg does not read all of them"


def is_container(path: str | os.PathLike[str]) -> bool:
    """Return whether the file begins like one of CONTAINERS. Raises SourceError."""
    head = storage.read_bytes(path, 200)
    if _layout(head) or head.startswith(_SILENT):
        return True
    return _has_ts_packets(head, 0, 188) or _has_ts_packets(head, 4, 192)


def _has_ts_packets(head: bytes, start: int, size: int) -> bool:
    """Return whether two packets of MPEG's transport stream of this size follow each other."""
    return len(head) > start + size and head[start] == head[start + size] == SYNC


def _layout(head: bytes) -> Callable[[ByteSource], str] | None:
    if head[4:8] in _FIRST_BOXES:
        return _follow_boxes
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _follow_riff
    if head[:8] == _ASF:
        return _follow_asf
    return _follow_ebml if head[:4] == _EBML else None


def _ends_early(source: ByteSource, end: int) -> str:
    if end > source.size:
        return f"{end - source.size:,} of {end:,} bytes are missing"
    return ""


def _follow_boxes(source: ByteSource) -> str:
    has_index, problem = False, ""
    for name, end in _boxes(source):
        has_index |= name == b"moov"
        problem = problem or _ends_early(source, end)
    if has_index:
        return problem
    return "; ".join(filter(None, [problem, "the list of its frames (moov) is missing"]))


def _boxes(source: ByteSource) -> Iterator[tuple[bytes, int]]:
    """Yield the name and the end of each box on the highest level."""
    offset = 0
    while offset < source.size:
        head = source.read_at(offset, 16)
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if not _BOX_NAME.fullmatch(name):
            return
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        is_last = size < 8  # 0 stands for the rest of the file
        offset = source.size if is_last else offset + size
        yield name, offset


def _follow_riff(source: ByteSource) -> str:
    offset = 0
    while (head := source.read_at(offset, 12))[:4] == b"RIFF":
        offset += 8 + int.from_bytes(head[4:8], "little")
        offset += offset % 2
    if offset > source.size + 1:
        return _ends_early(source, offset - offset % 2)
    return ""


def _follow_ebml(source: ByteSource) -> str:
    return next(filter(None, (_ends_early(source, end) for _, end in _elements(source))), "")


def _elements(source: ByteSource) -> Iterator[tuple[bytes, int]]:
    """Yield the id and the end of each element on the highest level, up to one of unknown size."""
    offset = 0
    while offset < source.size:
        head = source.read_at(offset, 12)
        id_length = 9 - head[0].bit_length()
        size_head = head[id_length:]
        if id_length > 4 or not size_head or not size_head[0]:
            return
        length = 9 - size_head[0].bit_length()
        size = int.from_bytes(size_head[:length], "big") & ((1 << 7 * length) - 1)
        if size == (1 << 7 * length) - 1:  # unknown, because the file was written as a stream
            return
        offset += id_length + length + size
        yield head[:id_length], offset


def _follow_asf(source: ByteSource) -> str:
    head = source.read_at(0, _ASF_HEAD)
    at = head.find(_ASF_PROPERTIES)
    size = head[at + 40 : at + 48]
    if at < 0 or len(size) < 8:
        return ""
    return _ends_early(source, int.from_bytes(size, "little"))


def _objects(source: ByteSource) -> Iterator[bytes]:
    """Yield the GUID of each object on the highest level of .wmv."""
    offset = 0
    while offset < source.size:
        head = source.read_at(offset, 24)
        size = int.from_bytes(head[16:], "little")
        if size < len(head):
            return
        yield head[:16]
        offset += size


def _count_flv(source: ByteSource) -> int:
    """Count the headers of .flv in a file; each is long enough not to occur by chance."""
    extra = 12  # a header may begin with the last byte of a block
    blocks = (source.read_at(at, _BLOCK + extra) for at in range(0, source.size, _BLOCK))
    return sum(len(_FLV_HEAD.findall(block)) for block in blocks)
