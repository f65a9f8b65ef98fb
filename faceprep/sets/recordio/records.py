"""MXNet RecordIO (.rec), without MXNet. All numbers are little-endian.

    record  u32 0xced7230a | u32 cflag << 29 | length | payload | zeros to a multiple of 4
    cflag   0 whole, 1 first part, 2 middle part, 3 last part
    payload u32 flag | f32 label | u64 id | u64 id2 | flag × f32 labels | encoded image

A payload that holds the magic at a multiple of 4 is cut there into parts and the magic left out;
the reader puts it back. With flag > 0 the labels follow the header and the header's own label means
nothing. Layout: dmlc-core recordio.h; image header: MXNet's `IRHeader`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from typing import ClassVar, NamedTuple

from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import BAD_RECORD, UNREADABLE
from faceprep.core.storage import ByteSource
from faceprep.core.types import Buffer
from faceprep.sets.recordio.spans import GAP, Spans

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
MAX_LENGTH = (1 << 29) - 1
EXACT_FLOATS = 1 << 24
"""Above this, float32 labels and ranges no longer tell neighbouring whole numbers apart."""

_WHOLE, FIRST, MIDDLE, LAST = range(4)
PART_HEAD = struct.Struct("<II")
HEADER = struct.Struct("<IfQQ")
WHOLE_HEAD = struct.Struct("<IIIfQQ")
_HEAD_AND_FLAG, _LABEL = struct.Struct("<III"), struct.Struct("<f")
LABEL_AT = PART_HEAD.size + 4
"""Bytes from the start of a record to its label, if it has one. No part is cut before it."""
_SEARCHED = 4 << 20
_MOST_NAMES = 1 << 16


class Record(NamedTuple):
    """A whole record: its payload and the offset of the next record."""

    payload: Buffer
    end: int


@dataclass(frozen=True, slots=True)
class Damage:
    """The status and reason of an offset without a readable record.

    Statuses are bad_record, truncated, unreadable.
    """

    status: str
    reason: str
    length: ClassVar[int] = 0
    """The length of the record, which is not known."""


class ImageRecord(NamedTuple):
    """An unpacked image record.

    `labels` has at least one number; `image` may be empty (header, ranges). `length` is that of
    the whole record in its file, 0 where it is not known.
    """

    flag: int
    labels: tuple[float, ...]
    id: int
    image: Buffer
    id2: int = 0
    length: int = 0

    @property
    def has_no_image(self) -> bool:
        """Return whether there are two labels and no bytes, as in a header or identity record."""
        return self.flag == 2 and not self.image


@dataclass(frozen=True, slots=True)
class ImageRun:
    """Consecutive image records without metadata in a block of a file, in columns of one length.

    Record i lies in ``block[begins[i] : stops[i]]``, and its image begins at ``starts[i]``.
    """

    block: bytes
    begins: list[int]
    starts: list[int]
    stops: list[int]

    def __len__(self) -> int:
        return len(self.begins)

    def __iter__(self) -> Iterator[ImageRecord]:
        columns = zip(self.begins, self.images, self.labels, self.lengths, strict=True)
        for begin, image, labels, length in columns:
            flag, _, id, id2 = HEADER.unpack_from(self.block, begin + PART_HEAD.size)
            yield ImageRecord(flag, labels, id, image, id2, length)

    @property
    def images(self) -> list[bytes]:
        """Return the encoded images."""
        spans = zip(self.starts, self.stops, strict=True)
        return [self.block[start:stop] for start, stop in spans]

    @property
    def labels(self) -> list[tuple[float, ...]]:
        """Return the labels of each image."""
        spans = zip(self.begins, self.starts, strict=True)
        return [_labels_between(self.block, begin, start) for begin, start in spans]

    @property
    def headers(self) -> list[bytes]:
        """Return the bytes in front of each image: flag, label, ids and labels."""
        spans = zip(self.begins, self.starts, strict=True)
        return [self.block[begin + PART_HEAD.size : start] for begin, start in spans]

    @property
    def have_one_label(self) -> bool:
        """Return whether each record has its label in the header."""
        return self.starts == [begin + WHOLE_HEAD.size for begin in self.begins]

    @property
    def lengths(self) -> list[int]:
        """Return the lengths of the whole records in their file."""
        spans = zip(self.begins, self.stops, strict=True)
        return [stop - begin + 3 & ~3 for begin, stop in spans]


class IdentityNames(dict[float, str]):
    """A dict from label to identity name: whole numbers without a point.

    Empty for NaN and infinity. It forgets all names when there are many.

    >>> IdentityNames()[7.0], IdentityNames()[0.5], IdentityNames()[float("nan")]
    ('7', '0.5', '')
    """

    def __missing__(self, label: float) -> str:
        finite = label == label and abs(label) != float("inf")
        if not finite:
            name = ""
        elif label.is_integer():
            name = str(int(label))
        else:
            name = repr(label)
        if len(self) >= _MOST_NAMES:
            self.clear()
        self[label] = name
        return name


class RecordFile:
    """A .rec file that is read through a window of some hundred kilobytes."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._source = ByteSource(path)
        self._window, self._base = b"", 0
        self.path, self.size = self._source.path, self._source.size

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def announce(self, offset: int, n_bytes: int) -> None:
        """Let the system fetch bytes that are read soon."""
        self._source.announce(offset, n_bytes)

    def read(self, offset: int, window: int = GAP) -> Record | Damage:
        """Read the record at byte `offset`.

        `window` bytes are read ahead when it is not in memory.
        """
        damage = self._bring(offset, window)
        if damage:
            return damage
        at = offset - self._base
        magic, word = PART_HEAD.unpack_from(self._window, at)
        length = word & MAX_LENGTH
        if magic != MAGIC:
            return Damage(BAD_RECORD, f"expected the magic {MAGIC:#x}, found {magic:#x}")
        stop = at + 8 + length
        if word >> 29 == _WHOLE and stop <= len(self._window):
            return Record(memoryview(self._window)[at + 8 : stop], offset + 8 + (length + 3 & ~3))
        return self._read_parts(offset)

    def read_images(self, offsets: Sequence[int]) -> Iterator[ImageRecord | Damage]:
        """Yield the image records at ascending `offsets`.

        Nearby records are read in larger pieces.
        """
        return chain.from_iterable(self.read_runs(offsets))

    def read_runs(self, offsets: Sequence[int]) -> Iterator[ImageRun | tuple[ImageRecord | Damage]]:
        """Yield the records of `read_images` in runs, which cost less per image."""
        n_read = 0
        for run in self.read_whole(offsets):
            if isinstance(run, ImageRun):
                yield run
                n_read += len(run)
            else:
                yield (_unpack_record(run, offsets[n_read]),)
                n_read += 1

    def read_whole(
        self, offsets: Sequence[int], ends: Sequence[int] | None = None
    ) -> Iterator[ImageRun | Record | Damage]:
        """Yield the records at ascending `offsets`, headers and all: in runs, or one by one.

        `ends` says where they end, as far as it is known: no more is read then.
        """
        spans = Spans(offsets, ends or [offset + GAP for offset in offsets])
        start = 0
        while start < len(offsets):
            offset, damage = offsets[start], None
            if not self._holds(offset):
                damage = self._bring(offset, spans.reach(start))
            if damage:
                yield damage
                start += 1
                continue
            run = self._at_hand(offsets, start)
            yield run if len(run) else self.read(offset)
            start += max(len(run), 1)

    def _bring(self, offset: int, window: int) -> Damage | None:
        """Load the start of the record at `offset` into the window; return why where that fails."""
        if self._holds(offset):
            return None
        if not 0 <= offset <= self.size - PART_HEAD.size:
            return self._outside(offset)
        try:
            self._load(offset, window)
        except SourceError as error:
            return Damage(UNREADABLE, error.problem)
        return None

    def _holds(self, offset: int) -> bool:
        """Return whether the start of the record at `offset` is in the window."""
        return 0 <= offset - self._base <= len(self._window) - PART_HEAD.size

    def _at_hand(self, offsets: Sequence[int], start: int) -> ImageRun:
        """Return the run from the `start`-th offset that lies whole in the window and has images
        only.
        """
        window, size, base = self._window, len(self._window), self._base
        run = ImageRun(window, [], [], [])
        for i in range(start, len(offsets)):
            at = offsets[i] - base
            if not 0 <= at <= size - WHOLE_HEAD.size:
                break
            magic, word, flag = _HEAD_AND_FLAG.unpack_from(window, at)
            start_of_image, stop = at + WHOLE_HEAD.size + 4 * flag, at + 8 + word
            # A record in several parts has flag bits that put its end far outside the window.
            if magic != MAGIC or not start_of_image < stop <= size:
                break
            run.begins.append(at)
            run.starts.append(start_of_image)
            run.stops.append(stop)
        return run

    def find_next(self, offset: int) -> int | None:
        """Find the next record at or after `offset`: an aligned magic with cflag 0 or 1."""
        offset = offset + 3 & ~3
        while offset < self.size:
            block = self._source.read_at(offset, _SEARCHED)
            at = block.find(MAGIC_BYTES)
            while at >= 0:
                if at % 4 == 0 and at + 8 <= len(block) and block[at + 7] >> 5 in (_WHOLE, FIRST):
                    return offset + at
                at = block.find(MAGIC_BYTES, at + 1)
            offset += len(block) - 4 if len(block) == _SEARCHED else len(block)
        return None

    def has_record(self, offset: int) -> bool:
        """Return whether a record begins at byte `offset`."""
        if offset > self.size - PART_HEAD.size:
            return False
        try:
            magic, word = PART_HEAD.unpack(self._source.read_at(offset, PART_HEAD.size))
        except SourceError:
            return False
        return magic == MAGIC and word >> 29 in (_WHOLE, FIRST)

    def _load(self, offset: int, n_bytes: int) -> None:
        self._window = b""
        try:
            self._window = self._source.read_at(offset, max(n_bytes, PART_HEAD.size))
        except SourceError:  # a bad spot in the window must not cost the sound records before it
            _, word = PART_HEAD.unpack(self._source.read_at(offset, 8))
            self._window = self._source.read_at(offset, 8 + (word & MAX_LENGTH))
        self._base = offset

    def _outside(self, offset: int) -> Damage:
        if self.size - 8 < offset < self.size:
            return Damage("truncated", f"the file ends at {self.size}, inside the record's header")
        return Damage(BAD_RECORD, f"the offset lies outside the file of {self.size} bytes")

    def _read_parts(self, offset: int) -> Record | Damage:
        """Read a record that has several parts or is longer than the window."""
        parts: list[bytes] = []
        at, expected = offset, (_WHOLE, FIRST)
        while True:
            if at + 8 > self.size:
                return Damage(
                    "truncated", f"the file ends at {self.size}, between the record's parts"
                )
            try:
                magic, word = PART_HEAD.unpack(self._source.read_at(at, 8))
                cflag, length = word >> 29, word & MAX_LENGTH
                if magic != MAGIC or cflag not in expected:
                    found = f"{magic:#x}, part kind {cflag}"
                    kinds = " or ".join(map(str, expected))
                    reason = f"expected {MAGIC:#x}, part kind {kinds} at {at}, found {found}"
                    return Damage(BAD_RECORD, reason)
                if at + 8 + length > self.size:
                    reason = f"a length of {length} leads past the end of the file at {self.size}"
                    return Damage("truncated", reason)
                parts.append(self._source.read_at(at + 8, length))
            except SourceError as error:
                return Damage(UNREADABLE, error.problem)
            at += 8 + (length + 3 & ~3)
            if cflag in (_WHOLE, LAST):
                return Record(MAGIC_BYTES.join(parts), at)
            if length % 4:
                reason = f"a part has {length} bytes, expected a multiple of 4"
                return Damage(BAD_RECORD, reason)
            expected = (MIDDLE, LAST)


