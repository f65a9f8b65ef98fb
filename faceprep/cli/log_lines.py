"""The library's log as lines on stderr, above the progress and never through it."""

from __future__ import annotations

import contextlib
import logging
import sys

_PLAIN, _TIMED = "faceprep: %(message)s", "%(asctime)s.%(msecs)03d faceprep: %(message)s"


class _AboveTheBar(logging.StreamHandler):  # type: ignore[type-arg]
    """Takes tqdm's line away while it writes."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm = sys.modules.get("tqdm")
        with tqdm.tqdm.external_write_mode(self.stream) if tqdm else contextlib.nullcontext():
            super().emit(record)


def log_to_stderr(level: int) -> None:
    """Show what is logged from `level` on, with the time where that is much."""
    handler = _AboveTheBar(sys.stderr)
    handler.setFormatter(
        logging.Formatter(_TIMED if level == logging.DEBUG else _PLAIN, "%H:%M:%S")
    )
    logger = logging.getLogger("faceprep")
    logger.handlers = [handler]
    logger.setLevel(level)
