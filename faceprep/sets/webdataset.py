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
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote

from faceprep.core import os_errors, storage
from faceprep.core.errors import SourceError
from faceprep.core.text import parse_whole
from faceprep.core.types import Buffer

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
    is_plain, sum_of_key = start.isascii(), sum(start)
    pieces: list[Buffer] = []
    for suffix, data in files:
        fields = _fields(len(start), suffix, len(data)) if is_plain else None
        if fields is None:
            pieces.append(_long_header(key + suffix, len(data)))
        else:
            checksum = _checksum(sum_of_key + fields.sum)
            pieces += start, fields.up_to_checksum, checksum, _AFTER_CHECKSUM
        pieces += data, _FILLERS[-len(data) % _BLOCK]
    return pieces


def _long_header(name: str, size: int) -> bytes:
    """Encode a header with a pax record for what does not fit."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class _Fields(NamedTuple):
    """The bytes of a header from the suffix of its name on, and the sum of all but the key's."""

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


@lru_cache(_MOST_CACHED)
def _checksum(total: int) -> bytes:
    return b"%06o\0 " % total


# Reading


def read_samples(path: str | os.PathLike[str]) -> Iterator[TarSample]:
    """Yield the samples of a shard; consecutive files with the same key form one.

    Raises SourceError.
    """
    key, files = "", dict[str, bytes]()
    for name, data in _members(path):
        folder, slash, base = name.rpartition("/")
        stem, _, extension = base.partition(".")
        if files and (folder + slash + stem != key or extension in files):
            yield TarSample(key, files)
            files = {}
        key = folder + slash + stem
        files[extension] = data
    if files:
        yield TarSample(key, files)


def _members(path: str | os.PathLike[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each regular file.

    Unlike `tarfile`, it reports a damaged header and does not take it for the end.
    """
    offset, long_name, n_bytes = 0, "", storage.size_of(path) or 0
    with storage.open_source(path) as file:
        while entry := _read_header(file, path, offset):
            if not 0 <= entry.size <= n_bytes - offset:
                raise _cut_off(path, offset, entry.size, n_bytes - offset)
            data = _take(file, path, offset, entry.size + -entry.size % _BLOCK)[: entry.size]
            if entry.type == tarfile.XHDTYPE:
                long_name = _pax_path(data) or long_name
            elif entry.type == tarfile.GNUTYPE_LONGNAME:
                long_name = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
            else:
                if entry.isreg():
                    yield long_name or entry.name, data
                long_name = ""
            offset += _BLOCK + entry.size + -entry.size % _BLOCK


def _read_header(
    file: BinaryIO, path: str | os.PathLike[str], offset: int
) -> tarfile.TarInfo | None:
    block = _take(file, path, offset, _BLOCK)
    if block == END[:_BLOCK]:
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise SourceError(
            f"the tar header is damaged: {error}",
            path=path,
            where=f"offset {offset}",
            remedy="Make the file again.",
        ) from error


def _take(file: BinaryIO, path: str | os.PathLike[str], offset: int, n_bytes: int) -> bytes:
    with os_errors.guard("read", path, SourceError):
        data = file.read(n_bytes)
    if len(data) < n_bytes:
        raise _cut_off(path, offset, n_bytes, len(data))
    return data


def _cut_off(path: str | os.PathLike[str], offset: int, expected: int, found: int) -> SourceError:
    return SourceError(
        "the tar file is cut off",
        path=path,
        where=f"offset {offset}",
        expected=f"{expected:,} bytes",
        found=f"{found:,}",
    )


def _pax_path(records: bytes) -> str:
    """Read the path from pax records, each `LENGTH KEY=VALUE` and a newline.

    Empty where there is none.
    """
    while records:
        digits, _, _ = records.partition(b" ")
        length = parse_whole(digits)
        if not length or length > len(records):
            return ""
        key, _, value = records[len(digits) + 1 : length - 1].partition(b"=")
        if key == b"path":
            return value.decode("utf-8", "surrogateescape")
        records = records[length:]
    return ""
