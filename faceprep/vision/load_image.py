"""Loading of images: pixels, or the outcome of an input that has none.

The module is in this room, below `steps`, so that `sets` can use it too.
"""

from __future__ import annotations

import os

from faceprep.core.arrays import Pixels
from faceprep.core.io.image_bytes import read_image_bytes, undecodable
from faceprep.core.types import Buffer, Outcome
from faceprep.vision import codec


def load_image(path: str | os.PathLike[str], key: str) -> Pixels | Outcome:
    """Return the RGB pixels of the image file at `path`, or the outcome of the input `key`."""
    data = read_image_bytes(path, key)
    if isinstance(data, Outcome):
        return data
    return load_image_bytes(data, key)


def load_image_bytes(data: Buffer, key: str, label: str = "") -> Pixels | Outcome:
    """Return the RGB pixels of an encoded image, or the outcome of the input `key`.

    `label` names the image in the reason where `key` alone does not.
    """
    try:
        return codec.decode(data)
    except codec.Undecodable as error:
        return undecodable(key, error.problem, label)
