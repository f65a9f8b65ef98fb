"""Objects that are put into a store: whole, or only if nobody else has put them; and leases.

A store has no locks and no rename. It can put an object on the condition that there is none yet,
or that it is still the one that was read. A lease is such an object, renewed while its run works.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from faceprep.core import storage, stores
from faceprep.core.errors import BadName, NameTooLong, OutputError
from faceprep.core.os_errors import guard
from faceprep.core.store_conditions import PUT_IF
from faceprep.core.store_errors import StoreError, missing_bucket
from faceprep.core.urls import url_of

log = logging.getLogger("faceprep")
LEASE_S = 30.0
"""Seconds after which a run that renews its lease no more counts as dead."""
_N_AT_ONCE = 8
_LONGEST = 1024
"""Bytes in the name of an object, without its bucket, that every store takes."""
_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def can_put(url: str) -> bool:
    """Return whether the store has the conditions that an output needs."""
    return _scheme_of(url) in PUT_IF


def check_name(url: str) -> None:
    """Refuse a name that some store does not accept for an object. Raises BadName."""
    name = url_of(url).split("/", 3)[-1]
    n_bytes = len(name.encode("utf-8", "surrogateescape"))
    if n_bytes > _LONGEST:
        raise NameTooLong(
            f"the name is too long for an object: {n_bytes:,} bytes, at most {_LONGEST:,}",
            path=url,
            remedy="Choose an output with a shorter name, or give the input a shorter one.",
        )
    if _UNFIT.search(name):
        raise BadName(
            "the name does not fit an object: it has control characters or is not UTF-8",
            path=url,
            remedy="Give the input another name.",
        )


def put_file(path: Path, url: str) -> None:
    """Put a file of the disk. Raises OutputError."""
    with guard("write", url):
        try:
            _put(url, lambda store, key: store.put_file(str(path), key))
        except StoreError:
            os.stat(path)  # raises if the local file is gone
            raise


def put_new(url: str, data: bytes) -> str:
    """Put an object unless there is one. Raises OutputError.

    Return its entity tag if it holds `data` now, else nothing.
    """
    return _put_if(url, data, "")


def put_over(url: str, data: bytes) -> None:
    """Put an object, whatever is there. Raises OutputError."""
    with guard("write", url):
        _put(url, lambda store, key: store.pipe_file(key, data))


def get_file(url: str, path: Path) -> None:
    """Copy an object to the disk, where it appears whole. Raises OutputError."""
    storage.make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with guard("read", url):
        stores.send(url, lambda store, key: store.get_file(key, str(temporary)))
    storage.move(temporary, path)


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
    """Remove objects that may be there, several at once. Raises OutputError."""
    if len(urls) < 2:
        for url in urls:
            _remove(url)
        return
    with ThreadPoolExecutor(_N_AT_ONCE) as pool:
        for _ in pool.map(_remove, urls):
            pass


def _remove(url: str) -> None:
    with guard("remove", url):
        try:
            stores.send(url, lambda store, key: store.rm_file(key))
        except StoreError as error:
            if error.errno != errno.ENOENT:
                raise


def _scheme_of(url: str) -> str:
    return url_of(url).partition("://")[0]


def _put(url: str, request: Callable[[Any, str], Any]) -> Any:
    """Return the answer to a put, which finds nothing missing but a bucket. Raises StoreError."""
    try:
        return stores.send(url, request)
    except StoreError as error:
        if error.errno != errno.ENOENT:
            raise
        raise missing_bucket(url.split("/")[2]) from error


def _put_if(url: str, data: bytes, tag: str) -> str:
    """Put an object on a condition; return its entity tag if it holds `data` now."""
    put = PUT_IF[_scheme_of(url)]
    with guard("write", url):
        try:
            return str(_put(url, lambda store, key: put(store, key, data, tag))).strip('"')
        except StoreError as error:
            is_gone = error.errno == errno.ENOENT and tag
            if error.errno != errno.EEXIST and not is_gone:
                raise
        if read_if_there(url) != data:  # our request may have succeeded, and its answer been lost
            return ""
        return stores.fresh_tag(url)


class Lease:
    """A lock of a store, held in a with statement. `owner` may take over its own from before.

    A lease of somebody else is taken over once it has not been renewed for `seconds`. `name` is on
    the lease for as long as this one holds it.
    """

    def __init__(self, url: str, owner: str, seconds: float = LEASE_S) -> None:
        self.url, self._owner, self._seconds = url, owner, seconds
        self.name = f"{owner} {secrets.token_hex(4)}"
        self._n, self._tag = 0, ""
        self._over = threading.Event()
        self._renewer = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Lease:
        self._tag = put_new(self.url, self._next()) or self._take_over()
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._renewer.join()
        if self._tag and _is_held(self.url, self.name):
            remove([self.url])

    def _next(self) -> bytes:
        self._n += 1
        return f"{self.name} {self._n} {time.time_ns()}".encode()

    def _take_over(self) -> str:
        """Wait until the lease is free or not renewed any more; return the tag of a new one.

        Raises OutputError where a run renews it.
        """
        found = read_if_there(self.url)
        if found is not None and not found.startswith(f"{self._owner} ".encode()):
            found = _wait_for_end({self.url: found}, self._seconds).get(self.url)
        tag = put_new(self.url, self._next()) if found is None else self._replace()
        if not tag:
            raise _busy(self.url)
        return tag

    def _replace(self) -> str:
        """Put a lease over the one that is there; nobody may do so at the same time."""
        with guard("read", self.url):
            tag = stores.fresh_tag(self.url)
        return _put_if(self.url, self._next(), tag)

    def _keep(self) -> None:
        """Renew the lease until it is over or lost."""
        while self._tag and not self._over.wait(self._seconds / 3):
            try:
                self._tag = _put_if(self.url, self._next(), self._tag)
            except OutputError as error:  # another try is left before the lease ends
                log.warning("%s", error)


def refuse_live(urls: Sequence[str], seconds: float = LEASE_S) -> None:
    """Refuse leases that others renew; wait for that. Raises OutputError."""
    found = {url: data for url in urls if (data := read_if_there(url)) is not None}
    _wait_for_end(found, seconds)


def check_lease(url: str, name: str) -> None:
    """Raise OutputError unless the lease is held under this name."""
    if not _is_held(url, name):
        raise OutputError("another run has taken over here", path=url)


def _is_held(url: str, name: str) -> bool:
    return (read_if_there(url) or b"").startswith(f"{name} ".encode())


def _wait_for_end(found: Mapping[str, bytes], seconds: float) -> dict[str, bytes]:
    """Wait until these leases are gone or overdue; return those that are overdue.

    Raises OutputError where one is renewed.
    """
    left, until = dict(found), time.monotonic() + seconds
    for url in left:
        log.warning("%s: waiting %.0f s for a run to end", url, seconds)
    while left and time.monotonic() < until:
        time.sleep(seconds / 10)
        for url, data in list(left.items()):
            now = read_if_there(url)
            if now is None:
                del left[url]
            elif now != data:
                raise _busy(url)
    return left


def _busy(url: str) -> OutputError:
    return OutputError(
        "another faceprep run is at work here",
        path=url,
        remedy="Wait for it, or stop it; then start again.",
    )
