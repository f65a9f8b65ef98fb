"""Temporary folders outside the output."""

from __future__ import annotations

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
        folder = tempfile.TemporaryDirectory(prefix="faceprep-", ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)
