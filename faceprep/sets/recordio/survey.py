"""A first look at a .rec: which records are images, and whether its index belongs to it.

A few records are read, however many there are. Every command that reads a .rec begins here, so that
all agree on its images and all report the same bytes that no index line covers.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import BAD_RECORD
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome
from faceprep.sets.recordio.coverage import Unindexed, ascend
from faceprep.sets.recordio.entries import read_entries, write_following
from faceprep.sets.recordio.index import SCAN, RecPaths, refuse_repeats
from faceprep.sets.recordio.metadata import HEADER_KEY, Metadata, find_metadata
from faceprep.sets.recordio.records import (
    EXACT_FLOATS,
    Damage,
    ImageRecord,
    Record,
    RecordFile,
    unpack_image,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from faceprep.sets.recordio.coverage import Column

log = logging.getLogger("faceprep")

_CHUNK = 1 << 20
_N_TRIED = 16
_N_DRAWN = 64
_SMALL = 2 << 20
"""Bytes of an index that is not worth the import of NumPy."""


@dataclass(frozen=True, slots=True)
class RecSurvey:
    """The findings: `n` entries of the index, which of them are metadata, and what it leaves out.

    `begins_with_header`: the first entry is the header. `detection` is (header numbers, numbers per
    object) where the labels are those of a detection set. `n_labels` is the most labels of one of
    the images that were read, and `has_rounded` says that the first label of one of these may be
    rounded. `faults` are outcomes of the file.
    """

    n: int
    metadata: Metadata
    begins_with_header: bool
    detection: tuple[int, int] | None
    n_labels: int
    has_rounded: bool
    faults: tuple[Outcome, ...]

    @property
    def n_images(self) -> int:
        return self.n - self.metadata.n_records

    def warn(self, rec: Path) -> None:
        """Log what contradicts itself but stops nobody."""
        if self.metadata.header and max(self.metadata.header) >= EXACT_FLOATS:
            log.warning(
                "%s: the header counts in float32, which is not exact above %s; the index and the "
                "images' own labels are used instead",
                rec,
                f"{EXACT_FLOATS:,}",
            )
        for line in self.metadata.contradictions(self.n_images):
            log.warning("%s: %s; the index is used", rec, line)
        if self.detection:
            log.warning(
                "%s: the labels are those of a detection set (a header of %d numbers, %d per "
                "object); the first number of each is taken for the identity",
                rec,
                *self.detection,
            )


def is_rounded(label: float) -> bool:
    """Return whether a label may stand for several whole numbers, which float32 rounds to it.

    >>> is_rounded(16777215), is_rounded(16777216), is_rounded(float("nan"))
    (False, True, False)
    """
    return EXACT_FLOATS <= abs(label) < math.inf


def describe_rounded(n: int) -> str:
    """Return the words about `n` images whose labels may be rounded; 0 for a number not known."""
    images = count_noun(n, "image") if n else "some images"
    return (
        f"the labels of {images} are {EXACT_FLOATS:,} or more, where float32 rounds whole numbers, "
        "so images of several people may have one label"
    )


def survey_index(paths: RecPaths, index: Path) -> RecSurvey:
    """Survey a .rec whose index `write_index` wrote to `index`.

    Raises SourceError for an index of another file, and for a set without one image.
    """
    keys, offsets = _read_columns(index)
    found = _survey(paths, keys, offsets)
    write_following(index, None if ascend(offsets) else _as_array(offsets))
    return found


def _read_columns(index: Path) -> tuple[Column, Column]:
    """Read the keys and offsets of an index."""
    if (storage.size_of(index) or 0) <= _SMALL:
        entries = read_entries(index)
        return entries[0::2], entries[1::2]
    import numpy as np

    mapped = np.memmap(index, "<i8", "r").reshape(-1, 2)
    return mapped[:, 0], mapped[:, 1]


def _as_array(numbers: Column) -> npt.NDArray[Any]:
    import numpy as np

    return np.asarray(numbers)


def survey_entries(paths: RecPaths, entries: npt.NDArray[Any]) -> RecSurvey:
    """Survey a .rec with `entries` (n, 2) int64: key and offset. Raises as `survey_index`."""
    return _survey(paths, entries[:, 0], entries[:, 1])


def _survey(paths: RecPaths, keys: Column, offsets: Column) -> RecSurvey:
    labels = _try_some(paths, offsets)
    if paths.idx and not ascend(offsets):
        refuse_repeats(paths.idx, "offset", _as_array(offsets))
    metadata = Metadata()
    if _may_have_header(paths.rec, keys, offsets):
        metadata = find_metadata(paths.rec, *_by_key(keys, offsets))
    if metadata.n_records == len(keys):
        raise SourceError(
            "no image in this set",
            path=paths.rec,
            expected="image records",
            found="a header and nothing else",
            remedy="Check that the file is complete.",
        )
    begins = metadata.header is not None and int(keys[0]) == HEADER_KEY
    faults = tuple(_unindexed(paths, offsets)) if paths.idx else ()
    n_labels = max(map(len, labels), default=1)
    has_rounded = any(is_rounded(each[0]) for each in labels)
    layout = _detection_layout(labels)
    return RecSurvey(len(keys), metadata, begins, layout, n_labels, has_rounded, faults)


def _may_have_header(rec: Path, keys: Column, offsets: Column) -> bool:
    """Return whether the record of the header's key has no image; few sets need their keys sorted.

    A record that cannot be read is not a header.
    """
    position = _find(keys, HEADER_KEY)
    if position is None:
        return False
    with RecordFile(rec) as file:
        record = file.read(int(offsets[position]))
    image = unpack_image(record.payload) if isinstance(record, Record) else None
    return isinstance(image, ImageRecord) and image.has_no_image


def _find(keys: Column, key: int) -> int | None:
    """Return the position of a key."""
    if isinstance(keys, array):
        return keys.index(key) if key in keys else None
    for start in range(0, len(keys), _CHUNK):
        here = (keys[start : start + _CHUNK] == key).nonzero()[0]
        if len(here):
            return start + int(here[0])
    return None


def _by_key(keys: Column, offsets: Column) -> tuple[Any, Any]:
    """Return the keys, ascending, and their offsets, without damaged spots."""
    if isinstance(keys, array):
        pairs = sorted(pair for pair in zip(keys, offsets, strict=True) if pair[0] >= 0)
        return array("q", [key for key, _ in pairs]), array("q", [at for _, at in pairs])
    import numpy as np

    if not ascend(keys):
        order = np.argsort(keys, kind="stable")
        first = int(np.searchsorted(keys[order], 0))
        return keys[order[first:]], offsets[order[first:]]
    first = int(np.searchsorted(keys, 0))
    return keys[first:], offsets[first:]


def _try_some(paths: RecPaths, offsets: Column) -> list[tuple[float, ...]]:
    """Read some records from all over the index and return the labels of the images among them.

    Raises SourceError where most offsets lead to no record.
    """
    last = len(offsets) - 1
    drawn = sorted({last * i // (_N_DRAWN - 1) for i in range(_N_DRAWN)})
    labels, n_tried, n_missed = [], 0, 0
    with RecordFile(paths.rec) as file:
        inside = [at for at in (int(offsets[i]) for i in drawn) if at <= file.size - 8]
        for offset in inside[:: max(len(inside) // _N_TRIED, 1)]:
            record = file.read(offset)
            n_tried += offset > 0  # there is a record at 0 in every .rec
            if isinstance(record, Damage):
                n_missed += offset > 0 and record.status == BAD_RECORD
                continue
            image = unpack_image(record.payload)
            if isinstance(image, ImageRecord) and image.image:
                labels.append(image.labels)
    if paths.idx and n_missed > n_tried // 2 and n_missed > 1:
        raise SourceError(
            "the index belongs to another file",
            path=paths.idx,
            expected=f"offsets of records in {paths.rec.name}",
            found=f"no record at {n_missed} of {n_tried} offsets",
            remedy=SCAN,
        )
    return labels


def _detection_layout(labels: Sequence[tuple[float, ...]]) -> tuple[int, int] | None:
    """Return the layout of MXNet's detection labels: [A, B, A - 2 more, B numbers per object]."""
    layouts = {each[:2] for each in labels}
    if len(layouts) != 1:
        return None
    layout = layouts.pop()
    if len(layout) < 2 or not (layout[0].is_integer() and layout[1].is_integer()):
        return None
    a, b = map(int, layout)
    if a < 2 or b < 5 or not all(len(each) > a and (len(each) - a) % b == 0 for each in labels):
        return None
    return a, b


