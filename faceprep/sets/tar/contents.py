"""The files of one sample, taken from the bytes of a tar file that hold it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from faceprep.core.io.json_line import parse_json
from faceprep.sets.lists import as_value, parse_label
from faceprep.sets.recordio.records import IdentityNames
from faceprep.sets.tar.headers import (
    BLOCK,
    EXTENSIONS,
    PAX,
    REGULAR,
    SIZE,
    TYPE,
    Extension,
    is_silent,
    read_name,
    read_size,
)
from faceprep.sets.tar.names import class_name, fold_label, is_image, split_name

_LARGEST_JSON = 1 << 20
_match_member = re.compile(
    rb"(?s)(?=.{124}([0-7]{11})[\0 ].{20}[0\0].{188}\0)(?=[^\0]{3,99}\0)"
    rb"((?:[^\0/]+/)*[^\0/.]+\.)([^\0/.]+)\0"
).match
"""Match a usual header: its size in octal digits, a key with its dot, and an extension."""
_MOST_CACHED = 1 << 12
_number_names = IdentityNames()


class SampleFiles(NamedTuple):
    """An image, and the other files of its sample by their extensions."""

    image: bytes
    others: dict[str, bytes]


class Pair(NamedTuple):
    """An image ``block[start:stop]``, with the extension and content of the other file."""

    start: int
    stop: int
    name: str
    content: bytes


def read_files(block: bytes, number: int, start: int, stop: int) -> SampleFiles | None:
    """Read image `number` of the sample in block[start:stop] and its other files.

    Return None where it is not there.
    """
    pair = None if number else find_pair(block, start, stop)
    if pair:
        return SampleFiles(block[pair.start : pair.stop], {pair.name: pair.content})
    return _read_any(block[start:stop], number)


def find_pair(block: bytes, start: int, stop: int) -> Pair | None:
    """Find the files of the sample in block[start:stop] if they are an image and one more.

    Return None for other samples, and for headers that are not of the usual kinds.
    """
    image = _match_member(block, start) or _match_after_pax(block, start)
    if not image:
        return None
    digits, key, extension = image.groups()
    size, begin = int(digits, 8), image.start() + BLOCK
    following = begin + size + -size % BLOCK
    other = _match_member(block, following) or _match_after_pax(block, following)
    if not other or other[2] != key:
        return None
    content, name = other.start() + BLOCK, _other_name(extension, other[3])
    if not name or content + int(other[1], 8) != stop or stop > len(block):
        return None
    return Pair(begin, begin + size, name, block[content:stop])


def _match_after_pax(block: bytes, at: int) -> re.Match[bytes] | None:
    """Match a usual header behind pax records that do not change its name, size or kind."""
    if at + BLOCK > len(block) or block[at + TYPE] != PAX:
        return None
    size = read_size(block[at + SIZE.start : at + SIZE.stop])
    end = at + BLOCK + size
    if size < 0 or not is_silent(block, at + BLOCK, end):
        return None
    return _match_member(block, end + -size % BLOCK)


@lru_cache(_MOST_CACHED)
def _other_name(image: bytes, other: bytes) -> str:
    """Return the second extension as text if the first is that of an image, and it is not."""
    names = [extension.decode("utf-8", "surrogateescape") for extension in (image, other)]
    if [is_image(name) for name in names] != [True, False]:
        return ""
    return fold_label(names[1])


def _read_any(block: bytes, number: int) -> SampleFiles | None:
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
            own[fold_label(name[len(stem) + 1 :])] = content
        elif name.startswith(f"{key}.") and (len(images) == 1 or name.count(".", len(key)) == 1):
            shared[fold_label(name[len(key) + 1 :])] = content
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
        own, is_plain = _read_class(files["cls"])
        labels = labels or own
        if is_plain and own == labels[:1]:
            del extra["cls"]
    return labels, extra


def read_label(content: bytes) -> str:
    """Return the class that a .json states as its `label`; empty for none.

    >>> read_label(b'{"label": 7, "age": 30}'), read_label(b'{"labels": [7]}')
    ('7', '')
    """
    label = _load_json(content).get("label")
    if isinstance(label, str):
        return class_name(label.encode("utf-8", "surrogateescape"))
    if isinstance(label, bool) or not isinstance(label, int | float):
        return ""
    return str(label) if isinstance(label, int) else _number_names[label]


def _load_json(content: bytes) -> dict[str, Any]:
    if len(content) > _LARGEST_JSON:
        return {}
    try:
        found = parse_json(content)
    except ValueError:
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
        labels.append(as_value(number))
    return tuple(labels)


def read_class(content: bytes) -> float | None:
    """Return the label of a class that is a whole number as faceprep writes it, or else None.

    >>> read_class(b"7"), read_class(b"7.0"), read_class(b"ann")
    (7.0, None, None)
    """
    labels, is_plain = _read_class(content)
    return labels[0] if is_plain else None


@lru_cache(1 << 14)
def _read_class(content: bytes) -> tuple[tuple[float, ...], bool]:
    """Return the label of a class, none for a name; the flag says that it is a number as we write.

    >>> _read_class(b"7"), _read_class(b"7.0"), _read_class(b"ann")
    (((7.0,), True), ((7.0,), False), ((), False))
    """
    label = parse_label(content[:64].decode("utf-8", "replace").strip())
    if label is None or len(content) > 64 or not math.isfinite(label):
        return (), False
    return (as_value(label),), content == b"%d" % int(label)
