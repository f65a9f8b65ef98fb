"""Temporary folders and files outside the output."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceprep.core.storage import guard


def scratch_place() -> str:
    """Return the parent of temporary folders: TMPDIR, or the default of the system."""
    with guard("find a place for temporary files", "TMPDIR"):
        return tempfile.gettempdir()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a temporary folder outside the output, and remove it at the end."""
    with guard("make a temporary folder", tempfile.gettempdir()):
        folder = tempfile.TemporaryDirectory(prefix=".faceprep-", ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)


def map_temporary(n_bytes: int) -> mmap.mmap:
    """Return a temporary file of zeros in place of memory; it vanishes when it is not used.

    Its space is reserved, so that a full disk is reported here. Raises OutputError.
    """
    place = scratch_place()
    doing = f"reserve {n_bytes / 1e9:.2f} GB for a temporary file"
    with guard(doing, place), tempfile.TemporaryFile(dir=place) as file:
        os.posix_fallocate(file.fileno(), 0, n_bytes)
        return mmap.mmap(file.fileno(), n_bytes)