def _unpack_record(record: Record | Damage, offset: int) -> ImageRecord | Damage:
    """Unpack the image of the record at byte `offset`."""
    if isinstance(record, Damage):
        return record
    image = unpack_image(record.payload)
    if isinstance(image, Damage):
        return image
    return image._replace(length=record.end - offset)


def unpack_image(payload: Buffer) -> ImageRecord | Damage:
    """Unpack an image record; `image` is a view of `payload`.

    >>> from faceprep.sets.recordio.framing import frame_image
    >>> unpack_image(frame_image([7.0], b"jpeg", 3)[8:]).labels
    (7.0,)
    """
    if len(payload) < HEADER.size:
        return Damage(
            BAD_RECORD, f"an image record of {len(payload)} bytes, expected at least {HEADER.size}"
        )
    flag, label, id, id2 = HEADER.unpack_from(payload)
    if flag == 0:
        return ImageRecord(0, (label,), id, payload[HEADER.size :], id2)
    start = HEADER.size + 4 * flag
    if start > len(payload):
        return Damage(
            BAD_RECORD, f"{flag} labels announced, room for {(len(payload) - HEADER.size) // 4}"
        )
    labels = _unpack_labels(payload, HEADER.size, flag)
    return ImageRecord(flag, labels, id, payload[start:], id2)


def _labels_between(block: bytes, begin: int, start: int) -> tuple[float, ...]:
    """Unpack the labels of the record at `begin` whose image begins at `start`."""
    if start - begin == WHOLE_HEAD.size:
        return _LABEL.unpack_from(block, begin + LABEL_AT)
    first = begin + WHOLE_HEAD.size
    return _unpack_labels(block, first, (start - first) // 4)


def _unpack_labels(data: Buffer, at: int, n: int) -> tuple[float, ...]:
    return struct.unpack_from(f"<{n}f", data, at)
