"""Refusals of files whose format is not that of their suffix, or that are compressed."""

from __future__ import annotations

import os
from pathlib import Path

from faceprep.core.errors import SourceError
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
HEAD = 6
"""Bytes at the start of a file that show its format."""
_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def refuse_other_format(path: str | os.PathLike[str], start: bytes) -> None:
    """Raise SourceError if a file that is not sound begins as another format does.

    `start` are its first bytes, `HEAD` or more.
    """
    file = Path(path)
    for magic, suffix in _FORMATS.items():
        if start.startswith(magic) and suffix_of(file.name) != suffix:
            raise SourceError(
                f"the file is a {suffix}", path=path, remedy=f"End its name in {suffix}."
            )
    for magic, (name, program) in _PROGRAMS.items():
        if start.startswith(magic):
            suffix = Path(file.stem).suffix if file.suffix in _SUFFIXES else file.suffix
            unpacked = "NEW" + suffix.replace(".tgz", ".tar")
            raise SourceError(
                f"the file is compressed with {name}",
                path=path,
                remedy=f"Unpack it first: {program} < {file.name} > {unpacked}.",
            )
