"""Files that were compressed as a whole."""

from __future__ import annotations

import os
from pathlib import Path

from faceprep.core.errors import SourceError

_PROGRAMS = {
    b"\x1f\x8b\x08": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
"""What a compressed file begins with, the name of the compression, the program that undoes it."""
HEAD = 6
"""Bytes at the start of a file that show its compression."""
_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def refuse_compressed(path: str | os.PathLike[str], start: bytes) -> None:
    """Raise SourceError where a file that is not sound begins as a compressed one.

    `start` are its first bytes, `HEAD` or more.
    """
    for magic, (name, program) in _PROGRAMS.items():
        if start.startswith(magic):
            file = Path(path)
            suffix = Path(file.stem).suffix if file.suffix in _SUFFIXES else file.suffix
            unpacked = "NEW" + suffix.replace(".tgz", ".tar")
            raise SourceError(
                f"the file is compressed with {name}",
                path=path,
                remedy=f"Unpack it first: {program} < {file.name} > {unpacked}.",
            )
