"""Refusals of files whose format is not that of their suffix, or that are compressed."""

from __future__ import annotations

import os
from pathlib import Path

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.image_header import is_image_name
from faceprep.core.names import suffix_of
from faceprep.sets.recordio.records import MAGIC_BYTES

_PROGRAMS = {
    b"\x1f\x8b\x08": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
"""What a compressed file begins with, the name of the compression, the program that undoes it."""
_FORMATS = {MAGIC_BYTES: ".rec", b"PAR1": ".parquet"}
"""The first bytes of a format, and its suffix."""
_HEAD = 512
"""Bytes at the start of a file that show its format: a tar header, or the first name in a zip."""
_TAR, _TAR_AT = b"ustar", 257
_ZIP, _ZIP_LENGTH, _ZIP_NAME = b"PK\3\4", slice(26, 28), 30
_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def refuse_other_format(path: str | os.PathLike[str]) -> None:
    """Raise SourceError if a file that is not sound begins as another format does."""
    file, start = Path(path), storage.read_bytes(path, _HEAD)
    found = _find_suffix(start)
    if found and suffix_of(file.name) != found:
        raise SourceError(f"the file is a {found}", path=path, remedy=f"End its name in {found}.")
    for magic, (name, program) in _PROGRAMS.items():
        if start.startswith(magic):
            suffix = Path(file.stem).suffix if file.suffix in _SUFFIXES else file.suffix
            unpacked = "NEW" + suffix.replace(".tgz", ".tar")
            raise SourceError(
                f"the file is compressed with {name}",
                path=path,
                remedy=f"Unpack it first: {program} < {file.name} > {unpacked}.",
            )


def _find_suffix(start: bytes) -> str:
    """Return the suffix of the format that a file begins as; empty for another one."""
    for magic, suffix in _FORMATS.items():
        if start.startswith(magic):
            return suffix
    if start.startswith(_TAR, _TAR_AT):
        return ".tar"
    if not start.startswith(_ZIP):
        return ""
    stop = _ZIP_NAME + int.from_bytes(start[_ZIP_LENGTH], "little")
    name = start[_ZIP_NAME:stop].decode("latin-1")
    if name.endswith(".npy"):
        return ".npz"
    return ".zip" if name.endswith("/") or is_image_name(name) else ""
