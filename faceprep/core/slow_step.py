"""Reports on one computation of hours, which no bar of inputs can show."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

log = logging.getLogger("faceprep")
EVERY_S = 60.0


def log_progress(doing: str, every_s: float = EVERY_S) -> Callable[[int, int], None]:
    """Return a function of (steps done, steps in all) that logs the time left now and then.

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
