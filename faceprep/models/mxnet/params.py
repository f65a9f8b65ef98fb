"""Reader of `.params`, the weights of an MXNet checkpoint, without MXNet.

All numbers are little-endian. The file is u64 0x112, u64 0, u64 n, n arrays, u64 m, and m names,
each a u64 length and its characters: `arg:…` for weights, `aux:…` for running means.

An array is u32 magic, i32 storage (0 dense; missing in the first version), u32 ndim, i64 × ndim,
i32 device, i32 its number, i32 type, data. The oldest arrays begin with u32 ndim and u32 × ndim
instead. An array without dimensions ends after them.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource

_MAGIC = 0x112
_FIRST, _SECOND, _THIRD = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_STORAGES = {1: "row_sparse", 2: "csr"}
_TYPES: tuple[str, ...] = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8")
_MAX_ARRAYS, _MAX_NAME, _MAX_DIMENSIONS = 1 << 17, 1 << 12, 32
_PREFIXES = ("arg:", "aux:")


class _Place(NamedTuple):
    """The place of an array's data in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class Params:
    """The arrays of an open `.params` file, each read when it is asked for.

    Raises SourceError if the file is cut off, or is no such file. Sizes are compared with the
    file before anything is allocated.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._places = _read_places(source)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def read(self, name: str) -> npt.NDArray[Any]:
        """Read the array `name`, without `arg:` or `aux:`, in its own type.

        Raises KeyError, SourceError.
        """
        place = self._places[name]
        data = self._source.read_at(place.offset, place.n_bytes)
        if len(data) < place.n_bytes:
            raise _cut_off(self._source, place.offset, place.n_bytes)
        return np.frombuffer(data, place.dtype).reshape(place.shape)


class _Cursor:
    """A position in the file that moves over what was read."""

    def __init__(self, source: ByteSource) -> None:
        self.source, self.offset = source, 0

    def skip(self, n_bytes: int) -> int:
        """Move over `n_bytes` and return where they begin. Raises SourceError."""
        start = self.offset
        if n_bytes > self.source.size - start:
            raise _cut_off(self.source, start, n_bytes)
        self.offset += n_bytes
        return start

    def bytes(self, n_bytes: int) -> bytes:
        return self.source.read_at(self.skip(n_bytes), n_bytes)

    def numbers(self, code: str, n: int = 1) -> tuple[int, ...]:
        """Read `n` integers of the kind that `struct` calls `code`."""
        layout = struct.Struct(f"<{n}{code}")
        return layout.unpack(self.bytes(layout.size))

    def number(self, code: str) -> int:
        return self.numbers(code)[0]

    def count(self, least: int, unit: str, limit: int) -> int:
        """Read a u64 that counts things of at least `least` bytes each. Raises SourceError."""
        start, n = self.offset, self.number("Q")
        fitting = min(limit, (self.source.size - self.offset) // least)
        if n > fitting:
            raise self.error(start, f"at most {fitting:,} {unit}", f"{n:,}")
        return n

    def error(self, offset: int, expected: str, found: str) -> SourceError:
        return SourceError(
            "not weights of an MXNet checkpoint",
            path=self.source.path,
            where=f"offset {offset}",
            expected=expected,
            found=found,
        )


def _cut_off(source: ByteSource, offset: int, n_bytes: int) -> SourceError:
    return SourceError(
        "cut off",
        path=source.path,
        where=f"offset {offset}",
        expected=f"{n_bytes:,} bytes",
        found=f"{source.size - offset:,}",
        remedy="Copy the file again.",
    )


def _read_places(source: ByteSource) -> dict[str, _Place]:
    """Read the places of all arrays by name; no data. Raises SourceError."""
    cursor = _Cursor(source)
    head = cursor.numbers("Q", 2)
    if head[0] != _MAGIC:
        raise cursor.error(0, hex(_MAGIC), hex(head[0]))
    n = cursor.count(4, "arrays", _MAX_ARRAYS)
    places = [_read_place(cursor) for _ in range(n)]
    start = cursor.offset
    n_names = cursor.count(8, "names", _MAX_ARRAYS)
    if n_names != n:
        raise cursor.error(start, f"{n:,} names", f"{n_names:,}")
    found: dict[str, _Place] = {}
    for place in places:
        start, name = cursor.offset, _read_name(cursor)
        if name in found:
            raise cursor.error(start, "each name once", f"{name!r} again")
        found[name] = place
    return found


def _read_name(cursor: _Cursor) -> str:
    start, length = cursor.offset, cursor.count(1, "characters", _MAX_NAME)
    text = cursor.bytes(length).decode("utf-8", "replace")
    if not text.startswith(_PREFIXES):
        raise cursor.error(start, "a name that begins with arg: or aux:", repr(text))
    return text.partition(":")[2]


def _read_place(cursor: _Cursor) -> _Place:
    start = cursor.offset
    shape = _read_shape(cursor)
    if not shape:
        return _Place(cursor.offset, (0,), _TYPES[0])
    _, _, kind = cursor.numbers("i", 3)
    if not 0 <= kind < len(_TYPES):
        raise cursor.error(start, f"a type of 0 to {len(_TYPES) - 1}", str(kind))
    place = _Place(cursor.offset, shape, _TYPES[kind])
    cursor.skip(place.n_bytes)
    return place


def _read_shape(cursor: _Cursor) -> tuple[int, ...]:
    """Read the sides of an array, in any of the versions. Raises SourceError."""
    start, first = cursor.offset, cursor.number("I")
    code, n = "q", first
    if first in (_SECOND, _THIRD):
        storage = cursor.number("i")
        if storage:
            found = _STORAGES.get(storage, str(storage))
            raise cursor.error(start, "a dense array", f"storage {found}")
    if first in (_FIRST, _SECOND, _THIRD):
        n = cursor.number("I")
    else:
        code = "I"
    if n > _MAX_DIMENSIONS:
        raise cursor.error(start, f"at most {_MAX_DIMENSIONS} dimensions", f"{n:,}")
    shape = cursor.numbers(code, n)
    if min(shape, default=0) < 0:
        raise cursor.error(start, "sides of 0 or more", str(shape))
    return shape
