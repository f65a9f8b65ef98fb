"""NumPy .npz files for Keras_insightface: image_names, image_classes and optional embeddings.

An .npz is a zip with one .npy file per key. It is written as a stream with the fixed date
1980-01-01, so the same arrays give the same bytes (compressed members: with the same zlib). Members
are read without pickle, so no code in them can run.
"""

from __future__ import annotations

import io
import math
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from faceprep.core import os_errors, storage
from faceprep.core.errors import SourceError
from faceprep.core.io.contents import Contents
from faceprep.core.types import Buffer
from faceprep.core.urls import is_remote

NAMES, CLASSES, EMBEDDINGS = "image_names", "image_classes", "embeddings"
OTHER_EMBEDDINGS = "image_embs"
"""Another name of the vectors, in files of other programs."""
_CHUNK = 4 << 20
_LENGTHS_AT = 26
"""Offset of the lengths of name and extra field, the last fields of a zip member's header."""
_MOST_INFLATED = 1032
"""Bytes that one byte of deflate stands for at most."""
_LEVEL = 1
"""NumPy stores names as UTF-32; even the fastest level makes them fifteen times smaller."""


@dataclass(frozen=True)
class Member:
    """An array that need not be in memory; `chunks` are its bytes, row after row."""

    key: str
    dtype: npt.DTypeLike
    shape: tuple[int, ...]
    chunks: Iterable[Buffer]
    compress: bool = True


def write_npz(file: BinaryIO, members: Iterable[Member]) -> None:
    """Write the members in the given order; `file` must be seekable."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for member in members:
            name = f"{member.key}.npy"
            entry = name if member.compress else zipfile.ZipInfo(name)
            with archive.open(entry, "w", force_zip64=True) as target:
                descr = np.lib.format.dtype_to_descr(np.dtype(member.dtype))
                header = {"descr": descr, "fortran_order": False, "shape": member.shape}
                np.lib.format.write_array_header_1_0(cast(Any, target), header)
                for chunk in member.chunks:
                    target.write(chunk)


def member_of(key: str, array: npt.NDArray[Any]) -> Member:
    """Wrap an array as a member.

    >>> file = io.BytesIO()
    >>> write_npz(file, [member_of("image_classes", np.arange(3))])
    >>> _ = file.seek(0)
    >>> np.load(file)["image_classes"].tolist()
    [0, 1, 2]
    """
    return Member(key, array.dtype, array.shape, [np.ascontiguousarray(array).tobytes()])


def member_of_files(
    key: str, dtype: npt.DTypeLike, paths: Sequence[Path], row: tuple[int, ...] = ()
) -> Member:
    """Wrap files that hold the bare rows of an array, each of the shape `row`, one after another.

    Rows of single values are compressed.
    """
    n_bytes = sum(storage.size_of(path) or 0 for path in paths)
    of_row = np.dtype(dtype).itemsize * math.prod(row)
    return Member(key, dtype, (n_bytes // of_row, *row), _contents(paths), not row)


def _contents(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        with storage.ByteSource(path) as source:
            for offset in range(0, source.size, _CHUNK):
                yield source.read_at(offset, _CHUNK)


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    """Encode an array as the content of an .npy file.

    >>> np.load(io.BytesIO(npy_bytes(np.arange(3)))).tolist()
    [0, 1, 2]
    """
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def read_npy(data: bytes) -> npt.NDArray[Any]:
    """Decode the content of an .npy file. Raises ValueError where it is damaged.

    >>> read_npy(npy_bytes(np.arange(3))).tolist()
    [0, 1, 2]
    """
    file = io.BytesIO(data)
    shape, fortran_order, dtype = _read_header(file)
    if dtype.hasobject or dtype.itemsize * math.prod(shape) != len(data) - file.tell():
        raise ValueError(f"{len(data):,} bytes are not an array of shape {shape} of {dtype}")
    order: Any = "F" if fortran_order else "C"
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order=order)


# Reading


class NpzFile:
    """An .npz file open for reading, used in a with statement. Any damage raises SourceError.

    The array `image_embs` of other programs is read as `embeddings`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file = storage.open_source(path)
        try:
            with self._errors("open it as .npz"):
                self._zip = zipfile.ZipFile(self._file)
        except SourceError:
            self._file.close()
            raise
        names = [name for name in self._zip.namelist() if name.endswith(".npy")]
        self._members = {name.removesuffix(".npy"): name for name in names}
        if OTHER_EMBEDDINGS in self._members:
            self._members.setdefault(EMBEDDINGS, self._members.pop(OTHER_EMBEDDINGS))
        self.keys = list(self._members)

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def load(self, key: str) -> npt.NDArray[Any]:
        """Load the whole array `key`."""
        with self._open(key) as array:
            flat = np.empty(math.prod(array.shape), array.dtype)
            _fill(flat.view(np.uint8).data, array.file)
            return flat.reshape(array.shape, order="F" if array.is_fortran else "C")

    def header(self, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Read (shape, dtype) of the array `key`."""
        with self._open(key) as array:
            return array.shape, array.dtype

    def map(self, key: str, least_bytes: int = 0) -> npt.NDArray[Any]:
        """Map the array `key` read-only if it is uncompressed and on the disk, else load it.

        Arrays of fewer than `least_bytes` are loaded, too.
        """
        info = self._info(key)
        with self._open(key) as array:
            n_header = array.file.tell()
        is_plain = info.compress_type == zipfile.ZIP_STORED and not array.is_fortran
        if not is_plain or is_remote(self.path) or array.n_bytes < max(least_bytes, 1):
            return self.load(key)
        with storage.ByteSource(self.path) as file, self._errors(f"map the array {key!r}"):
            n_name, n_extra = struct.unpack(
                "<HH", file.read_at(info.header_offset + _LENGTHS_AT, 4)
            )
            start = info.header_offset + _LENGTHS_AT + 4 + n_name + n_extra + n_header
            mapped: npt.NDArray[Any] = np.memmap(self.path, array.dtype, "r", start, array.shape)
            return mapped

    def chunks(self, key: str) -> Iterator[npt.NDArray[Any]]:
        """Yield the array `key` in pieces of consecutive rows."""
        with self._open(key) as array:
            if array.is_fortran and len(array.shape) > 1:
                yield np.ascontiguousarray(self.load(key))
                return
            n_left, *row = array.shape or (0,)
            n_row_bytes = array.dtype.itemsize * math.prod(row)
            while n_left:
                n = min(n_left, max(_CHUNK // max(n_row_bytes, 1), 1))
                data = bytearray(n * n_row_bytes)
                _fill(memoryview(data), array.file)
                yield np.frombuffer(data, array.dtype).reshape(n, *row)
                n_left -= n

    def _info(self, key: str) -> zipfile.ZipInfo:
        if key in self.keys:
            return self._zip.getinfo(self._members[key])
        raise SourceError(
            f"no array {key!r} in it",
            path=self.path,
            expected=key,
            found=", ".join(self.keys) or "no arrays",
        )

    @contextmanager
    def _open(self, key: str) -> Iterator[_Array]:
        """Open the array `key`, whose header agrees with the bytes that the file has for it."""
        info = self._info(key)
        with self._errors(f"read the array {key!r}"), self._zip.open(info) as member:
            array = _Array(*_read_header(member), cast(BinaryIO, member))
            most = min(info.file_size, _MOST_INFLATED * info.compress_size) - member.tell()
            _check_array(array, most)
            yield array

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            with os_errors.guard(doing, self.path, SourceError):
                yield
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError) as error:
            # zipfile raises RuntimeError for encryption and unknown compression
            raise SourceError(
                f"cannot {doing}: {error}", path=self.path, remedy="Make the file again."
            ) from error


class _Array(NamedTuple):
    """The header of an array, and its open file behind the header."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    file: BinaryIO

    @property
    def n_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)


