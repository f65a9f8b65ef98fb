"""Object stores through fsspec: what is there, one listing for each prefix, and reads by range.

A request that fails is sent again, unless the store has given a verdict: no such object, no
access. After that it is a `StoreError`, an `OSError` that has a sentence and a remedy. The entity
tag stands for the time of the last change.
"""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from faceprep.core.errors import loading
from faceprep.core.store_errors import (
    EXTRAS,
    StoreError,
    explain,
    missing_bucket,
    missing_object,
    no_credentials,
    package_errors,
)
from faceprep.core.store_patience import CONNECT_S, options_of, take_retries
from faceprep.core.urls import url_of

log = logging.getLogger("faceprep")
T = TypeVar("T")
_WAITS_S = (0.2, 0.6, 1.8)
"""Seconds before a request is sent for the second, third and fourth time."""
_N_AT_ONCE = 8
_TAGS = ("generation", "ETag", "etag", "md5Hash", "LastModified", "created")
"""Names of what changes with an object, in the answers of the stores."""


class Entry(NamedTuple):
    """What a store has under a name: a prefix, or an object with its size and entity tag."""

    is_folder: bool
    size: int
    tag: str


def look_at(path: str | os.PathLike[str]) -> Entry:
    """Return what is at `path`. Raises StoreError."""
    url = url_of(path)
    if _listings.is_asked_again(url):
        _try_to_list(url.rpartition("/")[0])
    listed = _listings.of(url.rpartition("/")[0])
    if listed is None:
        return _entry(send(path, lambda store, key: store.info(key)))
    name = url.rpartition("/")[2]
    if name not in listed:
        raise missing_object()
    return listed[name]


def list_ahead(paths: Sequence[str | os.PathLike[str]]) -> None:
    """List several prefixes at once, because each of them will be asked about soon."""
    with ThreadPoolExecutor(_N_AT_ONCE) as pool:
        for _ in pool.map(_try_to_list, map(url_of, paths)):
            pass


def _try_to_list(path: str) -> None:
    try:
        list_prefix(path)
    except StoreError as error:  # objects may be readable where prefixes are not
        log.debug("%s: %s", path, error.reason)
        _listings.give_up(path)


def list_prefix(path: str | os.PathLike[str]) -> dict[str, Entry]:
    """Return what is directly below `path`, by name; one request for 1,000 names.

    `look_at` answers from it for a while, until `forget_listings`. Raises StoreError.
    """
    if (listed := _listings.of(url_of(path))) is not None:
        return listed
    began = time.monotonic()
    found = send(path, lambda store, key: store.ls(key, detail=True))
    root = _key_of(url_of(path)).strip("/")
    entries: dict[str, Entry] = {}
    for each in found:
        key = str(each["name"]).strip("/")
        _warn_of_odd_name(root, str(each["name"]), each["type"])
        if key == root and each["type"] == "file" and not str(each["name"]).endswith("/"):
            raise StoreError(errno.ENOTDIR, "not a prefix but an object", "Check the path.")
        name = key.rpartition("/")[2]
        if key != root and name:
            entries[name] = _entry(each)
    _listings.keep(url_of(path), entries, time.monotonic() - began)
    return entries


def _warn_of_odd_name(root: str, name: str, kind: str) -> None:
    """Warn of a prefix called "", . or .., because no path can lead there."""
    last = name.rstrip("/").rpartition("/")[2]
    is_empty = kind == "directory" and name.strip("/") == root
    if is_empty or last in (".", ".."):
        odd = "" if is_empty else last
        log.warning("%s: objects below the prefix %r are not read: rename them", root, odd)


def forget_listings() -> None:
    """Ask the stores anew from here on."""
    _listings.clear()


def read(path: str | os.PathLike[str], start: int = 0, stop: int | None = None) -> bytes:
    """Read the bytes [start, stop) of an object, or all of them. Raises StoreError.

    Fewer bytes come only at the end of the object.
    """
    if stop is not None and stop <= start:
        return b""
    try:
        data: bytes = send(path, lambda store, key: store.cat_file(key, start=start, end=stop))
    except StoreError as error:
        if error.errno != errno.ERANGE:
            raise
        return b""
    return data


