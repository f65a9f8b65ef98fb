"""Statuses of images that cannot be used, with one sentence each, the same in every command.

unreadable    the file cannot be read: missing, a dangling link, forbidden, or on a failing disk
undecodable   the bytes are empty, foreign, cut off or damaged
bad_record    the record that holds the image in its container is damaged
bad_label     the image has a label that no identity can have

The checks need neither NumPy nor OpenCV, so commands that copy bytes do not load them.
"""

from __future__ import annotations

import os

from faceprep.core import items, os_errors, storage
from faceprep.core.errors import FaceprepError, SourceError
from faceprep.core.io.image_end import check_image
from faceprep.core.io.image_header import ImageHeader, read_header
from faceprep.core.types import Buffer, Outcome

UNREADABLE, UNDECODABLE = "unreadable", "undecodable"
BAD_RECORD, BAD_LABEL = "bad_record", "bad_label"


def read_image_bytes(path: str | os.PathLike[str], key: str) -> bytes | Outcome:
    """Read the encoded image at `path`, or return the outcome of the input `key`."""
    if (fault := items.take(key)) is not None:
        return fault
    try:
        return storage.read_bytes(path)
    except SourceError as error:
        return _unreadable(error, key)


def check_file_size(size: int, key: str) -> Outcome | None:
    """Return the outcome of a file that cannot hold an image, by its `storage.file_size`."""
    if size > 0:
        return None
    if size == 0:
        return undecodable(key, read_header(b"").damage)
    if size == storage.NOT_A_FILE:
        error = SourceError("cannot read: not a regular file", path=key, remedy="Name a file.")
        return Outcome(key, UNREADABLE, str(error))
    missing = os_errors.as_error(SourceError, "read", key, OSError(-size, ""))
    return _unreadable(missing, key)


def _unreadable(error: FaceprepError, key: str) -> Outcome:
    remedy = error.remedy
    if "No such file" in error.problem and "\\" in key and "/" not in key:
        remedy = "Write / for each \\ in the names."
    return Outcome(key, UNREADABLE, str(SourceError(error.problem, path=key, remedy=remedy)))


def check_image_bytes(data: Buffer, key: str, label: str = "") -> ImageHeader | Outcome:
    """Check the head and tail of an encoded image without decoding it.

    `label` names the image in the reason where `key` alone does not.
    """
    header = check_image(data)
    if header.damage:
        return undecodable(key, header.damage, label)
    return header


def undecodable(key: str, problem: str, label: str = "") -> Outcome:
    """Return the outcome of an input whose bytes have this problem."""
    return Outcome(key, UNDECODABLE, f"{label or key}: {problem}")
