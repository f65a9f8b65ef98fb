"""WebDataset shards: tar files in which the files of a sample follow one another and share its
key.

    IDENTITY/NAME.jpg   the image, its bytes untouched
    IDENTITY/NAME.cls   its class number as text

The key of a file ends at the first dot of its base name, so dots in NAME are written %2E (and %
itself %25). Headers are ustar with fixed time, owner and mode; names that do not fit get a pax
record in front. Source: github.com/webdataset/webdataset (tariterators.py).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.core.types import Buffer
from faceprep.sets.tar.names import split_name
from faceprep.sets.tar.scan import Gap, TarScan

END = bytes(1024)
"""What ends a tar file."""
_BLOCK = 512
_SHORT = 100
_FILLERS = [bytes(n) for n in range(_BLOCK)]
_BEFORE_SIZE = b"0000644\x000000000\x000000000\x00"
_TIME = b"00000000000\x00"
_AFTER_CHECKSUM = (
    b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\x000000000\x00" + bytes(167)
)
_LARGEST = 8**11
_MOST_CACHED = 1 << 14


class TarSample(NamedTuple):
    """A sample; `files` maps extensions to contents, such as ``{"jpg": ..., "cls": b"3"}``."""

    key: str
    files: Mapping[str, bytes]


def key_of(path: str) -> str:
    """Return the key of `path` (without suffix); it is unique and has no dot in its base name.

    >>> key_of("a.b/c.d")
    'a.b/c%2Ed'
    """
    if "." not in path and "%" not in path:
        return path
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.replace("%", "%25").replace(".", "%2E")


def path_of(key: str) -> str:
    """Return the inverse of `key_of`.

    >>> path_of("a.b/c%2Ed")
    'a.b/c.d'
    """
    folder, slash, name = key.rpartition("/")
    return folder + slash + unquote(name, errors="surrogateescape")


def sample_bytes(key: str, image: Buffer, suffix: str, label: int) -> bytes:
    """Encode an image (`suffix` with its dot) and its class as two members of a tar file."""
    return b"".join(sample_pieces(key, [(suffix, image), (".cls", b"%d" % label)]))


def sample_pieces(key: str, files: Iterable[tuple[str, Buffer]]) -> list[Buffer]:
    """Encode the files of a sample, suffixes and contents, as members of a tar file, in pieces."""
    start = key.encode("utf-8", "surrogateescape")
    is_plain, n_before, sum_of_key = start.isascii(), len(start), sum(start)
    pieces: list[Buffer] = []
    for suffix, data in files:
        size = len(data)
        fields = _fields(n_before, suffix, size) if is_plain else None
        if fields is None:
            pieces.append(_long_header(key + suffix, size))
        else:
            up_to_checksum, total = fields
            pieces += start, up_to_checksum, _checksum(sum_of_key + total), _AFTER_CHECKSUM
        pieces += data, _FILLERS[-size % _BLOCK]
    return pieces


@lru_cache(_MOST_CACHED)
def _checksum(total: int) -> bytes:
    return b"%06o\0 " % total


def _long_header(name: str, size: int) -> bytes:
    """Encode a header with a pax record for what does not fit."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class _Fields(NamedTuple):
    """A part of a header: from the suffix, which follows the key in the name, to the checksum.

    `sum` adds up all bytes of the header except those of the key.
    """

    up_to_checksum: bytes
    sum: int


@lru_cache(_MOST_CACHED)
def _fields(n_before: int, suffix: str, size: int) -> _Fields | None:
    """Encode what follows a key of `n_before` bytes; None where it does not fit."""
    n_free = _SHORT - n_before - len(suffix)
    if n_free < 0 or not suffix.isascii() or size >= _LARGEST:
        return None
    fields = suffix.encode() + bytes(n_free) + _BEFORE_SIZE + b"%011o\0" % size + _TIME
    return _Fields(fields, sum(fields) + 8 * ord(" ") + sum(_AFTER_CHECKSUM))


# Reading


def read_samples(path: str | os.PathLike[str]) -> Iterator[TarSample]:
    """Yield the samples of a shard; consecutive files with the same key form one.

    Raises SourceError for damage.
    """
    key, files = "", dict[str, bytes]()
    for name, data in _members(path):
        here, extension = split_name(name)
        if files and (here != key or extension in files):
            yield TarSample(key, files)
            files = {}
        key = here
        files[extension] = data
    if files:
        yield TarSample(key, files)


def _members(path: str | os.PathLike[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each regular file."""
    with ByteSource(path) as source:
        for found in TarScan(source).read_members():
            if isinstance(found, Gap):
                _refuse_damage(path, found)
                continue
            spans = zip(found.contents.tolist(), found.sizes.tolist(), strict=True)
            for name, (offset, size) in zip(found.names, spans, strict=True):
                start = offset - found.base
                data = found.block[start : start + size]
                yield name, data if len(data) == size else source.read_at(offset, size)


def _refuse_damage(path: str | os.PathLike[str], gap: Gap) -> None:
    if gap.reason:
        problem = gap.reason.partition(";")[0]
        remedy = "Make the file again."
        raise SourceError(problem, path=path, where=f"offset {gap.offset}", remedy=remedy)
