"""OpenCV, imported on first use, limited to one thread and silenced."""

from __future__ import annotations

import functools
from typing import Any

from faceprep.core.errors import loading


@functools.cache
def opencv() -> Any:
    """Import cv2 with one thread, as work is spread over processes. Raises MissingExtra."""
    with loading("OpenCV", "On a bare Debian or Ubuntu: apt-get install libgl1 libglib2.0-0"):
        import cv2
    cv2.setNumThreads(1)
    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
    else:
        cv2.utils.logging.setLogLevel(0)  # OpenCV 5
    return cv2
