"""The library's log, printed on stderr above the progress line."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from faceprep.core.text import on_one_line
from faceprep.core.urls import is_remote, url_of

_PLAIN, _TIMED = "faceprep: %(message)s", "%(asctime)s.%(msecs)03d faceprep: %(message)s"


class _AboveTheBar(logging.StreamHandler):  # type: ignore[type-arg]
    """A handler that hides the tqdm line while it writes."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm = sys.modules.get("tqdm")
        if tqdm is None:
            super().emit(record)
            return
        with tqdm.tqdm.external_write_mode(self.stream):
            super().emit(record)


class _OneLine(logging.Formatter):
    """A formatter of messages that stay on their line, whatever names they hold.

    Objects of stores have the names that a user gave them.
    """

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_shown, record.args))
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of logging
        return on_one_line(super().formatMessage(record))


def _shown(value: object) -> object:
    return url_of(value) if isinstance(value, str | Path) and is_remote(value) else value


def log_to_stderr(level: int) -> None:
    """Print log records from `level` on; at level DEBUG each line starts with the time."""
    handler = _AboveTheBar(sys.stderr)
    line_format = _PLAIN
    if level == logging.DEBUG:
        line_format = _TIMED
    handler.setFormatter(_OneLine(line_format, "%H:%M:%S"))
    logger = logging.getLogger("faceprep")
    logger.handlers = [handler]
    logger.setLevel(level)
