"""The files of one sample, taken from the bytes of a tar file that hold it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from faceprep.sets.tar.headers import (
    BLOCK,
    EXTENSIONS,
    REGULAR,
    SIZE,
    TYPE,
    Extension,
    read_name,
    read_size,
)
from faceprep.sets.tar.names import is_image, split_name

_LARGEST_JSON = 1 << 20


class SampleFiles(NamedTuple):
    """An image, and the other files of its sample by their extensions."""

    image: bytes
    others: dict[str, bytes]


def read_files(block: bytes, number: int) -> SampleFiles | None:
    """Read image `number` of a sample and its other files; None where it is not in `block`."""
    members = list(_read_members(block))
    images = [name for name, _ in members if is_image(split_name(name)[1])]
    if number >= len(images):
        return None
    wanted = images[number]
    stem, key = wanted.rpartition(".")[0], split_name(wanted)[0]
    image, own, shared = b"", {}, {}
    for name, content in members:
        if name == wanted:
            image = content
        elif name in images:
            continue
        elif name.startswith(f"{stem}.") and "." not in name[len(stem) + 1 :]:
            own[name[len(stem) + 1 :]] = content
        elif name.startswith(f"{key}.") and (len(images) == 1 or name.count(".", len(key)) == 1):
            shared[name[len(key) + 1 :]] = content
    return SampleFiles(image, shared | own)


def _read_members(block: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the regular files; the headers were checked for the index."""
    at, extension = 0, Extension()
    while at + BLOCK <= len(block):
        kind, size = block[at + TYPE], read_size(block[at + SIZE.start : at + SIZE.stop])
        if kind not in EXTENSIONS and extension.size >= 0:
            size = extension.size
        content = block[at + BLOCK : at + BLOCK + size]
        if size < 0 or len(content) < size:
            return
        if kind in EXTENSIONS:
            extension.add(kind, content, at)
        else:
            if kind in REGULAR and not extension.is_sparse:
                yield extension.name or read_name(block[at : at + BLOCK]), content
            extension.clear()
        at += BLOCK + size + -size % BLOCK


def read_labels(files: Mapping[str, bytes]) -> tuple[tuple[float, ...], dict[str, bytes]]:
    """Return the labels of a sample, and the files that say more than the labels.

    >>> read_labels({"cls": b"7", "txt": b"x"})
    ((7.0,), {'txt': b'x'})
    >>> read_labels({"json": b'{"labels": [1, 2]}'})
    ((1.0, 2.0), {})
    """
    extra = dict(files)
    labels: tuple[float, ...] = ()
    if "json" in files:
        found = _load_json(files["json"])
        labels = _as_labels(found.get("labels", found.get("label")))
        if labels and len(found) == 1:
            del extra["json"]
    if "cls" in files:
        own = _read_class(files["cls"])
        labels = labels or own
        if own and own == labels[:1] and files["cls"] == b"%d" % int(own[0]):
            del extra["cls"]
    return labels, extra


def _load_json(content: bytes) -> dict[str, Any]:
    if len(content) > _LARGEST_JSON:
        return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return found


def _as_labels(value: object) -> tuple[float, ...]:
    """Return one number or a list of numbers as labels, and nothing for other values."""
    values = value if isinstance(value, list) else [value]
    labels = []
    for number in values:
        if isinstance(number, bool) or not isinstance(number, int | float):
            return ()
        if abs(number) > 1e308:
            return ()
        labels.append(float(number))
    return tuple(labels)


def _read_class(content: bytes) -> tuple[float, ...]:
    try:
        label = float(content[:64])
    except ValueError:
        return ()
    if len(content) > 64 or not math.isfinite(label):
        return ()
    return (label,)
