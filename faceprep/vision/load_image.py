"""Loading of images: pixels, or the outcome of an input that has none.

The module is in this room, below `steps`, so that `sets` can use it too.
"""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

from faceprep.core import items
from faceprep.core.arrays import Pixels
from faceprep.core.io.image_bytes import read_image_bytes, undecodable
from faceprep.core.types import Buffer, Outcome
from faceprep.vision import codec

log = logging.getLogger("faceprep")


class NotedPixels(NamedTuple):
    """The RGB pixels of an image, and a note on what decoding left out; usually empty."""

    pixels: Pixels
    note: str


def load_image(path: str | os.PathLike[str], key: str) -> Pixels | Outcome:
    """Return the RGB pixels of the image file at `path`, or the outcome of the input `key`."""
    data = read_image_bytes(path, key)
    if isinstance(data, Outcome):
        return data
    return load_image_bytes(data, key)


def load_image_bytes(data: Buffer, key: str, label: str = "") -> Pixels | Outcome:
    """Return the RGB pixels of an encoded image, or the outcome of the input `key`.

    `label` names the image in the reason where `key` alone does not. A note is logged.
    """
    loaded = load_noted_bytes(data, key, label)
    if isinstance(loaded, Outcome):
        return loaded
    if loaded.note:
        log.debug("%s: %s", label or key, loaded.note)
    return loaded.pixels


def load_noted_bytes(data: Buffer, key: str, label: str = "") -> NotedPixels | Outcome:
    """Load as `load_image_bytes` does, with the note for the caller to report."""
    if (fault := items.take(key)) is not None:
        return fault
    try:
        return NotedPixels(*codec.decode_noted(data))
    except codec.Undecodable as error:
        return undecodable(key, error.problem, label)
