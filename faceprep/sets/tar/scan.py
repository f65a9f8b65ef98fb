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
    Rows,
    count_sound,
    is_header,
    read_names,
    read_size,
)

_LEAST, _MOST = 8 * BLOCK, 1 << 20
_MAGIC_AT, _MAGIC = 257, b"ustar"
_CUT, _DAMAGED = "the file is cut off", "the header is damaged"
_NO_END = "the end mark is missing; the file may be cut off"


class Members(NamedTuple):
    """Regular files that follow one another.

    A member begins at its first header, which may be an extended one, and its content at
    `contents`.
    """

    names: list[str]
    starts: list[int]
    contents: list[int]
    sizes: list[int]


class Gap(NamedTuple):
    """An end mark, or damage with its reason."""

    offset: int
    reason: str = ""


@dataclass
class _Walk:
    """The headers in one block of the file.

    `headers` are their offsets in the block. `regular` are indices of headers of regular files,
    with where these begin, their sizes, and names that an extended header gives. `others` are
    indices of links and the like.
    """

    headers: list[int] = field(default_factory=list)
    regular: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    others: list[int] = field(default_factory=list)
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
            n_sound = self._count_sound(walk, block)
            yield self._members(walk, block, n_sound)
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
                is_ended = walk.problem == _CUT
            if walk.at >= len(block) and len(walk.headers) < 4:
                n_bytes = _LEAST
            else:
                n_bytes = min(_MOST, n_bytes * 4)
        if not is_ended:
            yield Gap(stop, _NO_END)

    def _walk(self, block: bytes) -> _Walk:
        """Follow the headers of `block` up to its end, or to what cannot be a header."""
        walk, extension = _Walk(), self._extension
        base, at, last = self._at, 0, len(block) - BLOCK
        room = self._source.size - base
        while at <= last:
            size = read_size(block[at + SIZE.start : at + SIZE.stop])
            kind = block[at + TYPE]
            if extension.start >= 0 and kind not in EXTENSIONS and extension.size >= 0:
                size = extension.size
            end = at + BLOCK + size
            if size < 0:
                walk.problem = _DAMAGED
                break
            walk.headers.append(at)
            if end > room:
                walk.problem = _CUT
                break
            if kind in EXTENSIONS:
                content = block[at + BLOCK : end]
                if end > len(block):
                    content = self._source.read_at(base + at + BLOCK, min(size, _MOST))
                extension.add(kind, content, base + at)
            else:
                self._add(walk, kind, base + at, size)
            at = end + -size % BLOCK
        else:
            if at < len(block):
                walk.problem = _CUT
        walk.at = at
        return walk

    def _add(self, walk: _Walk, kind: int, offset: int, size: int) -> None:
        extension, index = self._extension, len(walk.headers) - 1
        if kind in REGULAR and not extension.is_sparse:
            if extension.name:
                walk.names[len(walk.regular)] = extension.name
            walk.regular.append(index)
            walk.starts.append(extension.start if extension.start >= 0 else offset)
            walk.sizes.append(size)
        elif kind not in FOLDER:
            walk.others.append(index)
        if extension.start >= 0:
            self._extension.clear()

    def _count_sound(self, walk: _Walk, block: bytes) -> int:
        if not walk.headers:
            return 0
        return count_sound(_rows(block, walk.headers))

    def _members(self, walk: _Walk, block: bytes, n_sound: int) -> Members:
        """Return the regular files among the first `n_sound` headers."""
        n = int(np.searchsorted(walk.regular, n_sound))
        headers = [walk.headers[index] for index in walk.regular[:n]]
        names = read_names(_rows(block, headers))
        for i, name in walk.names.items():
            if i < n:
                names[i] = name
        others = [walk.headers[index] for index in walk.others if index < n_sound]
        for name in read_names(_rows(block, others)):
            self.skipped.add("links or special files", name)
        contents = [self._at + header + BLOCK for header in headers]
        return Members(names, walk.starts[:n], contents, walk.sizes[:n])

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
        while at < stop and problem != _CUT:
            block = self._source.read_at(at, _MOST)
            found = _find_header(block)
            if found >= 0:
                self._at = at + found
                break
            at += len(block)
        return Gap(offset, f"{problem}; {self._at - offset:,} bytes are skipped")


def _rows(block: bytes, headers: list[int]) -> Rows:
    """Return the headers at these offsets of `block` (n, 512)."""
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
