"""Names in WebDataset shards: keys, extensions, classes."""

from __future__ import annotations

import re
from functools import lru_cache

from faceprep.core.io.image_header import IMAGE_SUFFIXES

LARGEST_CLASS = 4096
"""Bytes that a class may take as text."""
_WHOLE = re.compile(r"(0|-?[1-9][0-9]*)\.0*")
LABELS = ("cls", "json")
"""Extensions of files of labels."""


@lru_cache(4096)
def is_image(extension: str) -> bool:
    """Return whether the last suffix of an extension is that of an image.

    >>> is_image("jpg"), is_image("seg.PNG"), is_image("json")
    (True, True, False)
    """
    return "." + extension.rpartition(".")[2].lower() in IMAGE_SUFFIXES


@lru_cache(4096)
def fold_label(extension: str) -> str:
    """Return the extension of a file of labels in lower case, as webdataset reads it.

    >>> fold_label("CLS"), fold_label("TXT")
    ('cls', 'TXT')
    """
    folded = extension.lower()
    return folded if folded in LABELS else extension


def split_name(name: str) -> tuple[str, str]:
    """Return (key, extension) of a member; both empty where it has no extension, or no name.

    >>> split_name("a.b/c.d.jpg"), split_name("a.b/c"), split_name("a/.c")
    (('a.b/c', 'd.jpg'), ('', ''), ('', ''))
    """
    begin = name.rfind("/") + 1
    dot = name.find(".", begin)
    if dot <= begin or dot == len(name) - 1:
        return "", ""
    return name[:dot], name[dot + 1 :]


@lru_cache(1 << 14)
def class_name(content: bytes) -> str:
    """Return the text of a class, and nothing where it cannot be the name of an identity.

    A whole number has no point, as in other containers.

    >>> class_name(b" 7\\n"), class_name(b"7.0"), class_name(b"../x")
    ('7', '7', '')
    """
    text = content.decode("utf-8", "surrogateescape").strip()
    if whole := _WHOLE.fullmatch(text):
        return whole[1]
    if {"", ".", ".."} & set(text.split("/")) or any(letter < " " for letter in text):
        return ""
    return text
