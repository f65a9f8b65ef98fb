"""The first labels of all records of a .rec: what an index needs of their headers.

The headers of plain records, whole ones with an image, are read for many at once. Every other
record is read by itself: one in several parts, without an image, or damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Bools, Floats, Ints
from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.sets.recordio.coverage import Unindexed, ascend
from faceprep.sets.recordio.metadata import Metadata
from faceprep.sets.recordio.records import HEADER, MAGIC, PART_HEAD, ImageRecord, RecordFile

_AT_ONCE = 1 << 16
_WINDOW = 256 << 10  # stays in the processor's cache
_FEWEST = 4
_HEAD = PART_HEAD.size + HEADER.size + 4
"""Bytes from the start of a record to the end of its first label, where labels are an array."""
_KIND = 29
_LENGTH = (1 << _KIND) - 1
_FLAG, _LABEL, _LABELS = 2, 3, (PART_HEAD.size + HEADER.size) // 4
_ID, _ID2 = 4, 6
"""Fields of a record, counted in words of 32 bits."""


class Extent(NamedTuple):
    """What the headers of images hold besides the first label: the most labels of one, and ids.

    `has_id` says that an image has an id other than its key and 0, and `has_id2` that one has a
    second id other than 0.
    """

    n_labels: int = 1
    has_id: bool = False
    has_id2: bool = False

    def join(self, other: Extent) -> Extent:
        """Return the extent of the images of both."""
        return Extent(
            max(self.n_labels, other.n_labels),
            self.has_id or other.has_id,
            self.has_id2 or other.has_id2,
        )


class Labels(NamedTuple):
    """The first labels (n,) of records, NaN for a damaged one, and the extent of their headers.

    The mask (n,) tells images, lost ones too, from metadata.
    """

    first: Floats
    is_image: Bools
    extent: Extent = Extent()


def read_labels(
    rec: Path, entries: Ints, metadata: Metadata, left_out: Unindexed, n_at_once: int = _AT_ONCE
) -> Iterator[tuple[Ints, Labels]]:
    """Yield the entries (n, 2), key and offset, some at a time, with the labels of their records.

    Entries are yielded in their order and read in the order of the file. Where these differ, all
    labels are in memory. Records that the entries leave out are added to `left_out`. Raises
    SourceError.
    """
    bounds = range(0, len(entries), n_at_once)
    with _LabelReader(rec, metadata, left_out) as reader:
        if ascend(entries[:, 1]):
            for start in bounds:
                here = np.asarray(entries[start : start + n_at_once + 1])
                yield here[:n_at_once], reader.read(here[:n_at_once], here[1:, 1])
            return
        order = np.argsort(entries[:, 1], kind="stable")
        first, is_image = np.empty(len(order), np.float32), np.empty(len(order), np.bool_)
        extent = Extent()
        for start in bounds:
            rows = order[start : start + n_at_once]
            following = entries[order[start + 1 : start + n_at_once + 1], 1]
            found = reader.read(entries[rows], following)
            first[rows], is_image[rows] = found.first, found.is_image
            extent = extent.join(found.extent)
    for start in bounds:
        block = slice(start, start + n_at_once)
        yield np.asarray(entries[block]), Labels(first[block], is_image[block], extent)


class _LabelReader:
    """Reads the labels of records, in the order of the file."""

    def __init__(self, rec: Path, metadata: Metadata, left_out: Unindexed) -> None:
        self._metadata, self._left_out = metadata, left_out
        self._records = RecordFile(rec)
        self._source = ByteSource(rec)

    def __enter__(self) -> _LabelReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._records.close()
        self._source.close()

    def read(self, entries: Ints, following: Ints) -> Labels:
        """Read the labels of `entries` (n, 2) with ascending offsets.

        `following` are the offsets after these: (n,), or (n - 1,) at the end of the index.
        """
        n = len(entries)
        offsets = np.ascontiguousarray(entries[:, 1])
        first, is_image = np.full(n, np.nan, np.float32), np.ones(n, np.bool_)
        lengths = np.zeros(n, np.int64)
        is_read = np.zeros(n, np.bool_)
        extent, start = Extent(), 0
        while start < n:
            stop = int(np.searchsorted(offsets, offsets[start] + (_WINDOW - _HEAD), "right"))
            if stop - start >= _FEWEST:
                here = slice(start, stop)
                columns = (offsets[here], entries[here, 0], first[here], lengths[here])
                is_read[here], found_here = self._read_heads(*columns)
                extent = extent.join(found_here)
            start = stop
        lengths[is_read] = PART_HEAD.size + (lengths[is_read] + 3 & ~3)
        plain = Labels(first, is_image, extent)
        found = self._read_each(np.flatnonzero(~is_read), entries, plain, lengths)
        ends = (offsets + lengths)[: len(following)]
        early = np.flatnonzero((ends < following) & (lengths[: len(following)] > 0))
        gaps = (offsets[early], lengths[early], following[early])
        self._left_out.add_between(self._records, *(column.tolist() for column in gaps))
        return found

    def _read_heads(
        self, offsets: Ints, keys: Ints, labels: Floats, lengths: Ints
    ) -> tuple[Bools, Extent]:
        """Read the headers of records that are close together into `labels` (n,).

        Note the lengths of the payloads of plain records in `lengths` (n,). Return which records
        are plain (n,), and the extent of their headers.
        """
        not_plain = np.zeros(len(offsets), np.bool_), Extent()
        base = int(offsets[0])
        if base < 0:
            return not_plain
        try:
            block = self._source.read_at(base, _WINDOW)
        except SourceError:
            return not_plain
        words = np.frombuffer(block, "<u4", len(block) // 4)
        at = (offsets - base) >> 2
        fits = (at + _HEAD // 4 <= len(words)) & (offsets & 3 == base & 3)
        at[~fits] = 0
        if len(words) < _HEAD // 4:
            return not_plain
        parts, flags = words[at + 1].astype(np.int64), words[at + _FLAG].astype(np.int64)
        ends = offsets + PART_HEAD.size + parts
        is_plain = fits & (words[at] == MAGIC) & (parts >> _KIND == 0)
        is_plain &= (parts > HEADER.size + 4 * flags) & (ends <= self._source.size)
        found = np.where(flags > 0, words[at + _LABELS], words[at + _LABEL]).view("<f4")
        labels[is_plain] = found[is_plain]
        np.copyto(lengths, parts, where=is_plain)
        ids, second_ids = _read_ids(words, at + _ID), _read_ids(words, at + _ID2)
        has_id = is_plain & (ids != 0) & (ids != keys.astype("u8"))
        most = int(flags.max(initial=1, where=is_plain))
        return is_plain, Extent(most, bool(has_id.any()), bool(second_ids[is_plain].any()))

    def _read_each(self, rows: Ints, entries: Ints, labels: Labels, lengths: Ints) -> Labels:
        """Read the records of these rows one by one, with their lengths; return all labels."""
        extent = labels.extent
        keys, offsets = entries[rows].T.tolist() if len(rows) else ([], [])
        records = self._records.read_images(offsets)
        for row, key, record in zip(rows.tolist(), keys, records, strict=True):
            lengths[row] = record.length
            if isinstance(record, ImageRecord):
                labels.first[row] = record.labels[0]
                if not record.image:
                    labels.is_image[row] = not self._metadata.describes(key, record)
                if labels.is_image[row]:
                    has_id = record.id not in (0, key)
                    extent = extent.join(Extent(record.flag, has_id, record.id2 > 0))
        return labels._replace(extent=extent)


def _read_ids(words: npt.NDArray[np.uint32], at: Ints) -> npt.NDArray[np.uint64]:
    """Return the ids of 64 bits at the places `at` (n,), which count words of 32 bits."""
    ids: npt.NDArray[np.uint64] = words[at].astype("u8") | words[at + 1].astype("u8") << 32
    return ids
