"""OpenCV, imported on first use, limited to one thread and silenced."""

from __future__ import annotations

import functools
from typing import Any

from faceprep.core.errors import loading

_SILENT, _WARNINGS = 0, 3
"""Levels of OpenCV's log."""


@functools.cache
def opencv() -> Any:
    """Import cv2 with one thread, as work is spread over processes. Raises MissingExtra."""
    with loading(
        "OpenCV cannot be loaded ({0})",
        "On a bare Debian or Ubuntu: apt-get install libgl1 libglib2.0-0",
    ):
        import cv2
    cv2.setNumThreads(1)
    _log_level(cv2)(_SILENT)
    return cv2


def log_warnings(is_on: bool) -> None:
    """Let OpenCV write its warnings and errors to standard error, or silence it again."""
    _log_level(opencv())(_WARNINGS if is_on else _SILENT)


def _log_level(cv2: Any) -> Any:
    """Return the function that sets the level of the log."""
    if hasattr(cv2, "setLogLevel"):
        return cv2.setLogLevel
    return cv2.utils.logging.setLogLevel  # OpenCV 5
