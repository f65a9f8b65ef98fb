"""Pages of a Parquet column of bytes, and the places of their values where they are plain.

A column chunk is a row of pages, each a header in Thrift and its data:

    dictionary      values
    data page       [u32 length | definition levels] values
    data page v2    repetition levels, definition levels, values
    values          u32 length | bytes, for each value that is not null

What follows the header is compressed as a whole, of a data page v2 the values alone. Definition
levels say which values are null. They are runs: a varint header, then groups of eight numbers
bit-packed where it is odd, or one number repeated. Source: apache/parquet-format, README.md,
Encodings.md and parquet.thrift.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.core.types import Buffer
from faceprep.sets.parquet_footer import ColumnChunk
from faceprep.sets.protobuf import Malformed, read_varint
from faceprep.sets.thrift import MalformedStruct, Struct, read_struct

_DATA, _INDEX, _DICTIONARY, _DATA_V2 = range(4)
_DETAILS = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
"""The field of a page header that describes a page of this kind."""
PLAIN, _RLE = 0, 3
_CHECKSUM, _U32_MAX = 4, (1 << 32) - 1
"""The field of a page header with the checksum, and its largest value. It is stored as signed."""
_HEADERS = (1 << 14, 1 << 24)
"""Bytes that are tried for a page header: statistics make it long."""
_WINDOW = 1 << 16
_WIDEST = 32
_LARGEST = (1 << 31) - 1
"""Bytes of a page: Parquet counts them in 32 bits."""
U32 = struct.Struct("<I")
NULL = -1
"""The length of a value that is null."""
ReadAt = Callable[[int, int], Buffer]
"""Reads so many bytes at an offset."""


class DamagedPage(ValueError):
    """An error: the bytes of the chunk are not its pages."""


class NotPlain(ValueError):
    """An error: the values of a page have another encoding than plain."""


class Page(NamedTuple):
    """The bytes [start, stop) of a page, `n_unpacked` without their compression.

    A page of data v2 begins with `n_skipped` bytes of repetition levels and `n_levels` of
    definition levels. In another, `n_levels` is negative: the length of the levels is in front.
    `checksum` is the CRC-32 of its bytes; most writers leave it out.
    """

    is_dictionary: bool
    start: int
    stop: int
    n_unpacked: int
    n_values: int
    encoding: int
    n_skipped: int
    n_levels: int
    is_packed: bool
    checksum: int | None = None


def damaged_pages(source: ByteSource, group: int, problem: DamagedPage) -> SourceError:
    """Return the error of a row group whose pages are damaged."""
    return SourceError(
        f"its pages are damaged: {problem}",
        path=source.path,
        where=f"row group {group}",
        remedy="Copy or make the file again.",
    )


def find_values(source: ByteSource, chunk: ColumnChunk) -> Iterator[Ints]:
    """Yield the places of the values of each page, (n, 2) offset and length.

    The chunk is not compressed. Raises DamagedPage, and NotPlain where the values cannot be found
    so.
    """
    for page in read_pages(source, chunk):
        if page.is_dictionary:
            continue
        if page.encoding != PLAIN:
            raise NotPlain(f"encoding {page.encoding}")
        is_there, start = find_present(source.read_at, page, page.start, page.stop, chunk.max_level)
        yield _walk_values(source, start, page.stop, is_there)


def read_pages(source: ByteSource, chunk: ColumnChunk) -> Iterator[Page]:
    """Yield the dictionary and the pages of data. Raises DamagedPage and NotPlain."""
    n_found, at = 0, chunk.start
    while n_found < chunk.n_values:
        header, start = _read_header(source, at, chunk.stop)
        size, kind = _number(header, 3), _number(header, 1)
        if size < 0 or start + size > chunk.stop:
            raise DamagedPage(f"a page of {size} bytes at offset {start}, beyond its chunk")
        at = start + size
        if kind in _DETAILS:
            page = _make_page(header, kind, start, at, chunk)
            if isinstance(crc := header.get(_CHECKSUM), int):
                page = page._replace(checksum=crc & _U32_MAX)
            n_found += 0 if page.is_dictionary else page.n_values
            yield page
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


def _make_page(header: Struct, kind: int, start: int, stop: int, chunk: ColumnChunk) -> Page:
    about = header.get(_DETAILS[kind])
    if not isinstance(about, dict):
        raise DamagedPage(f"a page header without its details before offset {start}")
    n, n_unpacked = _number(about, 1), _number(header, 2)
    if not 0 <= n_unpacked <= _LARGEST:
        raise DamagedPage(f"a page of {n_unpacked} bytes before offset {start}")
    if kind == _DICTIONARY:
        return Page(True, start, stop, n_unpacked, n, PLAIN, 0, 0, True)
    if not 0 < n <= chunk.n_values:
        raise DamagedPage(f"a page of {n} values in a chunk of {chunk.n_values}")
    if kind == _DATA:
        if chunk.max_level and _number(about, 3) != _RLE:
            raise NotPlain(f"definition levels in encoding {about[3]}")
        return Page(False, start, stop, n_unpacked, n, _number(about, 2), 0, -1, True)
    n_levels, n_skipped = _number(about, 5), _number(about, 6)
    if n_skipped < 0 or n_levels < 0:
        raise DamagedPage(f"levels of {n_levels} and {n_skipped} bytes at offset {start}")
    is_packed = about.get(7) is not False
    return Page(
        False, start, stop, n_unpacked, n, _number(about, 4), n_skipped, n_levels, is_packed
    )


def find_present(
    read_at: ReadAt, page: Page, start: int, stop: int, max_level: int
) -> tuple[npt.NDArray[np.bool_], int]:
    """Return which values (n,) of a page are not null, and where its values begin.

    Its bytes, without compression, are [start, stop) for `read_at`. Raises DamagedPage.
    """
    start += page.n_skipped
    length = page.n_levels
    if length < 0:
        length = 0
        if max_level:
            length, start = _read_u32(read_at(start, 4), start), start + 4
    if start + length > stop:
        raise DamagedPage(f"definition levels of {length} bytes at offset {start}")
    if not max_level:
        return np.ones(page.n_values, bool), start + length
    levels = read_runs(read_at(start, length), page.n_values, max_level.bit_length())
    return levels == max_level, start + length


def _read_u32(data: Buffer, offset: int) -> int:
    if len(data) < 4:
        raise DamagedPage(f"the file ends at offset {offset}")
    number: int = U32.unpack(data)[0]
    return number


def read_runs(data: Buffer, n: int, width: int) -> Ints:
    """Decode `n` numbers of `width` bits from runs. Raises DamagedPage."""
    if width > _WIDEST:
        raise DamagedPage(f"numbers of {width} bits")
    numbers = np.zeros(n, np.int64)
    done = at = 0
    while done < n:
        try:
            run, at = read_varint(data, at)
        except Malformed as error:
            raise DamagedPage(f"its runs of numbers: {error}") from None
        n_bytes = (run >> 1) * width if run & 1 else (width + 7) // 8
        packed = np.frombuffer(data[at : at + min(n_bytes, n * width + width)], np.uint8)
        if not run >> 1 or len(packed) < min(n_bytes, 1):
            raise DamagedPage(f"{done} numbers of {n} in its runs")
        if width and run & 1:
            bits = np.unpackbits(packed, bitorder="little")
            groups = bits[: len(bits) // width * width].reshape(-1, width)
            values = (groups @ (1 << np.arange(width)))[: n - done]
        else:
            number = int.from_bytes(packed.tobytes(), "little")
            count = (run >> 1) * (8 if run & 1 else 1)
            values = np.full(min(count, n - done), number, np.int64)
        numbers[done : done + len(values)] = values
        done += len(values)
        at += n_bytes
    return numbers


def _walk_values(
    source: ByteSource, start: int, stop: int, is_there: npt.NDArray[np.bool_]
) -> Ints:
    """Follow the lengths of the values, through a window that skips what is longer."""
    places = np.full((len(is_there), 2), NULL, np.int64)
    at, window, first = start, b"", start
    offsets, lengths = [], []
    for _ in range(int(is_there.sum())):
        if at + 4 > first + len(window):
            window, first = source.read_at(at, min(_WINDOW, max(stop - at, 0))), at
            if len(window) < 4:
                raise DamagedPage(f"its values end at offset {at}")
        length = U32.unpack_from(window, at - first)[0]
        if at + 4 + length > stop:
            raise DamagedPage(f"a value of {length} bytes at offset {at}, beyond its page")
        offsets.append(at + 4)
        lengths.append(length)
        at += 4 + length
    places[is_there, 0], places[is_there, 1] = offsets, lengths
    return places
