"""Places of the values of a Parquet column that is plain and not compressed.

A column chunk is a row of pages, each a header in Thrift and its data:

    data page     [u32 length | definition levels] values
    data page v2  definition levels, values
    values        u32 length | bytes, for each value that is not null

Definition levels say which values are null. They are runs: a varint header, then groups of eight
levels bit-packed where it is odd, or one level repeated. Source: apache/parquet-format,
README.md, Encodings.md and parquet.thrift.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Ints
from faceprep.core.storage import ByteSource
from faceprep.sets.protobuf import Malformed, read_varint
from faceprep.sets.thrift import MalformedStruct, Struct, read_struct

_DATA, _INDEX, _DICTIONARY, _DATA_V2 = range(4)
_PLAIN = 0
_HEADERS = (1 << 14, 1 << 24)
"""Bytes that are tried for a page header: statistics make it long."""
_WINDOW = 1 << 16
_U32 = struct.Struct("<I")
NULL = -1
"""The length of a value that is null."""


class DamagedPage(ValueError):
    """An error: the bytes of the chunk are not its pages."""


class NotPlain(ValueError):
    """An error: the values of a page have another encoding than plain."""


class Chunk(NamedTuple):
    """A column chunk: its bytes [start, stop) of the file, its number of values, nulls included.

    A value is null unless its definition level is `max_level`; at 0 there are no levels.
    """

    start: int
    stop: int
    n_values: int
    max_level: int


class _Page(NamedTuple):
    """The values [start, stop) of a page, and which of them are there."""

    start: int
    stop: int
    is_there: npt.NDArray[np.bool_]


def find_values(source: ByteSource, chunk: Chunk) -> Iterator[Ints]:
    """Yield the places of the values of each page, (n, 2) offset and length.

    Raises DamagedPage, and NotPlain where the values cannot be found so.
    """
    n_found, at = 0, chunk.start
    while n_found < chunk.n_values:
        header, begin = _read_header(source, at, chunk.stop)
        size, kind = _number(header, 3), _number(header, 1)
        if size < 0 or begin + size > chunk.stop:
            raise DamagedPage(f"a page of {size} bytes at offset {begin}, beyond its chunk")
        at = begin + size
        if kind in (_DATA, _DATA_V2):
            page = _open_page(source, header, begin, at, chunk)
            n_found += len(page.is_there)
            yield _walk_values(source, page)
    if n_found > chunk.n_values:
        raise DamagedPage(f"{n_found} values in a chunk of {chunk.n_values}")


def _read_header(source: ByteSource, at: int, stop: int) -> tuple[Struct, int]:
    problem = "the end of the chunk"
    for n_bytes in _HEADERS:
        try:
            header, length = read_struct(source.read_at(at, min(n_bytes, max(stop - at, 0))), 0)
            return header, at + length
        except MalformedStruct as error:
            problem = str(error)
    raise DamagedPage(f"no page header at offset {at}: {problem}")


def _number(fields: Struct, field: int) -> int:
    value = fields.get(field)
    if not isinstance(value, int):
        raise DamagedPage(f"a page header without its field {field}")
    return value


def _open_page(source: ByteSource, header: Struct, start: int, stop: int, chunk: Chunk) -> _Page:
    is_old = header[1] == _DATA
    about = header.get(5 if is_old else 8)
    if not isinstance(about, dict):
        raise DamagedPage(f"a page header without its details before offset {start}")
    n, encoding = _number(about, 1), _number(about, 2 if is_old else 4)
    if encoding != _PLAIN:
        raise NotPlain(f"encoding {encoding}")
    if not 0 < n <= chunk.n_values:
        raise DamagedPage(f"a page of {n} values in a chunk of {chunk.n_values}")
    if is_old:
        length = 0
        if chunk.max_level:
            length, start = _read_u32(source.read_at(start, 4), start), start + 4
    else:
        length, skipped = _number(about, 5), _number(about, 6)
        if skipped < 0:
            raise DamagedPage(f"repetition levels of {skipped} bytes at offset {start}")
        start += skipped
    if length < 0 or start + length > stop:
        raise DamagedPage(f"definition levels of {length} bytes at offset {start}")
    levels = np.zeros(n, np.uint8)
    if chunk.max_level:
        levels = _read_levels(source.read_at(start, length), n, chunk.max_level.bit_length())
    return _Page(start + length, stop, levels == chunk.max_level)


def _read_u32(data: bytes, offset: int) -> int:
    if len(data) < 4:
        raise DamagedPage(f"the file ends at offset {offset}")
    number: int = _U32.unpack(data)[0]
    return number


def _read_levels(data: bytes, n: int, width: int) -> npt.NDArray[np.uint8]:
    """Decode `n` definition levels of `width` bits, at most 8."""
    if width > 8:
        raise DamagedPage(f"definition levels of {width} bits")
    levels = np.zeros(n, np.uint8)
    done = at = 0
    while done < n:
        try:
            run, at = read_varint(data, at)
        except Malformed as error:
            raise DamagedPage(f"definition levels: {error}") from None
        n_bytes = 1
        if run & 1:
            n_bytes = (run >> 1) * width
        packed = np.frombuffer(data[at : at + min(n_bytes, n * width + width)], np.uint8)
        if not run >> 1 or not len(packed):
            raise DamagedPage(f"{done} definition levels of {n}")
        if run & 1:
            bits = np.unpackbits(packed, bitorder="little")
            groups = bits[: len(bits) // width * width].reshape(-1, width)
            values = (groups << np.arange(width, dtype=np.uint8)).sum(1, dtype=np.uint8)[: n - done]
        else:
            values = np.broadcast_to(packed, min(run >> 1, n - done))
        levels[done : done + len(values)] = values
        done += len(values)
        at += n_bytes
    return levels


def _walk_values(source: ByteSource, page: _Page) -> Ints:
    """Follow the lengths of the values, through a window that skips what is longer."""
    places = np.full((len(page.is_there), 2), NULL, np.int64)
    at, window, first = page.start, b"", page.start
    offsets, lengths = [], []
    for _ in range(int(page.is_there.sum())):
        if at + 4 > first + len(window):
            window, first = source.read_at(at, min(_WINDOW, max(page.stop - at, 0))), at
            if len(window) < 4:
                raise DamagedPage(f"its values end at offset {at}")
        length = _U32.unpack_from(window, at - first)[0]
        if at + 4 + length > page.stop:
            raise DamagedPage(f"a value of {length} bytes at offset {at}, beyond its page")
        offsets.append(at + 4)
        lengths.append(length)
        at += 4 + length
    places[page.is_there, 0], places[page.is_there, 1] = offsets, lengths
    return places
