"""Silence for libraries that write to stderr by themselves, where the user asks for it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from faceprep.core import scratch

_STDERR = 2


@contextmanager
def hush_libraries() -> Iterator[None]:
    """Discard what is written to stderr in the block, if only errors are logged (`--quiet`).

    Errors are raised all the same.
    """
    if logging.getLogger("faceprep").getEffectiveLevel() < logging.ERROR:
        yield
        return
    with discard_stderr():
        yield


@contextmanager
def discard_stderr() -> Iterator[None]:
    """Discard what is written to stderr in the block.

    Libraries in C++ write to the file descriptor, which no setting of Python reaches.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(_STDERR), scratch.open_nowhere()
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)
