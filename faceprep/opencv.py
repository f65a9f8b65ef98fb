"""OpenCV, loaded when it is first needed, on one thread and silent."""

from __future__ import annotations

import functools
from typing import Any

from faceprep.errors import MissingExtra


@functools.cache
def opencv() -> Any:
    """The module cv2. One thread: the work is spread over processes. Raises MissingExtra."""
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra(
            f"OpenCV cannot be loaded ({error})",
            remedy="On a bare Debian or Ubuntu: apt-get install libgl1 libglib2.0-0",
        ) from error
    cv2.setNumThreads(1)
    set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # OpenCV 4, OpenCV 5
    set_log_level(0)
    return cv2
