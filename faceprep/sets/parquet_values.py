"""Values of a Parquet column of bytes that are found by row group and row, a page at a time.

Pages may be compressed, and hold values or their numbers in a dictionary:

    numbers    u8 bits of a number, then runs as in `parquet_pages`
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.core.urls import is_remote
from faceprep.sets.parquet_footer import ColumnChunk
from faceprep.sets.parquet_pages import (
    PLAIN,
    DamagedPage,
    NotPlain,
    Page,
    ReadAt,
    damaged_pages,
    find_present,
    read_pages,
    read_runs,
)

_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_BY_NUMBER = (2, 8)
"""Encodings by the numbers of values in the dictionary."""
_LONG = 2 << 10
"""Mean bytes of the values of a page from which reading one is faster than reading the page."""
_MOST_GROUPS = 1 << 13
"""Row groups whose pages are remembered."""


class _Strings:
    """Strings with their lengths in front, [start, stop) for `read_at`, found as far as needed."""

    def __init__(self, read_at: ReadAt, start: int, stop: int) -> None:
        self._read_at, self._starts, self._stop = read_at, [start], stop

    def __getitem__(self, number: int) -> bytes:
        starts = self._starts
        while number + 1 >= len(starts):
            at = starts[-1]
            header = self._read_at(at, 4)
            stop = at + 4 + int.from_bytes(header, "little")
            if len(header) < 4 or stop > self._stop:
                raise DamagedPage(f"value {len(starts) - 1} ends beyond its page")
            starts.append(stop)
        start, stop = starts[number] + 4, starts[number + 1]
        data = bytes(self._read_at(start, stop - start))
        if len(data) < stop - start:
            raise DamagedPage(f"value {number} ends beyond the file")
        return data


_NO_STRINGS = _Strings(lambda _, __: b"", 0, 0)


class _Group:
    """The pages of a row group as far as they were needed, and the rows at which they begin."""

    def __init__(self, source: ByteSource, chunk: ColumnChunk) -> None:
        self.chunk = chunk
        self.dictionary: Page | None = None
        self.pages: list[Page] = []
        self.first_rows = [0]
        self._rest = read_pages(source, chunk)
        self._problem: tuple[type[Exception], str] | None = None
        """Not an exception: it would keep the frames of all that raise it, with their images."""

    def find(self, row: int) -> int:
        """Return the number of the page that has a row. Raises DamagedPage and NotPlain."""
        while row >= self.first_rows[-1]:
            if self._problem:
                kind, text = self._problem
                raise kind(text)
            try:
                self._add_next()
            except (DamagedPage, NotPlain) as problem:
                self._problem = type(problem), str(problem)
        return bisect_right(self.first_rows, row) - 1

    def _add_next(self) -> None:
        page = next(self._rest, None)
        if page is None:
            raise DamagedPage(f"it ends at row {self.first_rows[-1]}")
        if page.is_dictionary:
            self.dictionary = page
        elif page.encoding in (PLAIN, *_BY_NUMBER):
            self.pages.append(page)
            self.first_rows.append(self.first_rows[-1] + page.n_values)
        else:
            raise NotPlain(f"encoding {page.encoding}")


class ValueReader:
    """Reads the values of a column from its `chunks`, one for each row group.

    It keeps the page and the dictionary used last.
    """

    def __init__(self, path: str, chunks: Sequence[ColumnChunk | None]) -> None:
        self._source, self._chunks = ByteSource(path), chunks
        self._is_remote = is_remote(path)
        self._groups: dict[int, _Group] = {}
        self._at, self._strings, self._numbers = (-1, -1), _NO_STRINGS, list[int]()
        self._problem = ""
        self._dictionary = -1, _NO_STRINGS

    def read(self, group: int, row: int) -> bytes | None:
        """Read a value of a row group; None for null.

        Raises SourceError, and NotPlain where the row group has a page of another kind.
        """
        try:
            about = self._look_up(group)
            page = about.find(row)
            if (group, page) != self._at:
                self._at, self._problem = (group, page), self._open(group, page, about)
            if self._problem:
                raise DamagedPage(self._problem)
            number = self._numbers[row - about.first_rows[page]]
            return None if number < 0 else self._strings[number]
        except DamagedPage as problem:
            raise damaged_pages(self._source, group, problem) from None
        except SourceError:  # the disk may give the pages when asked again
            self._groups.pop(group, None)
            raise

    def _look_up(self, group: int) -> _Group:
        if group not in self._groups:
            chunk = self._chunks[group]
            if chunk is None or (chunk.codec and chunk.codec not in _CODECS):
                raise NotPlain("another type or compression")
            if len(self._groups) >= _MOST_GROUPS:
                self._groups.clear()
            self._groups[group] = _Group(self._source, chunk)
        return self._groups[group]

    def _open(self, group: int, number: int, about: _Group) -> str:
        """Open a page. Describe its damage, so that it is not unpacked again for each row."""
        self._at = -1, -1
        try:
            self._decode(group, number, about)
        except DamagedPage as problem:
            return str(problem)
        return ""

    def _decode(self, group: int, number: int, about: _Group) -> None:
        page, chunk = about.pages[number], about.chunk
        read_at: ReadAt = self._source.read_at
        first, stop = page.start, page.stop
        if not self._may_read_singly(page, chunk):
            read_at, first, stop = _read_from(self._unpack(page, chunk))
        is_there, start = find_present(read_at, page, first, stop, chunk.max_level)
        if page.encoding == PLAIN:
            self._strings = _Strings(read_at, start, stop)
            numbers = np.arange(int(is_there.sum()))
        else:
            self._strings = self._open_dictionary(group, about)
            width = bytes(read_at(start, 1)) or b"\0"
            numbers = read_runs(read_at(start + 1, stop), int(is_there.sum()), width[0])
        self._numbers = _spread(numbers, is_there).tolist()

    def _may_read_singly(self, page: Page, chunk: ColumnChunk) -> bool:
        """Return whether values are read one by one, since they are as in the file and long."""
        is_packed = chunk.codec and page.is_packed
        is_long = page.stop - page.start >= _LONG * page.n_values
        return page.encoding == PLAIN and not is_packed and is_long and not self._is_remote

    def _open_dictionary(self, group: int, about: _Group) -> _Strings:
        if self._dictionary[0] != group:
            if about.dictionary is None:
                raise DamagedPage("no dictionary")
            strings = _Strings(*_read_from(self._unpack(about.dictionary, about.chunk)))
            self._dictionary = group, strings
        return self._dictionary[1]

    def _unpack(self, page: Page, chunk: ColumnChunk) -> memoryview:
        """Read a page, check its checksum if it has one, and undo its compression."""
        data = memoryview(self._source.read_at(page.start, page.stop - page.start))
        if page.checksum is not None and page.checksum != zlib.crc32(data):
            raise DamagedPage(f"the checksum of the page at offset {page.start} does not match")
        if not chunk.codec or not page.is_packed:
            return data
        n_levels = page.n_skipped + max(page.n_levels, 0)
        n_bytes = page.n_unpacked - n_levels
        values = _undo(chunk.codec, data[n_levels:], n_bytes) if n_bytes > 0 else memoryview(b"")
        return memoryview(b"".join((data[:n_levels], values))) if n_levels else values

    def close(self) -> None:
        self._source.close()


def _read_from(data: memoryview) -> tuple[ReadAt, int, int]:
    """Return what reads `data` at an offset, and its first and last offsets."""
    return lambda at, n_bytes: data[at : at + n_bytes], 0, len(data)


def _undo(codec: int, data: memoryview, n_bytes: int) -> memoryview:
    """Undo the compression of `data`, which has `n_bytes` without it. Raises DamagedPage."""
    try:
        unpacked = pa.Codec(_CODECS[codec]).decompress(pa.py_buffer(data), n_bytes)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DamagedPage(f"a page that cannot be unpacked ({reason})") from None
    found = memoryview(unpacked).cast("B")
    if len(found) != n_bytes:
        raise DamagedPage(f"a page of {len(found)} bytes where it states {n_bytes}")
    return found


def _spread(
    numbers: npt.NDArray[np.int64], is_there: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Return the numbers (n,) of all rows, -1 for those that are not there."""
    spread = np.full(len(is_there), -1, np.int64)
    spread[is_there] = numbers
    return spread
