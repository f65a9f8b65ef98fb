"""The directory of a zip file, read in pieces, and single members by position.

    end         PK 5 6, 22 bytes: n, size and offset of the directory, length of the comment
    zip64 end   PK 6 6, found by a locator PK 6 7 of 20 bytes right before the end
    directory   PK 1 2, 46 bytes, then name, extra fields, comment
    member      PK 3 4, 30 bytes, then name, extra fields, content

`zipfile` holds an object for each member in memory; this does not. Source: APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.sets.file_format import refuse_other_format

STORED, DEFLATED = 0, 8
_END, _LOCATOR = struct.Struct("<4s4H2IH"), struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_RECORD, _LOCAL = struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s5H3I2H")
_ZIP64 = 1
_MOST_COMMENT = 1 << 16
_PIECE = 1 << 20
_MOST_RECORD = _RECORD.size + 3 * 0xFFFF
_USUAL = 512
_IS_LINK, _TYPES = 0xA000, 0xF000
_UNIX, _DOS = 3, 0


class ZipMember(NamedTuple):
    """A record of the directory; `at` is its own offset, `start` that of the member."""

    at: int
    name: str
    start: int
    packed_size: int
    size: int
    crc: int
    method: int
    is_encrypted: bool
    is_link: bool


class Directory(NamedTuple):
    """Where the directory lies, and how far all offsets are shifted by bytes before the zip."""

    start: int
    stop: int
    shift: int


def find_directory(source: ByteSource) -> Directory:
    """Find the directory. Raises SourceError."""
    tail_at = max(0, source.size - _END.size - _MOST_COMMENT)
    tail = source.read_at(tail_at, source.size - tail_at)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < _END.size:
        refuse_other_format(source.path)
        raise SourceError(
            "not a zip file, or cut off",
            expected="a directory at its end",
            found="none",
            remedy="Copy the file again.",
        )
    end = tail_at + found
    *_, size, start, _ = _END.unpack_from(tail, found)
    locator = source.read_at(max(0, end - _LOCATOR.size), _LOCATOR.size)
    if locator[:4] == b"PK\6\7":
        _, _, at, _ = _LOCATOR.unpack(locator)
        for place in (at, end - _LOCATOR.size - _END64.size):
            record = b""
            if 0 <= place < end:
                record = source.read_at(place, _END64.size)
            if record[:4] == b"PK\6\6" and len(record) == _END64.size:
                end = place
                *_, size, start = _END64.unpack(record)
                break
    shift = end - size - start
    if shift < 0:
        raise _damaged(source, start)
    return Directory(start + shift, end, shift)


def _damaged(source: ByteSource, at: int) -> SourceError:
    return SourceError(
        "the directory of the zip file is damaged",
        path=source.path,
        where=f"offset {at}",
        remedy="Copy the file again.",
    )


def read_directory(source: ByteSource, directory: Directory) -> Iterator[ZipMember]:
    """Yield the members in the order of the directory. Raises SourceError."""
    at = directory.start
    block, base = b"", at
    while at < directory.stop:
        if at - base + _MOST_RECORD > len(block) and base + len(block) < directory.stop:
            base, block = at, source.read_at(at, min(_PIECE, directory.stop - at))
        member, length = _parse(source, block, at - base, base, directory.shift)
        if at + length > directory.stop:  # a wrong length hides the records that follow
            raise _damaged(source, at)
        yield member
        at += length


def read_record(source: ByteSource, at: int, shift: int) -> ZipMember:
    """Read the record of the directory at `at`. Raises SourceError."""
    block = source.read_at(at, _USUAL)
    if len(block) >= _RECORD.size:
        fields = _RECORD.unpack_from(block)
        if _RECORD.size + fields[10] + fields[11] > len(block):
            block = source.read_at(at, _MOST_RECORD)
    return _parse(source, block, 0, at, shift)[0]


def _parse(
    source: ByteSource, block: bytes, at: int, base: int, shift: int
) -> tuple[ZipMember, int]:
    """Read the record at `at` of `block`, which begins at `base`; return it and its length."""
    if block[at : at + 4] != b"PK\1\2" or len(block) - at < _RECORD.size:
        raise _damaged(source, base + at)
    fields = _RECORD.unpack_from(block, at)
    made_by, _, flags, method, _, _, crc, packed, size = fields[1:10]
    n_name, n_extra, n_comment, _, _, attributes, start = fields[10:]
    name_at = at + _RECORD.size
    raw = block[name_at : name_at + n_name]
    extra = block[name_at + n_name : name_at + n_name + n_extra]
    if len(raw) + len(extra) < n_name + n_extra:
        raise _damaged(source, base + at)
    if 0xFFFFFFFF in (size, packed, start):
        size, packed, start = _read_zip64(extra, [size, packed, start])
    name = raw.decode("utf-8", "surrogateescape")
    if not flags & 0x800 and not raw.isascii():
        name = raw.decode("cp437")
    if made_by >> 8 == _DOS:
        name = name.replace("\\", "/")
    is_link = made_by >> 8 == _UNIX and attributes >> 16 & _TYPES == _IS_LINK
    member = ZipMember(
        base + at, name, start + shift, packed, size, crc, method, bool(flags & 1), is_link
    )
    return member, _RECORD.size + n_name + n_extra + n_comment


def _read_zip64(extra: bytes, numbers: list[int]) -> list[int]:
    """Replace the numbers that do not fit in 32 bits by those of the extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64:
            field = extra[at + 4 : at + 4 + length]
            wide = [number for (number,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8])]
            for i, number in enumerate(numbers):
                if number == 0xFFFFFFFF and wide:
                    numbers[i] = wide.pop(0)
        at += 4 + length
    return numbers


def read_content(source: ByteSource, member: ZipMember) -> bytes | str:
    """Read a member that is stored or deflated, or return why it cannot be read.

    Raises SourceError where the disk fails.
    """
    n_bytes = _LOCAL.size + len(member.name.encode("utf-8", "surrogateescape")) + _USUAL
    block = source.read_at(member.start, n_bytes + member.packed_size)
    if len(block) < _LOCAL.size or block[:4] != b"PK\3\4":
        return "no member of the zip file begins there"
    n_name, n_extra = _LOCAL.unpack_from(block)[9:]
    begin = _LOCAL.size + n_name + n_extra
    packed = block[begin : begin + member.packed_size]
    if len(packed) < member.packed_size:
        packed = source.read_at(member.start + begin, member.packed_size)
    if len(packed) < member.packed_size:
        return "the file is cut off"
    data = packed
    if member.method == DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
        except zlib.error:
            return "the compressed bytes are damaged"
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        return "the bytes are damaged: their checksum does not match"
    return data
