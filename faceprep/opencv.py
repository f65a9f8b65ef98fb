"""OpenCV, loaded when it is first asked for."""

from __future__ import annotations

import functools
from typing import Any

from faceprep.errors import MissingExtra


@functools.cache
def opencv() -> Any:
    """The module cv2, held to one thread: the runner spreads work over processes. Raises MissingExtra."""
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra(
            f"OpenCV cannot be loaded ({error})",
            remedy="On a bare Debian or Ubuntu: apt-get install libgl1 libglib2.0-0",
        ) from error
    cv2.setNumThreads(1)
    return cv2
