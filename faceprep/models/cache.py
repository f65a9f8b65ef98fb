"""Cache for data derived from weights, in the user's cache folder."""

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
    """Return `$XDG_CACHE_HOME/faceprep`, or `~/.cache/faceprep`."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return Path(home if os.path.isabs(home) else os.path.expanduser("~/.cache")) / "faceprep"


def cached(name: str, make: Callable[[], bytes]) -> bytes:
    """Return the result of `make`, cached as `name`, which must name everything it depends on.

    The file holds the sha256 of the data, then the data. A damaged file is made again. If the
    folder cannot be written to, the data is made on every call.
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