def _unindexed(paths: RecPaths, offsets: Column) -> Iterator[Outcome]:
    """Yield an outcome for the bytes before the first and behind the last record of the index."""
    with RecordFile(paths.rec) as file:
        for start, stop in _ends_left_out(file, *_extremes(offsets, file.size - 8)):
            left_out = Unindexed(paths)
            left_out.add(start, stop)
            yield from left_out.faults()


def _ends_left_out(file: RecordFile, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the bytes before the record at `first`, and those behind the record at `last`."""
    if first and file.has_record(0):
        yield 0, first
    record = file.read(last)
    if isinstance(record, Record):
        start: int | None = record.end
    elif record.status == "truncated":
        return
    else:
        start = file.find_next(last + 4)
    if start is not None and start < file.size:
        yield start, file.size


def _extremes(offsets: Column, limit: int) -> tuple[int, int]:
    """Return the smallest and the largest offset up to `limit`; 0 without one."""
    if isinstance(offsets, array):
        inside = [at for at in offsets if at <= limit] or [0]
        return min(inside), max(inside)
    smallest, largest = limit, 0
    for start in range(0, len(offsets), _CHUNK):
        here: Any = offsets[start : start + _CHUNK]
        smallest = min(smallest, int(here.min()))
        largest = max(largest, int(here.max(where=here <= limit, initial=0)))
    return min(smallest, largest), largest
