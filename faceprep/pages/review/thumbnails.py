"""Thumbnails for the review page, made once: JPEG, long side 160.

They are stored beside the plan, so that no faces are left elsewhere. Two folders bound their
number: when the young one is full, it replaces the old one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path
from typing import NamedTuple

from faceprep.core import storage
from faceprep.core.arrays import Pixels
from faceprep.core.errors import OutputError, SourceError
from faceprep.core.types import Outcome
from faceprep.steps.planned_images import PlannedImages
from faceprep.vision import codec
from faceprep.vision.load_image import load_image, load_image_bytes

LONG_SIDE = 160
_N_LOCKS = 32
log = logging.getLogger("faceprep")


class ImageInSet(NamedTuple):
    """An image of a set that is not a folder; `path` is its name in the plan."""

    images: PlannedImages
    path: str
    position: int


def make_thumbnail(image: str | ImageInSet, long_side: int = LONG_SIDE) -> bytes | Outcome:
    """Make a JPEG of at most `long_side` pixels from a file or an image in a set.

    Returns the outcome of an image that cannot be shown.
    """
    pixels = _load(image)
    if isinstance(pixels, Outcome):
        return pixels
    return codec.encode_small(pixels, long_side)


def identify(image: str | ImageInSet) -> str:
    """Return a text that is unique to an image and to the state of its set."""
    if isinstance(image, str):
        return image
    return f"{image.images.identifier}\0{image.path}"


def _load(image: str | ImageInSet) -> Pixels | Outcome:
    if isinstance(image, str):
        return load_image(image, os.path.basename(image))
    sample = image.images.read(image.position)
    if isinstance(sample, Outcome):
        return sample
    return load_image_bytes(sample.data, image.path, sample.place)


class Thumbnails:
    """A cache of at most 2 × `most` thumbnails in `folder`; safe to use from several threads."""

    def __init__(self, folder: Path, most: int = 10_000) -> None:
        self._young, self._old, self._most = folder / "young", folder / "old", most
        self._n = 0
        if self._young.is_dir():
            self._n = len(storage.list_folder(self._young)[1])
        self._locks = [threading.Lock() for _ in range(_N_LOCKS)]
        self._turning = threading.Lock()
        self._is_writable = True

    def load(self, image: str | ImageInSet) -> bytes | Outcome:
        """Return the thumbnail of an image, or the outcome of its name."""
        identifier = identify(image)
        if isinstance(image, str):
            try:
                size, time = storage.dated_size(image)
            except SourceError:
                return make_thumbnail(image)  # returns the outcome with the reason
            identifier += f"\0{size}\0{time}"
        key = hashlib.sha256(identifier.encode("utf-8", "surrogateescape")).hexdigest()[:40]
        with self._locks[int(key, 16) % _N_LOCKS]:  # two threads never write the same file
            for folder in (self._young, self._old):
                try:
                    return storage.read_bytes(folder / f"{key}.jpg")
                except SourceError:
                    continue
            thumbnail = make_thumbnail(image)
            if not isinstance(thumbnail, Outcome):
                self._keep(f"{key}.jpg", thumbnail)
            return thumbnail

    def _keep(self, name: str, data: bytes) -> None:
        """Keep a thumbnail if the disk allows; without it the page is only slower."""
        if not self._is_writable:
            return
        try:
            with self._turning:
                if self._n >= self._most:
                    storage.remove_tree(self._old)
                    storage.move(self._young, self._old)
                    self._n = 0
                self._n += 1
                storage.write_file(self._young / name, data, durable=False)
        except OutputError as error:
            self._is_writable = False
            log.warning("thumbnails are not kept: %s", error)
