"""The members of a tar file in order, found by its headers alone.

Blocks of the file are read and followed from header to header; contents beyond a block are skipped
by position. Damage does not end the scan: it resumes at the next header that is sound. Two tar
files that were joined are both read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Ints, Octets
from faceprep.core.storage import ByteSource
from faceprep.sets.members import SkippedFiles
from faceprep.sets.tar.headers import (
    BLOCK,
    EXTENSIONS,
    FOLDER,
    PREFIX,
    REGULAR,
    SIZE,
    TYPE,
    Extension,
    count_sound,
    is_header,
    read_name,
    read_name_fields,
    read_size,
)
from faceprep.sets.tar.names import is_image, split_name
from faceprep.sets.tar.plain_headers import LEAST, PlainHeaders, rows_of

_SIZE, _SIZE_END = SIZE.start, SIZE.stop
_LEAST, _MOST = 8 * BLOCK, 4 << 20
_MAGIC_AT, _MAGIC = 257, b"ustar"
CUT, _DAMAGED = "the file is cut off", "the header is damaged"
_LINKS = "links or special files"
_NO_END = "the end mark is missing; the file may be cut off"


class Members(NamedTuple):
    """Regular files that follow one another.

    A member begins at its first header, which may be an extended one, and its content at
    `contents`. `block` are the bytes of the file from `base` that the headers were read from.
    `fields` (n, k) are the names, zeros behind each; those that headers do not hold as they are
    are in `longer`, by the number of the member.
    """

    fields: Octets
    longer: dict[int, str]
    starts: Ints
    contents: Ints
    sizes: Ints
    block: bytes
    base: int

    @property
    def names(self) -> list[str]:
        """Return the names as strings."""
        joined = b"\0".join(self.fields.view(f"S{self.fields.shape[1]}").ravel().tolist())
        names = joined.decode("utf-8", "surrogateescape").split("\0")[: len(self.fields)]
        for i, name in self.longer.items():
            names[i] = name
        return names

    def part(self, start: int, stop: int) -> Members:
        """Return the members [start, stop)."""
        return Members(
            self.fields[start:stop],
            {i - start: name for i, name in self.longer.items() if start <= i < stop},
            self.starts[start:stop],
            self.contents[start:stop],
            self.sizes[start:stop],
            self.block,
            self.base,
        )


class Bodiless(NamedTuple):
    """A member with the name of an image whose bytes are not in the file as they are: a link."""

    name: str
    start: int


class Gap(NamedTuple):
    """An end mark, or damage with its reason."""

    offset: int
    reason: str = ""


@dataclass
class _Walk:
    """The headers in one block of the file, by their positions in it in steps of 512 bytes.

    The rest is by the index of the header: `silent` are pax headers that change nothing; `sizes`
    are those of headers that were looked at; `others` are not regular files, with the reason if
    they are reported; `starts` and `names` come from extended headers.
    """

    plain: PlainHeaders
    headers: list[int] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    others: dict[int, str] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    at: int = 0
    problem: str = ""

    def last_end(self) -> int:
        """Return where the content of the last header ends, by bytes from the block's start."""
        last = len(self.headers) - 1
        at = self.headers[last]
        size = self.sizes.get(last)
        if size is None:
            size = int(self.plain.sizes[at])
        return (at + 1) * BLOCK + size


