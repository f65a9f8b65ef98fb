"""The first labels of all records of a .rec: what an index needs of their headers.

The headers of plain records, whole ones with an image, are read for many at once, on a disk by two
threads.
Every other record is read by itself: one in several parts, without an image, or damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Bools, Floats, Ints, Words
from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.core.urls import is_remote
from faceprep.sets.recordio.coverage import Unindexed, ascend
from faceprep.sets.recordio.metadata import Metadata
from faceprep.sets.recordio.records import HEADER, MAGIC, PART_HEAD, ImageRecord, RecordFile

_AT_ONCE = 1 << 16
_WINDOW = 256 << 10  # stays in the processor's cache
_FARTHEST = (1 << 63) - 1
_FEWEST = 4
_THREADS, _MANY = 2, 1 << 12
"""Threads that share the headers of many records."""
_KIND = 29
_FLAG, _LABEL, _LABELS = 2, 3, (PART_HEAD.size + HEADER.size) // 4
_ID, _ID2 = 4, 6
"""Fields of a record, counted in words of 32 bits."""
_N_WORDS = _LABELS + 1
"""Words from the start of a record to the end of its first label, where labels are an array."""


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
        self._n_threads = 1 if is_remote(rec) else _THREADS  # only one may read an object
        self._threads = ThreadPoolExecutor(self._n_threads)

    def __enter__(self) -> _LabelReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
        self._records.close()
        self._source.close()

    def read(self, entries: Ints, following: Ints) -> Labels:
        """Read the labels of `entries` (n, 2) with ascending offsets.

        `following` are the offsets after these: (n,), or (n - 1,) at the end of the index.
        """
        offsets = np.ascontiguousarray(entries[:, 1])
        heads = self._read_heads(offsets)
        plain, lengths = _unpack_heads(heads, offsets, entries[:, 0], self._source.size)
        found = self._read_each(np.flatnonzero(lengths == 0), entries, plain, lengths)
        ends = (offsets + lengths)[: len(following)]
        early = np.flatnonzero((ends < following) & (lengths[: len(following)] > 0))
        gaps = (offsets[early], lengths[early], following[early])
        self._left_out.add_between(self._records, *(column.tolist() for column in gaps))
        return found

    def _read_heads(self, offsets: Ints) -> Words:
        """Read the first words (n, _N_WORDS) of records that are close together; zeros for others.

        The offsets ascend.
        """
        heads = np.zeros((len(offsets), _N_WORDS), np.uint32)
        n_shares = self._n_threads if len(offsets) >= _MANY else 1
        shares = (np.array_split(each, n_shares) for each in (offsets, heads))
        list(self._threads.map(self._fill_heads, *shares))
        return heads

    def _fill_heads(self, offsets: Ints, heads: Words) -> None:
        """Read the words of some of the records into `heads`."""
        start = 0
        while start < len(offsets):
            last = min(int(offsets[start]) + _WINDOW - 4 * _N_WORDS, _FARTHEST)
            stop = int(np.searchsorted(offsets, last, "right"))
            if stop - start >= _FEWEST:
                self._read_window(offsets[start:stop], heads[start:stop])
            start = stop

    def _read_window(self, offsets: Ints, heads: Words) -> None:
        base = int(offsets[0])
        if base < 0:
            return
        try:
            block = self._source.read_at(base, _WINDOW)
        except SourceError:  # each of its records is read by itself
            return
        words = np.frombuffer(block, "<u4", len(block) // 4)
        at = (offsets - base) >> 2
        fits = (at + _N_WORDS <= len(words)) & (offsets & 3 == base & 3)
        heads[fits] = words[at[fits, None] + np.arange(_N_WORDS)]

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


def _unpack_heads(heads: Words, offsets: Ints, keys: Ints, size: int) -> tuple[Labels, Ints]:
    """Return the labels of records, and the lengths (n,) of plain ones, 0 for any other.

    A plain record is an image in one part that ends within the `size` bytes of the file.
    """
    parts, flags = heads[:, 1].astype(np.int64), heads[:, _FLAG].astype(np.int64)
    is_plain = (heads[:, 0] == MAGIC) & (parts >> _KIND == 0)
    is_plain &= parts > HEADER.size + 4 * flags
    is_plain &= offsets + PART_HEAD.size + parts <= size
    first = np.where(flags > 0, heads[:, _LABELS], heads[:, _LABEL]).view("<f4")
    first[~is_plain] = np.nan
    ids, second_ids = _join_ids(heads[:, _ID : _ID + 2]), _join_ids(heads[:, _ID2 : _ID2 + 2])
    has_id = is_plain & (ids != 0) & (ids != keys.astype("u8"))
    most = int(flags.max(initial=1, where=is_plain))
    extent = Extent(most, bool(has_id.any()), bool(second_ids[is_plain].any()))
    lengths: Ints = np.where(is_plain, PART_HEAD.size + (parts + 3 & ~3), 0)
    return Labels(first, np.ones(len(heads), np.bool_), extent), lengths


def _join_ids(words: Words) -> npt.NDArray[np.uint64]:
    """Return the ids (n,) of 64 bits in pairs of words (n, 2)."""
    ids: npt.NDArray[np.uint64] = words[:, 0].astype("u8") | words[:, 1].astype("u8") << 32
    return ids
