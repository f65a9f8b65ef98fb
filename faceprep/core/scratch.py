"""Temporary folders and files outside the output."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceprep.core.errors import OutputError
from faceprep.core.os_errors import guard


def scratch_place() -> str:
    """Return the parent of temporary folders: TMPDIR, or the first usual one. Raises OutputError.

    Unlike `tempfile.gettempdir`, it writes nothing to find out.
    """
    given = os.environ.get("TMPDIR")
    for place in filter(None, (given, "/tmp", "/var/tmp")):
        if os.access(place, os.W_OK | os.X_OK):
            return place
    raise OutputError("no place for temporary files", expected="TMPDIR, a folder to write to")


def open_nowhere() -> int:
    """Open a file descriptor that takes all bytes and keeps none."""
    return os.open(os.devnull, os.O_WRONLY)


def open_unnamed() -> int:
    """Open a file descriptor of a file without a name, in memory where the system offers that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("faceprep")
    with guard("make a temporary file", scratch_place()), tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a temporary folder outside the output, and remove it at the end."""
    place = scratch_place()
    with guard("make a temporary folder", place):
        folder = tempfile.TemporaryDirectory(
            prefix=".faceprep-", dir=place, ignore_cleanup_errors=True
        )
    with folder as path:
        yield Path(path)


@contextmanager
def share_memory(n_bytes: int) -> Iterator[tuple[mmap.mmap, str] | None]:
    """Yield memory that other processes of this user may map by the path yielded with it.

    Yield None where the system offers none.
    """
    if not hasattr(os, "memfd_create") or not os.path.isdir("/proc/self/fd"):
        yield None
        return
    with guard("reserve", "shared memory"):
        fd = os.memfd_create("faceprep")
    try:
        os.ftruncate(fd, n_bytes)
        with mmap.mmap(fd, n_bytes) as memory:
            yield memory, f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)


def map_shared(path: str, n_bytes: int) -> mmap.mmap:
    """Return the memory of another process that `share_memory` gave this path."""
    with guard("open", path), open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), n_bytes)


def map_temporary(n_bytes: int) -> mmap.mmap:
    """Return a temporary file of zeros in place of memory; it vanishes when it is not used.

    Its space is reserved, so that a full disk is reported here. Raises OutputError.
    """
    place = scratch_place()
    doing = f"reserve {n_bytes / 1e9:.2f} GB for a temporary file"
    with guard(doing, place), tempfile.TemporaryFile(dir=place) as file:
        os.posix_fallocate(file.fileno(), 0, n_bytes)
        return mmap.mmap(file.fileno(), n_bytes)
