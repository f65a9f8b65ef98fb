"""Small pictures for the page, made once: JPEG, long side 160.

They lie beside the plan and go when it goes: faces are left nowhere else. Two folders bound them:
when the young one is full it becomes the old one, and what was old is removed.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path

from faceprep.core import storage
from faceprep.core.errors import OutputError, SourceError
from faceprep.core.types import Buffer
from faceprep.vision import codec

LONG_SIDE = 160
_N_LOCKS = 32
log = logging.getLogger("faceprep")


def make_thumbnail(data: Buffer) -> bytes:
    """A JPEG no larger than 160 × 160 of an encoded image. Raises codec.Undecodable."""
    return codec.encode_small(codec.decode(data), LONG_SIDE)


class Thumbnails:
    """Those in `folder`, at most twice `most`; safe to use from several threads."""

    def __init__(self, folder: Path, most: int = 10_000) -> None:
        self._young, self._old, self._most = folder / "young", folder / "old", most
        self._n = len(storage.list_folder(self._young)[1]) if self._young.is_dir() else 0
        self._locks = [threading.Lock() for _ in range(_N_LOCKS)]
        self._turning = threading.Lock()
        self._is_writable = True

    def of(self, path: str) -> bytes:
        """The thumbnail of an image file. Raises SourceError, codec.Undecodable."""
        size, time = storage.dated_size(path)
        key = hashlib.sha256(
            f"{path}\0{size}\0{time}".encode("utf-8", "surrogateescape")
        ).hexdigest()[:40]
        with self._locks[int(key, 16) % _N_LOCKS]:  # two threads never write the same one
            for folder in (self._young, self._old):
                try:
                    return storage.read_bytes(folder / f"{key}.jpg")
                except SourceError:
                    continue
            data = make_thumbnail(storage.read_bytes(path))
            self._keep(f"{key}.jpg", data)
            return data

    def _keep(self, name: str, data: bytes) -> None:
        """For the next time; without a place for it the page is slower, and that is all."""
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
