"""The space on the disk of a path."""

from __future__ import annotations

import os

from faceprep.core.os_errors import guard


def free_space(path: str | os.PathLike[str]) -> tuple[int, int | None, int]:
    """Return (free bytes, free inodes, bytes per block) at `path`.

    The inodes are None where the file system has no such limit.
    """
    existing = os.path.abspath(path)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    with guard("look at", existing):
        state = os.statvfs(existing)
    return (
        state.f_bavail * state.f_frsize,
        state.f_favail if state.f_files else None,
        state.f_frsize,
    )
