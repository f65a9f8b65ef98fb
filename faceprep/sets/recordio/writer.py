"""Pieces of a .rec set that is being written: packed parts, spills of an external shuffle, and
their join.

    packed part  X.rec  records in order        X.rows  one row per image  X.lst  lines of train.lst
    spill        X.rec  images, shuffled order  X.rows  one row per image  X.lst  their names

Rows are fixed-size, little-endian; offsets follow from the lengths. A spill's rows are sorted by
their random number, so the images of one range of numbers lie together in each spill: a merge reads
one slice of each, as the reduce step of MapReduce does (Dean, Ghemawat, OSDI 2004).
"""

from __future__ import annotations

import functools
import json
import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.names import CLASSES_CSV
from faceprep.core.shards import even_bounds
from faceprep.core.text import count_noun
from faceprep.core.types import Sink
from faceprep.sets import class_map
from faceprep.sets.recordio.framing import frame_image, frame_images
from faceprep.sets.recordio.records import LABEL_AT

_ROW = np.dtype(
    [
        ("order", "<u8"),
        ("start", "<i8"),
        ("length", "<i8"),
        ("name", "<i8"),
        ("label", "<i4"),
        ("size", "<u2", (2,)),
    ]
)
log = logging.getLogger("faceprep")

_RANDOM_RANGE = 1 << 64
_MOST_PIXELS = 65535

PartPath = Callable[[str], Path]


class ImageRow(NamedTuple):
    """An image to write: `position` in class order, `size` (height, width) in pixels or (0, 0)."""

    position: int
    label: int
    name: str
    data: bytes
    size: tuple[int, int]