def _read_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read (shape, whether in the order of Fortran, dtype). Raises ValueError."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        read = np.lib.format.read_array_header_1_0
    else:
        read = np.lib.format.read_array_header_2_0
    try:
        shape, is_fortran, dtype = read(member)
    except (MemoryError, RecursionError, SyntaxError, TokenError) as error:  # parsed as Python
        raise ValueError("its header is nested too deeply") from error
    return tuple(map(int, shape)), is_fortran, dtype  # NumPy takes True for a length of 1


def _check_array(array: _Array, n_bytes: int) -> None:
    """Check that `n_bytes` can hold an array before memory is reserved. Raises ValueError."""
    if array.dtype.hasobject:
        raise ValueError("Python objects, which could run code")
    n_rows = array.shape[0] if array.shape else 1
    if min(array.shape, default=0) < 0 or 0 == array.n_bytes < n_rows:
        raise ValueError(f"its header announces the shape {array.shape} of {array.dtype}")
    if array.n_bytes > n_bytes:
        raise ValueError(f"its header announces {array.n_bytes:,} bytes, of at most {n_bytes:,}")


def _fill(rest: memoryview, file: BinaryIO) -> None:
    """Fill `rest` from an open file. Raises ValueError where it ends before."""
    while rest:
        n_read = cast(io.BufferedIOBase, file).readinto(rest)
        if not n_read:
            raise ValueError(f"cut off: {len(rest):,} bytes are missing")
        rest = rest[n_read:]


def decode_names(
    path: str | os.PathLike[str], names: npt.NDArray[Any], key: str = NAMES
) -> list[str]:
    """Decode the array `key` of names (n,) to text. The tools of Keras_insightface store bytes.

    Raises SourceError when they are neither text nor bytes, or damaged.
    """
    if names.ndim != 1 or names.dtype.kind not in "US":
        found = f"{names.dtype} of shape {names.shape}"
        raise SourceError(f"{key} are not names", path=path, expected="text (n,)", found=found)
    if names.dtype.kind == "S":
        return [name.decode("utf-8", "surrogateescape") for name in names.tolist()]
    letters = np.ascontiguousarray(names).view(f"{names.dtype.byteorder}u4")
    if letters.size and letters.max() > sys.maxunicode:
        found = f"the number {letters.max():#x} for a letter"
        raise SourceError(f"{key} are not text", path=path, expected="text", found=found)
    texts: list[str] = names.tolist()
    return texts


def _check_lengths(path: str | os.PathLike[str], shapes: dict[str, tuple[int, ...]]) -> None:
    lengths = {key: shape[0] if shape else 0 for key, shape in shapes.items()}
    if len(set(lengths.values())) > 1:
        raise SourceError(
            "its arrays differ in length",
            path=path,
            expected="arrays of equal length",
            found=", ".join(f"{n:,} {key}" for key, n in lengths.items()),
        )


def describe(path: str | os.PathLike[str]) -> Contents:
    """Count images and distinct classes, and list the keys."""
    with NpzFile(path) as file:
        keys: Sequence[str] = file.keys
        shapes = {key: file.header(key)[0] for key in (NAMES, CLASSES, EMBEDDINGS) if key in keys}
        _check_lengths(path, shapes)
        classes = np.unique(file.load(CLASSES)).size
    return Contents(shapes[CLASSES][0], classes, tuple(keys))
