"""Verification sets (.bin): a pickle of (images, same), whatever Python and NumPy wrote it.

    images   list of 2n encoded images; pair i is images 2i and 2i+1
             each bytes, a Python 2 str, or a uint8 array of shape (N,) or (N, 1)
    same     list or array of n truth values

Read without running it (`unpickle`). What is written here, a pickle of protocol 3 that every
Python 3 reads:

    80 03 5d 28       PROTO 3, EMPTY_LIST, MARK
    42 u32 bytes      BINBYTES, one per image
    65 5d 28          APPENDS, EMPTY_LIST, MARK
    88 or 89          NEWTRUE or NEWFALSE, one per pair
    65 86 2e          APPENDS, TUPLE2, STOP
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.paths import is_folder
from faceprep.core.text import count_noun
from faceprep.core.types import Buffer, Outcome, PairSet, Sink
from faceprep.sets.file_format import refuse_other_format
from faceprep.sets.pairs_bin.pickle_values import Array, Span, Strings, bytes_of, kind_of
from faceprep.sets.pairs_bin.unpickle import read_pickle

MAX_BYTES = 4 << 30
"""A larger file is refused before it is read: no verification set comes near."""

PAIR = np.dtype([("images", "<i8", (2, 3)), ("same", "<i8")])
"""Where a pair lies in its file: (start, bytes, coding) of its two images; whether they show
one person.
"""

_HEAD, _BETWEEN, _END = b"\x80\x03](", b"e](", b"e\x86."
_SAME, _DIFFERENT = b"\x88", b"\x89"
_OTHER_FILE = "It holds something other than encoded images and labels: check the path."
_NUMBERS = ("b", "u", "i", "f")
_IMAGES, _LABELS = ".images", ".labels"


def load_pairs(path: str | PathLike[str]) -> PairSet:
    """Load the whole set; images are views of the file's bytes where possible.

    Raises SourceError.
    """
    data = _read(path)
    images, same = _read_set(data, path)
    decoded, view = dict(_decode_strings(data, images, path)), memoryview(data)
    return PairSet(
        [decoded[s] if s.coding else view[s.start : s.start + s.n_bytes] for s in images], same
    )


def find_pairs(path: str | PathLike[str]) -> npt.NDArray[np.void]:
    """Locate the pairs as an array of `PAIR`; every image lies within the file.

    Raises SourceError.
    """
    data = _read(path)
    images, same = _read_set(data, path)
    for _ in _decode_strings(data, images, path):
        pass
    pairs = np.zeros(len(same), PAIR)
    pairs["images"] = np.array(images, np.int64).reshape(len(same), 2, 3)
    pairs["same"] = same
    return pairs


def read_images(file: storage.ByteSource, pair: npt.NDArray[np.void]) -> list[bytes]:
    """Read the two images of a pair that `find_pairs` located in `file`. Raises SourceError."""
    return [
        bytes_of(file.read_at(start, n_bytes), coding)
        for start, n_bytes, coding in pair["images"].tolist()
    ]


def save_places(path: Path, pairs: npt.NDArray[np.void]) -> None:
    """Save the result of `find_pairs` for the shards of a run."""
    storage.write_file(path, pairs.tobytes(), durable=False)


def load_places(path: Path, start: int, stop: int) -> npt.NDArray[np.void]:
    """Load the pairs [start, stop) that `save_places` saved. Raises SourceError."""
    with storage.ByteSource(path) as file:
        return np.frombuffer(
            file.read_at(start * PAIR.itemsize, (stop - start) * PAIR.itemsize), PAIR
        )


def name_images(pair: npt.NDArray[np.void], number: int) -> list[str]:
    """Name both images of pair `number`, each with its place in the file."""
    starts = pair["images"][:, 0].tolist()
    return [
        f"image {2 * number + i} (the {ordinal} of pair {number}) at byte {start}"
        for i, (ordinal, start) in enumerate(zip(("first", "second"), starts, strict=True))
    ]


def leave_out(key: str, failed: Sequence[Outcome]) -> Outcome:
    """Return the outcome of the pair `key`, of whose images these failed."""
    reasons = "; ".join(outcome.reason for outcome in failed)
    return Outcome(key, failed[0].status, f"{reasons}; the pair is left out")


class PairPart:
    """The pairs of one shard, in the form that `join_parts` needs."""

    def __init__(self, sink: Sink) -> None:
        self._images, self._labels = sink.open_part(_IMAGES), sink.open_part(_LABELS)

    def add(self, images: Sequence[Buffer], same: bool) -> None:
        """Add two encoded images, and whether they show one person."""
        for image in images:
            _write_image(self._images, image)
        self._labels.write(_SAME if same else _DIFFERENT)


def count_parts(sink: Sink, shard_ids: Iterable[str]) -> int:
    """Count the pairs of these shards; a shard without parts has none."""
    return sum(storage.size_of(sink.part_path(shard_id, _LABELS)) or 0 for shard_id in shard_ids)


def join_parts(file: BinaryIO, sink: Sink, shard_ids: Sequence[str]) -> None:
    """Write the pairs of these shards in this order.

    `pickle.load(file, encoding="bytes")` then gives (list of bytes, list of bool).
    """
    file.write(_HEAD)
    for shard_id in shard_ids:
        storage.append_file(sink.part_path(shard_id, _IMAGES), file)
    file.write(_BETWEEN)
    for shard_id in shard_ids:
        storage.append_file(sink.part_path(shard_id, _LABELS), file)
    file.write(_END)


def is_own(path: Path) -> bool:
    """Return whether the file begins like one that faceprep wrote."""
    return storage.read_bytes(path, len(_HEAD)) == _HEAD


def _write_image(file: BinaryIO, image: Buffer) -> None:
    file.write(b"B" + struct.pack("<I", len(image)))
    file.write(image)


def _read(path: str | PathLike[str]) -> bytes:
    if is_folder(path):
        raise SourceError(
            "not a verification set",
            path=path,
            expected="a .bin file",
            found="a folder",
            remedy="make-bin makes a .bin of a folder of identities.",
        )
    n_bytes = storage.size_of(path) or 0
    if n_bytes > MAX_BYTES:
        expected, found = f"at most {MAX_BYTES:,} bytes", f"{n_bytes:,}"
        raise SourceError(
            "too large for a verification set", path=path, expected=expected, found=found
        )
    data = storage.read_bytes(path)
    if not data:
        raise _not_a_set(path, "a pickle of images and labels", "an empty file")
    refuse_other_format(path)
    return data


def _read_set(data: bytes, path: str | PathLike[str]) -> tuple[list[Span], list[bool]]:
    """Return (places of the images, same), with two images per pair."""
    value = read_pickle(data, path)
    if type(value) not in (tuple, list) or len(value) != 2 or type(value[0]) not in (tuple, list):
        if type(value) in (tuple, list):
            found = f"{kind_of(value)} of {len(value)}"
            if len(value) == 2:
                found += f", the first {_describe(value[0])}"
        else:
            found = _describe(value)
        raise _not_a_set(path, "a pair of lists (images, same)", found, remedy=_OTHER_FILE)
    images = [_place_of(image, number, path) for number, image in enumerate(value[0])]
    same = _read_labels(value[1], data, path)
    if len(images) != 2 * len(same) or not same:
        found = f"{count_noun(len(images), 'image')} for {count_noun(len(same), 'label')}"
        raise _not_a_set(path, "two images for every label", found)
    return images, same


def _not_a_set(
    path: str | PathLike[str],
    expected: str,
    found: str,
    where: str | None = None,
    remedy: str = "Get the file again from its source.",
) -> SourceError:
    return SourceError(
        "not a verification set",
        path=path,
        where=where,
        expected=expected,
        found=found,
        remedy=remedy,
    )


def _place_of(image: Any, number: int, path: str | PathLike[str]) -> Span:
    if type(image) is Span:
        return image
    if (
        type(image) is Array
        and image.dtype[1:] == "u1"
        and len(image.shape) in (1, 2)
        and image.shape[1:] in ((), (1,))
    ):
        return image.data
    expected = "bytes, or a uint8 array of shape (N,) or (N, 1)"
    where = f"image {number} (counted from 0)"
    raise _not_a_set(path, expected, _describe(image), where, _OTHER_FILE)


def _describe(value: Any) -> str:
    if type(value) is Array:
        return f"a NumPy array of shape {value.shape} and type {value.dtype}"
    return kind_of(value)


def _read_labels(labels: Any, data: bytes, path: str | PathLike[str]) -> list[bool]:
    if type(labels) is Array and labels.dtype[-2:-1] not in _NUMBERS:
        raise _not_a_set(path, "an array of True and False", _describe(labels))
    if type(labels) is Array:
        labels = [labels] if labels.shape == () else _numbers(labels, data)
    if type(labels) not in (tuple, list):
        raise _not_a_set(path, "a list or an array of labels", _describe(labels))
    same = []
    for number, label in enumerate(labels):
        is_numbers = type(label) is Array and label.dtype[-2:-1] in _NUMBERS
        values = _numbers(label, data) if is_numbers else [label]
        if len(values) != 1 or type(values[0]) not in (bool, int) or values[0] not in (0, 1):
            if len(values) == 1 and type(values[0]) in (int, float):
                found = str(values[0])
            else:
                found = _describe(label)
            raise _not_a_set(path, "True or False", found, f"label {number} (counted from 0)")
        same.append(bool(values[0]))
    return same


def _numbers(array: Array, data: bytes) -> list[float]:
    raw = Strings(data).bytes_at(array.data)
    numbers: list[float] = np.frombuffer(raw, array.dtype.replace("b1", "u1")).tolist()
    return numbers


def _decode_strings(
    data: bytes, images: Sequence[Span], path: str | PathLike[str]
) -> Iterator[tuple[Span, bytes]]:
    """Yield (place, bytes) of every image that is encoded in the file. Raises SourceError."""
    strings = Strings(data)
    seen: set[Span] = set()
    for number, span in enumerate(images):
        if span.coding and span not in seen:
            seen.add(span)
            try:
                yield span, strings.bytes_at(span)
            except ValueError as error:
                where = f"image {number} (counted from 0), byte {span.start}"
                raise _not_a_set(path, "bytes as latin-1 text", str(error), where) from error
