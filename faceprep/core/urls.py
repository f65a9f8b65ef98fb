"""Names of objects in stores, such as ``s3://bucket/train.rec``, that pass through `pathlib`.

`Path` keeps one slash of the two: ``Path("s3://b/x")`` is ``s3:/b/x``. Both forms name the object.
A local folder that is called ``s3:`` can still be named by its absolute path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "memory")
"""Stores that faceprep reads, by the beginning of a name."""
_IN_PROCESS = "memory"
"""The store of one process, which no other command sees."""
_NAME = re.compile(rf"({'|'.join(SCHEMES)}):/+(?=[^/])")
_URL = re.compile(rf"([a-z][a-z0-9+.-]+):(?:/|$)|({'|'.join(SCHEMES)}):", re.IGNORECASE)
"""A name that begins like a URL; a single letter is not a scheme."""


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` names something in an object store.

    >>> is_remote("s3://b/x"), is_remote("s3:/b/x"), is_remote("/data/s3:/b"), is_remote("s3.rec")
    (True, True, False, False)
    """
    return _NAME.match(os.fspath(path)) is not None


def as_paths(given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """Return one path or several, given as text or not.

    >>> as_paths("a.rec") == as_paths([Path("a.rec")]) == (Path("a.rec"),)
    True
    """
    if isinstance(given, str | os.PathLike):
        given = (given,)
    return tuple(map(Path, given))


def as_output(given: str | os.PathLike[str]) -> Path:
    """Return the path of an output without each `NAME/..` whose NAME is not there.

    Making the folders of the path would make NAME too.

    >>> as_output("no such folder/../a/b.rec").as_posix(), as_output("../a").as_posix()
    ('a/b.rec', '../a')
    """
    path = Path(given)
    if ".." not in path.parts or is_remote(path):
        return path
    kept = Path()
    for part in path.parts:
        kept = kept.parent if part == ".." and not os.path.lexists(kept) else kept / part
    return kept


def url_of(path: str | os.PathLike[str]) -> str:
    """Return the name of an object with both slashes; any other path as text.

    >>> url_of("s3:/b/x"), url_of("memory:///b//x/"), url_of("a//b")
    ('s3://b/x', 'memory://b/x', 'a//b')
    """
    text = os.fspath(path)
    match = _NAME.match(text)
    if match is None:
        return text
    parts = [part for part in text[match.end() :].split("/") if part not in ("", ".")]
    return f"{match[1]}://{'/'.join(parts)}"


class ForeignName(NamedTuple):
    """A name with a scheme that faceprep neither reads nor writes, as fields of an error."""

    path: str
    expected: str
    found: str
    remedy: str


def find_foreign_name(path: str | os.PathLike[str]) -> ForeignName | None:
    """Return what is wrong with a path that begins like a URL but names no object.

    >>> find_foreign_name("hdfs:/a/x").path, find_foreign_name("S3://b/x").remedy
    ('hdfs://a/x', 'Did you mean s3://b/x?')
    >>> [find_foreign_name(path) for path in ("s3:/b/x", "/data/s4:/x", "a:/x", "a/b:/c")]
    [None, None, None, None]
    """
    text = os.fspath(path)
    match = _URL.match(text)
    if match is None or is_remote(path):
        return None
    scheme = match[1] or match[2]
    rest = text[len(scheme) + 1 :].lstrip("/")
    begins = f"{scheme}://" if match[1] else f"{scheme}:"
    readable = [f"{each}://" for each in SCHEMES if each != _IN_PROCESS]
    expected = f"a path, or a name that begins with {', '.join(readable[:-1])} or {readable[-1]}"
    return ForeignName(begins + rest, expected, begins, _what_to_do(scheme.lower(), rest))


def _what_to_do(scheme: str, rest: str) -> str:
    """Return what to do about a name that begins with a foreign scheme."""
    if scheme in SCHEMES and rest:
        return f"Did you mean {scheme}://{rest}?"
    if scheme in SCHEMES:
        return f"Name the bucket: {scheme}://BUCKET/NAME."
    if scheme == "file":
        return f"Did you mean /{rest}?"
    return (
        "Check how it begins, or copy it to a disk and name the copy. If it is on this disk, "
        "give its full path."
    )
