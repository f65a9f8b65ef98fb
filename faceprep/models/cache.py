"""What is made of weights once: kept in the user's cache folder, and made again wherever it
cannot be.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from faceprep.core import storage
from faceprep.core.errors import FaceprepError, SourceError

_DIGEST = 32


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/faceprep`, or `~/.cache/faceprep`."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return Path(home if os.path.isabs(home) else os.path.expanduser("~/.cache")) / "faceprep"


def cached(name: str, make: Callable[[], bytes]) -> bytes:
    """What `make` gives, kept as `name`, which must name all that it depends on.

    In the file stand the sha256 of the rest, and the rest: one that is damaged is made again. A
    folder that cannot be written to only costs the time.
    """
    path = cache_folder() / name
    with suppress(SourceError):
        stored = storage.read_bytes(path)
        data = stored[_DIGEST:]
        if hashlib.sha256(data).digest() == stored[:_DIGEST]:
            return data
    data = make()
    with suppress(FaceprepError):
        storage.write_file(path, hashlib.sha256(data).digest() + data, durable=False)
    return data
