"""Temporary folders outside of any output."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceprep.core.storage import guard


def scratch_place() -> str:
    """The folder that temporary folders are made in: TMPDIR, or what the system has."""
    with guard("find a place for temporary files", "TMPDIR"):
        return tempfile.gettempdir()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder outside of any output, gone at the end."""
    with guard("make a temporary folder", tempfile.gettempdir()):
        folder = tempfile.TemporaryDirectory(prefix="faceprep-", ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)
