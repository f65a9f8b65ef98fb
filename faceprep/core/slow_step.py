"""Progress of a computation in steps, and the log of one that takes hours."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

log = logging.getLogger("faceprep")
EVERY_S = 60.0
Progress = Callable[[int, int], None]
"""A function that receives the number of steps done and their total."""


def log_progress(doing: str, every_s: float = EVERY_S) -> Progress:
    """Return a function that logs the time left now and then.

    >>> log_progress("comparing identities")(1, 2)  # within the first minute nothing is logged
    """
    started = time.monotonic()
    last = started

    def report(n_done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every_s or not n_done:
            return
        last = now
        left = timedelta(seconds=round((now - started) * (total - n_done) / n_done))
        log.info("%s: %.3g %% done, %s left", doing, 100 * n_done / total, left)

    return report


def ignore_progress(n_done: int, total: int) -> None:
    """Do nothing: the progress of a computation that nobody watches."""