@dataclass(frozen=True)
class Roster:
    """The identities in class order with their image counts, cut to `n_images`, in shards of
    `n_a_shard`.
    """

    names: list[str]
    counts: list[int]
    n_images: int
    n_a_shard: int

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def cuts(self) -> list[tuple[int, int]]:
        """Return the (start, stop) positions of each shard."""
        return list(even_bounds(self.n_images, self.n_a_shard))

    def wanted(self) -> range:
        """Return the classes that have images below `n_images`."""
        return range(int(np.searchsorted(self._ends, self.n_images)) + 1)

    @functools.cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        return np.cumsum(self.counts, dtype=np.int64)

    def span(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (class, position of its first image, its image count) of the classes in [start,
        stop).
        """
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right")
        for label in range(int(first), int(last) + 1):
            yield label, int(self._ends[label]) - self.counts[label], self.counts[label]


def load_roster(path: Path) -> Roster:
    """Load the roster that `to_bytes` wrote; a process parses it once."""
    return _parse_roster(storage.read_bytes(path))


@functools.lru_cache(maxsize=1)
def _parse_roster(data: bytes) -> Roster:
    return Roster(**json.loads(data))


def write_packed(rows: Sequence[ImageRow], sink: Sink) -> None:
    """Write a part of an InsightFace set; keys follow the positions, from 1."""
    positions = np.array([row.position for row in rows], np.uint64)
    records = frame_images((row.label, row.data, row.position + 1) for row in rows)
    _write_part(rows, positions, records, (f"1\t{row.name}\t{row.label}\n" for row in rows), sink)


def write_spill(rows: Sequence[ImageRow], numbers: npt.NDArray[np.uint64], sink: Sink) -> None:
    """Write a shard of an external shuffle; `numbers` (n,) uint64 has one random number per row."""
    order = np.argsort(numbers, kind="stable")
    shuffled = [rows[i] for i in order.tolist()]
    images = ((row.data, [len(row.data)]) for row in shuffled)
    _write_part(shuffled, numbers[order], images, (f"{row.name}\n" for row in shuffled), sink)


def _write_part(
    rows: Sequence[ImageRow],
    order: npt.NDArray[np.uint64],
    blocks: Iterable[tuple[bytes, list[int]]],
    lines: Iterable[str],
    sink: Sink,
) -> None:
    """Write a part; `blocks` are the bytes of one or several rows and their sizes."""
    lengths: list[int] = []
    with sink.open_part(".rec") as rec:
        for block, of_rows in blocks:
            rec.write(block)
            lengths += of_rows
    texts = [line.encode("utf-8", "surrogateescape") for line in lines]
    with sink.open_part(".lst") as lst:
        lst.write(b"".join(texts))
    table = np.zeros(len(rows), _ROW)
    table["order"], table["length"] = order, lengths
    table["start"], table["name"] = _starts(lengths), _starts([len(text) for text in texts])
    table["label"] = [row.label for row in rows]
    table["size"] = np.minimum([row.size for row in rows], _MOST_PIXELS).reshape(-1, 2)
    with sink.open_part(".rows") as file:
        file.write(table.tobytes())


def _starts(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Compute the start of each of several consecutive pieces."""
    return np.cumsum([0, *lengths], dtype=np.int64)[:-1]


def merge(spills: Sequence[PartPath], start: int, stop: int, n: int, sink: Sink) -> None:
    """Yield the images whose random numbers fall in [start, stop) n-ths of the range, in order, as
    records.

    Keys count all images of the shuffled set from 0.
    """
    low, high = start * _RANDOM_RANGE // n, stop * _RANDOM_RANGE // n
    key, slices = 0, []
    for spill in spills:
        below, slice_ = _slice(spill, low, high)
        key += below
        slices.append(slice_)
    order = np.concatenate([rows["order"] for rows, _, _ in slices])
    origin = [(i, j) for i, (rows, _, _) in enumerate(slices) for j in range(len(rows))]
    images = []
    for number, at in enumerate(np.argsort(order, kind="stable").tolist(), key):
        i, j = origin[at]
        rows, data, names = slices[i]
        begin = int(rows["start"][j] - rows["start"][0])
        image = data[begin : begin + int(rows["length"][j])]
        images.append(
            ImageRow(
                number, int(rows["label"][j]), names[j], image, tuple(rows["size"][j].tolist())
            )
        )
    records = frame_images((row.label, row.data, row.position) for row in images)
    lines = (f"{row.position}\t{row.label}\t{row.name}\n" for row in images)
    _write_part(images, np.array([row.position for row in images], np.uint64), records, lines, sink)


def _slice(
    spill: PartPath, low: int, high: int
) -> tuple[int, tuple[npt.NDArray[Any], bytes, list[str]]]:
    """Return the number of rows below `low`, and the rows, data and names in [low, high)."""
    if not storage.size_of(spill(".rows")):
        return 0, (np.zeros(0, _ROW), b"", [])
    table = np.memmap(spill(".rows"), _ROW, "r")
    first, last = (
        bisect_left(table, limit, key=lambda row: int(row["order"])) for limit in (low, high)
    )
    rows = np.array(table[first:last])
    if not len(rows):
        return first, (rows, b"", [])
    end = rows[-1]
    if last < len(table):
        stop_name = int(table[last]["name"])
    else:
        stop_name = storage.size_of(spill(".lst")) or 0
    with storage.ByteSource(spill(".rec")) as rec, storage.ByteSource(spill(".lst")) as lst:
        data = rec.read_at(
            int(rows[0]["start"]), int(end["start"] + end["length"] - rows[0]["start"])
        )
        names = lst.read_at(int(rows[0]["name"]), stop_name - int(rows[0]["name"]))
    return first, (rows, data, names.decode("utf-8", "surrogateescape").split("\n"))


def join(parts: Sequence[PartPath], roster: Roster, insightface: bool, sink: Sink) -> None:
    """Write train.rec, train.idx, train.lst, property and classes.csv from the parts, in order.

    An identity without one sound image is not a class: the numbers of the others are dense.
    """
    counts, sizes = _count(parts)
    labels = sorted(counts)
    numbers = np.full(len(roster.names), -1, np.int64)
    numbers[labels] = np.arange(len(labels))
    n = counts.total()
    with (
        sink.open("train.rec") as rec,
        sink.open("train.idx") as idx,
        sink.open("train.lst") as lst,
    ):
        writer = _SetWriter(rec, idx, lst, numbers, insightface)
        if insightface:
            writer.add(frame_image([n + 1, n + 1 + len(counts)], b"", 0))
        for part in parts:
            writer.add_part(part)
        if insightface:
            first = 1
            for label in labels:
                writer.add(frame_image([first, first + counts[label]], b"", writer.key))
                first += counts[label]
    _warn_of_lost([roster.names[i] for i in roster.wanted() if i not in counts])
    height, width = _common_size(sizes)
    sink.write("property", f"{len(labels)},{height},{width}".encode())
    names = [roster.names[label] for label in labels]
    sink.write(CLASSES_CSV, class_map.encode(names, [counts[label] for label in labels]))


def _count(parts: Sequence[PartPath]) -> tuple[Counter[int], Counter[tuple[int, int]]]:
    """Count the images of each label, and of each known size (height, width)."""
    counts: Counter[int] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    for part in parts:
        rows = np.fromfile(part(".rows"), _ROW)
        counts.update(rows["label"].tolist())
        found, n = np.unique(rows["size"], axis=0, return_counts=True)
        for (height, width), n_images in zip(found.tolist(), n.tolist(), strict=True):
            if height:
                sizes[height, width] += n_images
    return counts, sizes


def _common_size(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    """Return the size of all images; (0, 0) where they differ, with a warning.

    InsightFace's MXNet trainers take the size for the shape of every image and stop at 0, instead
    of failing somewhere in an epoch; arcface_torch does not read it.
    """
    if len(sizes) < 2:
        return next(iter(sizes), (112, 112))
    shown = ", ".join(f"{n:,} of {height}x{width}" for (height, width), n in sizes.most_common(5))
    more = " …" if len(sizes) > 5 else ""
    log.warning(
        "the images differ in size (h x w): %s%s; `property` says 0,0, but a trainer "
        "needs images of one size for its batches",
        shown,
        more,
    )
    return 0, 0


def _warn_of_lost(names: Sequence[str]) -> None:
    if names:
        shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        what = count_noun(len(names), "identity has", "identities have")
        log.warning("%s no sound image and no class number: %s", what, shown)


class _SetWriter:
    """A writer of records, index lines and list lines; keys count from 0.

    `numbers` are the class numbers of the labels in the parts.
    """

    def __init__(
        self,
        rec: BinaryIO,
        idx: BinaryIO,
        lst: BinaryIO,
        numbers: npt.NDArray[np.int64],
        insightface: bool,
    ) -> None:
        self._rec, self._idx, self._lst = rec, idx, lst
        self._numbers, self._insightface = numbers, insightface
        self.key = self._offset = 0

    def add(self, record: bytes) -> None:
        self._rec.write(record)
        self._idx.write(b"%d\t%d\n" % (self.key, self._offset))
        self.key, self._offset = self.key + 1, self._offset + len(record)

    def add_part(self, part: PartPath) -> None:
        rows = np.fromfile(part(".rows"), _ROW)
        starts = enumerate((rows["start"] + self._offset).tolist(), self.key)
        self._idx.write(b"".join(b"%d\t%d\n" % entry for entry in starts))
        if (self._numbers[rows["label"]] == rows["label"]).all():
            storage.append_file(part(".rec"), self._rec)
            storage.append_file(part(".lst"), self._lst)
        else:
            self._add_renumbered(part, rows)
        self.key, self._offset = self.key + len(rows), self._offset + int(rows["length"].sum())

    def _add_renumbered(self, part: PartPath, rows: npt.NDArray[Any]) -> None:
        """Add a part with other labels: each lies at the same place in its record and line."""
        numbers = self._numbers[rows["label"]]
        words = np.fromfile(part(".rec"), "<f4")
        words[(rows["start"] + LABEL_AT) // 4] = numbers
        self._rec.write(words.tobytes())
        lines = storage.read_bytes(part(".lst")).split(b"\n")[:-1]
        for line, number in zip(lines, numbers.tolist(), strict=True):
            first, second, third = line.split(b"\t")
            if self._insightface:
                fields = (first, second, b"%d" % number)
            else:
                fields = (first, b"%d" % number, third)
            self._lst.write(b"\t".join(fields) + b"\n")
