"""Files that grow by whole entries, each on the disk before the next."""

from __future__ import annotations

import os

from faceprep.core.os_errors import guard
from faceprep.core.staged_file import write_all
from faceprep.core.types import Buffer


def append_durably(path: str | os.PathLike[str], data: Buffer) -> None:
    """Append `data` to a file, or create it, and wait until the disk has it.

    All of `data` is appended, or nothing.
    """
    with guard("write", path), open(path, "ab", 0) as file:
        size = file.tell()
        try:
            write_all(file.fileno(), data)
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise
