"""OpenCV, loaded when it is first needed, on one thread and silent."""

from __future__ import annotations

import functools
from typing import Any

from faceprep.core.errors import loading


@functools.cache
def opencv() -> Any:
    """The module cv2. One thread: the work is spread over processes. Raises MissingExtra."""
    with loading("OpenCV", "On a bare Debian or Ubuntu: apt-get install libgl1 libglib2.0-0"):
        import cv2
    cv2.setNumThreads(1)
    set_log_level = (
        getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    )  # OpenCV 4, OpenCV 5
    set_log_level(0)
    return cv2
