"""Names of objects in stores, such as ``s3://bucket/train.rec``, that pass through `pathlib`.

`Path` keeps one slash of the two: ``Path("s3://b/x")`` is ``s3:/b/x``. Both forms name the object.
A local folder that is called ``s3:`` can still be named by its absolute path.
"""

from __future__ import annotations

import os
import re

SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "memory")
"""Stores that faceprep reads, by the beginning of a name."""
_NAME = re.compile(rf"({'|'.join(SCHEMES)}):/+(?=[^/])")


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` names something in an object store.

    >>> is_remote("s3://b/x"), is_remote("s3:/b/x"), is_remote("/data/s3:/b"), is_remote("s3.rec")
    (True, True, False, False)
    """
    return _NAME.match(os.fspath(path)) is not None


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
