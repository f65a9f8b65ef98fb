"""Objects that are put into a store: whole, or only if nobody else has put them; and leases.

A store has no locks and no rename. It can put an object on the condition that there is none yet,
or that it is still the one that was read. A lease is such an object, renewed while its run works.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faceprep.core import stores
from faceprep.core.errors import OutputError
from faceprep.core.os_errors import guard
from faceprep.core.stores import StoreError
from faceprep.core.urls import url_of

log = logging.getLogger("faceprep")
LEASE_S = 30.0
"""Seconds after which a run that renews its lease no more counts as dead."""


def can_put(url: str) -> bool:
    """Return whether the store has the conditions that an output needs."""
    return url_of(url).startswith("s3://")


def put_file(path: Path, url: str) -> None:
    """Put a file of the disk. Raises OutputError."""
    with guard("write", url):
        stores.send(url, lambda store, key: store.put_file(str(path), key))


def put_new(url: str, data: bytes) -> str:
    """Put an object unless there is one. Raises OutputError.

    Return its entity tag if it holds `data` now, else nothing.
    """
    return _put_if(url, data, IfNoneMatch="*")


def put_over(url: str, data: bytes) -> None:
    """Put an object, whatever is there. Raises OutputError."""
    with guard("write", url):
        stores.send(url, lambda store, key: store.pipe_file(key, data))


def read_if_there(url: str) -> bytes | None:
    """Return what an object holds, or None without one. Raises OutputError."""
    with guard("read", url):
        try:
            return stores.read(url)
        except StoreError as error:
            if error.errno != errno.ENOENT:
                raise
    return None


def remove(urls: Sequence[str]) -> None:
    """Remove objects that may be there. Raises OutputError."""
    for url in urls:
        with guard("remove", url):
            try:
                stores.send(url, lambda store, key: store.rm_file(key))
            except StoreError as error:
                if error.errno != errno.ENOENT:
                    raise


def _put_if(url: str, data: bytes, **condition: str) -> str:
    """Put an object on a condition; return its entity tag if it holds `data` now."""

    def put(store: Any, key: str) -> str:
        bucket, _, name = key.partition("/")
        answer = store.call_s3("put_object", Bucket=bucket, Key=name, Body=data, **condition)
        return str(answer["ETag"]).strip('"')

    with guard("write", url):
        try:
            return stores.send(url, put)
        except StoreError as error:
            is_gone = error.errno == errno.ENOENT and "IfMatch" in condition
            if error.errno != errno.EEXIST and not is_gone:
                raise
        if read_if_there(url) != data:  # an answer that was lost may have been ours
            return ""
        return stores.fresh_tag(url)


class Lease:
    """A lock of a store, held in a with statement. `owner` may take over its own from before.

    A lease of somebody else is taken over once it has not been renewed for `seconds`.
    """

    def __init__(self, url: str, owner: str, seconds: float = LEASE_S) -> None:
        self._url, self._owner, self._seconds = url, owner, seconds
        self._n, self._tag = 0, ""
        self._over = threading.Event()
        self._renewer = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Lease:
        self._tag = put_new(self._url, self._next()) or self._take_over()
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._renewer.join()
        if self._tag:
            remove([self._url])

    def check(self) -> None:
        """Raise OutputError when another run has taken over."""
        if not self._tag:
            raise OutputError("another run has taken over here", path=self._url)

    def _next(self) -> bytes:
        self._n += 1
        return f"{self._owner} {self._n} {time.time_ns()}".encode()

    def _take_over(self) -> str:
        """Wait until the lease is free or not renewed any more; return the tag of a new one.

        Raises OutputError where a run renews it.
        """
        found = read_if_there(self._url)
        if found is not None and not found.startswith(f"{self._owner} ".encode()):
            log.warning("%s: waiting %.0f s for a run to end", self._url, self._seconds)
            until = time.monotonic() + self._seconds
            while found is not None and time.monotonic() < until:
                time.sleep(self._seconds / 10)
                now = read_if_there(self._url)
                if now is not None and now != found:
                    raise self._busy()
                found = now
        tag = put_new(self._url, self._next()) if found is None else self._replace()
        if not tag:
            raise self._busy()
        return tag

    def _replace(self) -> str:
        """Put a lease over the one that is there; nobody may do so at the same time."""
        with guard("read", self._url):
            tag = stores.fresh_tag(self._url)
        return _put_if(self._url, self._next(), IfMatch=tag)

    def _busy(self) -> OutputError:
        return OutputError(
            "another faceprep run is at work here",
            path=self._url,
            remedy="Wait for it, or stop it; then start again.",
        )

    def _keep(self) -> None:
        """Renew the lease until it is over or lost."""
        while self._tag and not self._over.wait(self._seconds / 3):
            try:
                self._tag = _put_if(self._url, self._next(), IfMatch=self._tag)
            except OutputError as error:  # another try is left before the lease ends
                log.warning("%s", error)