def explain_missing(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Return (sentence, remedy) for a name that a store does not have. Raises StoreError."""
    scheme, _, key = url_of(path).partition("://")
    bucket = key.partition("/")[0]
    if scheme != "memory":
        try:
            send(f"{scheme}://{bucket}", lambda store, key: store.ls(key, detail=False))
        except StoreError as error:
            if error.errno != errno.ENOENT:
                raise
            found = missing_bucket(bucket)
            return found.reason, found.remedy
    return "no such object or prefix", "Check the path."


class ObjectReader:
    """An object that is read at offsets.

    Reads that follow one another are joined to ever larger requests, up to `_MOST`.
    """

    _LEAST, _MOST = 64 << 10, 4 << 20

    def __init__(self, path: str | os.PathLike[str]) -> None:
        entry = look_at(path)
        if entry.is_folder:
            raise StoreError(errno.EISDIR, os.strerror(errno.EISDIR), "Name a file.")
        self.path, self.size = url_of(path), entry.size
        self._start, self._data, self._step = 0, b"", self._LEAST

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """Read `n_bytes` from `offset`; fewer only at the end. Raises StoreError."""
        stop = min(offset + n_bytes, self.size)
        if stop <= offset:
            return b""
        end = self._start + len(self._data)
        if not self._start <= offset or stop > end:
            self._fetch(offset, stop, end)
        return self._data[offset - self._start : stop - self._start]

    def _fetch(self, offset: int, stop: int, end: int) -> None:
        """Replace the bytes at hand by those from `offset` on, with what they have of these."""
        follows = self._start <= offset <= end + self._LEAST
        self._step = min(self._step * 4, self._MOST) if follows and self._data else self._LEAST
        kept = self._data[offset - self._start :] if self._start <= offset < end else b""
        start = offset + len(kept)
        last = min(max(stop, start + self._step), self.size)
        data = read(self.path, start, last)
        if len(data) != last - start:
            problem = f"expected {last - start} bytes at offset {start}, found {len(data)}"
            raise StoreError(errno.EIO, problem, "It may have changed during the run: start again.")
        self._start, self._data = offset, kept + data


class ObjectFile(io.RawIOBase):
    """An object as a file for reading; put it behind an `io.BufferedReader`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._reader, self._at = ObjectReader(path), 0
        self.name = self._reader.path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._reader.read_at(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._reader.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at


class _Listings:
    """The prefixes that were listed last, with at most `_MOST` names in all.

    Each is kept for `_FRESH_S` seconds, or longer where a listing takes long.
    """

    _MOST, _PATIENCE, _FRESH_S = 200_000, 4, 30.0

    def __init__(self) -> None:
        self._of: dict[str, tuple[float, dict[str, Entry]]] = {}
        self._n_asked: dict[str, int] = {}
        self._lock = threading.Lock()

    def keep(self, url: str, entries: dict[str, Entry], seconds: float) -> None:
        until = time.monotonic() + max(self._FRESH_S, 10 * seconds)
        with self._lock:
            self._of.pop(url, None)
            self._of[url] = until, entries
            n = sum(len(each) for _, each in self._of.values())
            while len(self._of) > 1 and n > self._MOST:
                n -= len(self._of.pop(next(iter(self._of)))[1])

    def of(self, url: str) -> dict[str, Entry] | None:
        """Return what was listed below a prefix, if that is fresh."""
        until, entries = self._of.get(url, (0.0, {}))
        return entries if time.monotonic() < until else None

    def is_asked_again(self, url: str) -> bool:
        """Return whether an unlisted prefix has been asked about so often that a listing pays."""
        folder = url.rpartition("/")[0]
        if len(self._n_asked) > self._MOST:
            self._n_asked.clear()
        self._n_asked[folder] = self._n_asked.get(folder, 0) + 1
        return self._n_asked[folder] % self._PATIENCE == 0 and self.of(folder) is None

    def give_up(self, folder: str) -> None:
        """Ask for no listing of this prefix again."""
        self._n_asked[folder] = -sys.maxsize

    def clear(self) -> None:
        self._of.clear()
        self._n_asked.clear()


_listings = _Listings()


# Requests


def _entry(info: dict[str, Any]) -> Entry:
    if info["type"] == "directory":
        return Entry(True, 0, "")
    tag = next((str(info[name]) for name in _TAGS if info.get(name)), "")
    return Entry(False, int(info["size"] or 0), tag.strip('"'))


def fresh_tag(path: str | os.PathLike[str]) -> str:
    """Return the entity tag of an object as it is now. Raises StoreError."""
    return _entry(send(path, lambda store, key: store.info(key))).tag


def tag_number(tag: str) -> int:
    """Return an entity tag as a number, for places that keep the time of the last change.

    >>> tag_number("9b2cf535f27731c974343645a3985328") == tag_number("")
    False
    """
    return int.from_bytes(hashlib.sha256(tag.encode()).digest()[:7], "big")


def _key_of(url: str) -> str:
    return url.partition("://")[2]


def send(path: str | os.PathLike[str], request: Callable[[Any, str], T]) -> T:
    """Return the answer to a request about an object, which is tried again where that may help.

    Raises StoreError, and MissingExtra without the package for the store.
    """
    url = url_of(path)
    scheme = url.partition("://")[0]
    store = open_store(scheme, os.getpid())
    began = time.monotonic()
    for wait_s in (*_WAITS_S, None):
        try:
            return request(store, _key_of(url))
        except package_errors() as error:
            found = explain(error, scheme)
            if wait_s is None or found.errno != errno.EIO:
                raise found from error
        log.debug("%s: %s: trying again in %s s", url, found.reason, wait_s)
        if wait_s == _WAITS_S[1] or time.monotonic() - began > CONNECT_S - 1:
            log.warning("%s: %s: trying again", url, found.reason)
        time.sleep(wait_s)
    raise AssertionError


@lru_cache(maxsize=8)
def open_store(scheme: str, process: int) -> Any:
    """Return the file system of a store for this process; a fork cannot use its parent's."""
    extra = EXTRAS.get(scheme, "s3")
    if extra == "gcs":  # else gcsfs spends a minute asking for the kind of bucket
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    problem = f"{scheme}:// needs a package that is not installed ({{0}})"
    try:
        with loading(problem, f"pip install 'faceprep[{extra}]'"):
            import fsspec

            store = fsspec.filesystem(scheme, use_listings_cache=False, **options_of(scheme))
    except ValueError as error:
        raise no_credentials(error, scheme) from error
    take_retries(store)
    return store