class TarScan:
    """A scan of one tar file.

    Windows of `n_together` blocks or more are read by `PlainHeaders`, with the same result.
    """

    def __init__(self, source: ByteSource, n_together: int = LEAST) -> None:
        self._source, self._at, self._n_together = source, 0, n_together
        self._extension = Extension()
        self.skipped = SkippedFiles()
        self.bodiless: list[Bodiless] = []
        """Images that are links or special files, so far; the caller removes them."""
        self.n_joined = 0
        """Number of tar files that follow the first end mark."""

    def read_members(self) -> Iterator[Members | Gap]:
        """Yield the regular files, and a Gap where they are interrupted. Raises SourceError."""
        n_bytes, stop = _MOST, self._source.size
        is_ended = False
        while self._at < stop:
            block = self._source.read_at(self._at, min(n_bytes, stop - self._at))
            base, walk = self._at, self._walk(block)
            headers = np.array(walk.headers, np.int64)
            rows = rows_of(block)[headers]
            n_sound = count_sound(rows)
            if n_sound:
                yield self._members(walk, headers, rows[:n_sound], block)
            self._at = base + walk.at
            is_ended = False
            if n_sound < len(walk.headers):
                yield self._resume_after(base + walk.headers[n_sound] * BLOCK, _DAMAGED)
            elif walk.problem and not any(block[walk.at : walk.at + BLOCK]):
                yield Gap(self._at)
                self._extension.clear()
                is_ended = self._skip_zeros()
            elif walk.problem:
                yield self._resume_after(self._at, walk.problem)
                is_ended = walk.problem == CUT
            if walk.at >= len(block) and len(walk.headers) < 4:
                n_bytes = _LEAST
            else:
                n_bytes = min(_MOST, n_bytes * 4)
        if not is_ended:
            yield Gap(stop, _NO_END)

    def _walk(self, block: bytes) -> _Walk:
        """Follow the headers of `block` up to its end, or to what cannot be a header."""
        walk, extension = _Walk(PlainHeaders(block, self._n_together)), self._extension
        at, n = 0, len(block) // BLOCK
        while at < n:
            if extension.start < 0:
                at = walk.plain.follow(at, walk.headers, walk.silent)
                if at >= n:
                    break
            size = self._look(walk, block, at * BLOCK)
            if size < 0:
                walk.problem = _DAMAGED
                break
            walk.sizes[len(walk.headers)] = size
            walk.headers.append(at)
            at += 1 + (size + BLOCK - 1) // BLOCK
        walk.at = at * BLOCK
        if not walk.problem and walk.at < len(block):
            walk.problem = CUT
        if walk.headers and self._at + walk.last_end() > self._source.size:
            walk.problem, walk.at = CUT, walk.headers[-1] * BLOCK
            walk.others[len(walk.headers) - 1] = ""
        return walk

    def _look(self, walk: _Walk, block: bytes, at: int) -> int:
        """Look at a header of any kind; return its true size, -1 where it cannot be a header."""
        extension, kind = self._extension, block[at + TYPE]
        size = read_size(block[at + _SIZE : at + _SIZE_END])
        index, offset = len(walk.headers), self._at + at
        if size < 0:
            return size
        if kind in EXTENSIONS:
            walk.others[index] = ""
            content = block[at + BLOCK : at + BLOCK + size]
            if len(content) < size:
                content = self._source.read_at(offset + BLOCK, min(size, _MOST))
            extension.add(kind, content, offset)
        else:
            if extension.size >= 0:
                size = extension.size
            if kind in FOLDER:
                walk.others[index] = ""
            elif kind not in REGULAR or extension.is_sparse:
                walk.others[index] = _LINKS
            if extension.start >= 0:
                walk.starts[index] = extension.start
                if extension.name:
                    walk.names[index] = extension.name
            extension.clear()
        return size

    def _members(self, walk: _Walk, headers: Ints, rows: Octets, block: bytes) -> Members:
        """Return the regular files among the sound headers `rows`, the first of `headers`."""
        n = len(rows)
        starts = headers * BLOCK + self._at
        contents, sizes = starts + BLOCK, walk.plain.sizes[headers]
        sizes[list(walk.sizes)] = list(walk.sizes.values())
        silent = np.array(walk.silent, np.int64)
        starts[silent + 1] = starts[silent]
        starts[list(walk.starts)] = list(walk.starts.values())
        kept = np.ones(len(headers), np.bool_)
        kept[silent] = kept[list(walk.others)] = kept[n:] = False
        for index, reason in walk.others.items():
            if reason and index < n:
                name = walk.names.get(index) or read_name(rows[index].tobytes())
                self._note_other(name, int(starts[index]), reason)
        places = np.cumsum(kept) - 1
        with_prefix = np.flatnonzero((rows[:, PREFIX.start] > 0) & kept[:n]).tolist()
        longer = {int(places[index]): read_name(rows[index].tobytes()) for index in with_prefix}
        longer |= {int(places[index]): name for index, name in walk.names.items() if kept[index]}
        fields = read_name_fields(rows[kept[:n]])
        columns = starts[kept], contents[kept], sizes[kept]
        return Members(fields, longer, *columns, block, self._at)

    def _note_other(self, name: str, start: int, reason: str) -> None:
        """Note a member that is neither a regular file nor a folder."""
        if is_image(split_name(name)[1]):
            self.bodiless.append(Bodiless(name, start))
        else:
            self.skipped.add(reason, name)

    def _skip_zeros(self) -> bool:
        """Skip an end mark and what fills the file; return whether the file ends there."""
        stop = self._source.size
        while self._at < stop:
            block = self._source.read_at(self._at, _MOST)
            n_zeros = len(block) - len(block.lstrip(b"\0"))
            if n_zeros < len(block):
                at = n_zeros // BLOCK * BLOCK
                self._at += at
                self.n_joined += is_header(block[at : at + BLOCK])
                return False
            self._at += len(block)
        return True

    def _resume_after(self, offset: int, problem: str) -> Gap:
        """Move to the next sound header after `offset`, or to the end of the file."""
        self._extension.clear()
        self._at = stop = self._source.size
        at = offset + BLOCK
        while at < stop and problem != CUT:
            block = self._source.read_at(at, _MOST)
            found = _find_header(block)
            if found >= 0:
                self._at = at + found
                break
            at += len(block)
        return Gap(offset, f"{problem}; {self._at - offset:,} bytes are skipped")


def _find_header(block: bytes) -> int:
    """Return the offset of the first sound header in `block`, or -1."""
    at = block.find(_MAGIC)
    while at >= 0:
        start = at - _MAGIC_AT
        if start >= 0 and start % BLOCK == 0 and is_header(block[start : start + BLOCK]):
            return start
        at = block.find(_MAGIC, at + 1)
    return -1
