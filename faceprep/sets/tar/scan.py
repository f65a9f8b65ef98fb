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
    REGULAR,
    SIZE,
    TYPE,
    Extension,
    count_sound,
    is_header,
    read_names,
    read_size,
)

_SIZE, _SIZE_END, _PLAIN = SIZE.start, SIZE.stop, ord("0")
_LEAST, _MOST = 8 * BLOCK, 1 << 20
_MAGIC_AT, _MAGIC = 257, b"ustar"
CUT, _DAMAGED = "the file is cut off", "the header is damaged"
_LINKS = "links or special files"
_NO_END = "the end mark is missing; the file may be cut off"


class Members(NamedTuple):
    """Regular files that follow one another.

    A member begins at its first header, which may be an extended one, and its content at
    `contents`. `block` are the bytes of the file from `base` that the headers were read from.
    """

    names: list[str]
    starts: Ints
    contents: Ints
    sizes: Ints
    block: bytes
    base: int

    def part(self, start: int, stop: int) -> Members:
        """Return the members [start, stop)."""
        return Members(
            self.names[start:stop],
            self.starts[start:stop],
            self.contents[start:stop],
            self.sizes[start:stop],
            self.block,
            self.base,
        )


class Gap(NamedTuple):
    """An end mark, or damage with its reason."""

    offset: int
    reason: str = ""


@dataclass
class _Walk:
    """The headers in one block of the file: their offsets in it, and the sizes after them.

    The rest is by the index of the header: `others` are not regular files, with the reason if they
    are reported; `starts` and `names` come from extended headers.
    """

    headers: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    others: dict[int, str] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    at: int = 0
    problem: str = ""


class TarScan:
    """A scan of one tar file."""

    def __init__(self, source: ByteSource) -> None:
        self._source, self._at = source, 0
        self._extension = Extension()
        self.skipped = SkippedFiles()
        self.n_joined = 0
        """Number of tar files that follow the first end mark."""

    def read_members(self) -> Iterator[Members | Gap]:
        """Yield the regular files, and a Gap where they are interrupted. Raises SourceError."""
        n_bytes, stop = _MOST, self._source.size
        is_ended = False
        while self._at < stop:
            block = self._source.read_at(self._at, min(n_bytes, stop - self._at))
            base, walk = self._at, self._walk(block)
            rows = _rows(block, walk.headers)
            n_sound = count_sound(rows)
            if n_sound:
                yield self._members(walk, rows[:n_sound], block)
            self._at = base + walk.at
            is_ended = False
            if n_sound < len(walk.headers):
                yield self._resume_after(base + walk.headers[n_sound], _DAMAGED)
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
        walk, extension = _Walk(), self._extension
        at, last = 0, len(block) - BLOCK
        add, add_size = walk.headers.append, walk.sizes.append
        while at <= last:
            size = read_size(block[at + _SIZE : at + _SIZE_END])
            if block[at + TYPE] != _PLAIN or size < 0 or extension.start >= 0:
                size = self._look(walk, block, at, size)
                if size < 0:
                    walk.problem = _DAMAGED
                    break
            add(at)
            add_size(size)
            at += BLOCK + (size + BLOCK - 1 & -BLOCK)
        else:
            if at < len(block):
                walk.problem = CUT
        if walk.sizes and self._at + walk.headers[-1] + BLOCK + walk.sizes[-1] > self._source.size:
            walk.problem, at = CUT, walk.headers[-1]
            walk.others[len(walk.headers) - 1] = ""
            walk.sizes[-1] = 0
        walk.at = at
        return walk

    def _look(self, walk: _Walk, block: bytes, at: int, size: int) -> int:
        """Look at a header that is not simply that of a regular file; return its true size."""
        extension, kind = self._extension, block[at + TYPE]
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
            if kind not in REGULAR or extension.is_sparse:
                walk.others[index] = ""
                if kind not in FOLDER:
                    walk.others[index] = _LINKS
            elif extension.start >= 0:
                walk.starts[index] = extension.start
                if extension.name:
                    walk.names[index] = extension.name
            extension.clear()
        return size

    def _members(self, walk: _Walk, rows: Octets, block: bytes) -> Members:
        """Return the regular files among the sound headers `rows`."""
        n = len(rows)
        offsets, sizes = (np.array(part[:n], np.int64) for part in (walk.headers, walk.sizes))
        starts = offsets + self._at
        for index, start in walk.starts.items():
            if index < n:
                starts[index] = start
        names = read_names(rows)
        for index, name in walk.names.items():
            if index < n:
                names[index] = name
        contents = offsets + (self._at + BLOCK)
        if not walk.others:
            return Members(names, starts, contents, sizes, block, self._at)
        for index, reason in walk.others.items():
            if reason and index < n:
                self.skipped.add(reason, names[index])
        kept = [index for index in range(n) if index not in walk.others]
        return Members(
            [names[index] for index in kept],
            starts[kept],
            contents[kept],
            sizes[kept],
            block,
            self._at,
        )

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


def _rows(block: bytes, headers: list[int]) -> Octets:
    """Return the headers at these offsets of `block` (n, 512)."""
    if not headers:
        return np.zeros((0, BLOCK), np.uint8)
    whole = np.frombuffer(block, np.uint8, len(block) // BLOCK * BLOCK).reshape(-1, BLOCK)
    return whole[np.asarray(headers, np.int64) // BLOCK]


def _find_header(block: bytes) -> int:
    """Return the offset of the first sound header in `block`, or -1."""
    at = block.find(_MAGIC)
    while at >= 0:
        start = at - _MAGIC_AT
        if start >= 0 and start % BLOCK == 0 and is_header(block[start : start + BLOCK]):
            return start
        at = block.find(_MAGIC, at + 1)
    return -1
