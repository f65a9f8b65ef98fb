"""The records of a .rec that are not images: the header and the identity records of InsightFace.

    header            key 0, two labels [first identity key, last + 1), no image
    identity record   two labels [first image key, last + 1), no image; they follow the images

An image record without bytes looks the same, as InsightFace's packer makes one from an empty file.
So only a header under key 0 and the unbroken run of identity records at the end count as metadata.
The header says where the run begins; labels are float32 and exact only below 2**24, so above it the
records around that place are looked at. A header that is wrong is replaced by a walk from the end.
A record of the run that cannot be read stays a failure of its own.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from faceprep.sets.recordio.records import (
    EXACT_FLOATS,
    ImageRecord,
    Record,
    RecordFile,
    unpack_image,
)

HEADER_KEY = 0
_MOST_DAMAGED = 64
"""Damaged records in a row that the search skips."""
_SMALL = 64
"""Bytes to read for a record without an image."""

ImageAt = Callable[[int], ImageRecord | None]
"""Returns the record of a position; None for a damaged one."""


class Metadata(NamedTuple):
    """Where the metadata of a .rec is.

    `header` are the labels of the header record, or None. Records with a key of
    `first_identity_key` or above are identity records; there are `n_identity_records`.
    """

    header: tuple[float, ...] | None = None
    first_identity_key: int = 0
    n_identity_records: int = 0

    def is_metadata(self, key: int) -> bool:
        """Return whether the record with this key is the header or an identity record."""
        if self.header is None:
            return False
        return key == HEADER_KEY or (self.n_identity_records > 0 and key >= self.first_identity_key)

    @property
    def n_records(self) -> int:
        """Return the number of records that are metadata."""
        return int(self.header is not None) + self.n_identity_records

    def describes(self, key: int, image: ImageRecord) -> bool:
        """Return whether a record is metadata; one with an image never is."""
        return image.has_no_image and self.is_metadata(key)

    def stated(self) -> tuple[int, int]:
        """Return the numbers of images and of identity records that the header states."""
        first, end = self.header or (1.0, 1.0)
        return int(first) - 1, int(end - first)

    def contradictions(self, n_images: int, n_identities: int | None = None) -> list[str]:
        """Compare the header with `n_images` image records and the identity records found.

        A set whose images are shuffled has a header and no identity records. What the header then
        announces is compared with the `n_identities` of the images, if they are given. It may also
        announce none.
        """
        if self.header is None:
            return []
        slack, (images, identities) = rounding(max(self.header)), self.stated()
        lines = []
        if abs(images - n_images) > slack:
            lines.append(f"the header announces {images:,} images, the set has {n_images:,}")
        if n_found := self.n_identity_records:
            what = f"identity records, the set has {n_found:,}"
        else:
            n_found = identities if n_identities is None or not identities else n_identities
            what = f"identities, the images have {n_found:,}"
        if abs(identities - n_found) > 2 * slack:
            lines.append(f"the header announces {identities:,} {what}")
        return lines


@dataclass
class Ranges:
    """Counts of the identity records that were read, and of the image keys in their ranges."""

    n: int = 0
    n_keys: int = 0

    def add(self, key: int, labels: Sequence[float]) -> None:
        """Count a record of metadata, unless it is the header."""
        if key == HEADER_KEY:
            return
        self.n += 1
        if all(map(math.isfinite, labels)):
            self.n_keys += int(labels[1]) - int(labels[0])

    def contradictions(self, metadata: Metadata, n_images: int) -> list[str]:
        """Compare the ranges with `n_images` image records, if all identity records were read.

        Ranges that follow one another add up to the right number, also where float32 rounds.
        """
        if not self.n or self.n < metadata.n_identity_records or metadata.header is None:
            return []
        if abs(self.n_keys - n_images) <= 2 * rounding(max(metadata.header)):
            return []
        return [f"the identity records cover {self.n_keys:,} images, the set has {n_images:,}"]


def rounding(label: float) -> int:
    """Return by how much a whole number may differ from its float32 label.

    >>> rounding(2**24 - 1.0), rounding(2.0**24), rounding(42e6)
    (0, 1, 2)
    """
    if label < EXACT_FLOATS:
        return 0
    return (1 << int(label).bit_length() - 24) // 2


def find_metadata(rec: Path, keys: Sequence[int], offsets: Sequence[int]) -> Metadata:
    """Find the header and the identity records, given ascending `keys` with their offsets.

    A few records are read, however many there are, unless the header is wrong.
    """
    with RecordFile(rec) as file:

        def image_at(position: int) -> ImageRecord | None:
            record = file.read(int(offsets[position]), _SMALL)
            image = unpack_image(record.payload) if isinstance(record, Record) else None
            return image if isinstance(image, ImageRecord) else None

        return locate_metadata(keys, image_at)


def locate_metadata(keys: Sequence[int], image_at: ImageAt) -> Metadata:
    """Find the metadata as `find_metadata` does; `image_at` reads the record of a position."""
    if not len(keys) or keys[0] != HEADER_KEY:
        return Metadata()
    header = image_at(0)
    if header is None or not header.has_no_image or not _is_header(header.labels, len(keys)):
        return Metadata()
    run = _Run(keys, image_at)
    first = run.stated_start(*header.labels)
    if first is None:
        first = run.walked_start()
    if first == len(keys):
        return Metadata(header.labels)
    return Metadata(header.labels, int(keys[first]), len(keys) - first)


def _is_header(labels: tuple[float, ...], n: int) -> bool:
    """Return whether labels can be those of a header; a lost image may have the key 0 too."""
    first, end = labels
    least = 2 if n > 1 else 1
    return math.isfinite(end) and least <= first <= end


class _Run:
    """The search for the first identity record; positions are those of the ascending keys."""

    def __init__(self, keys: Sequence[int], image_at: ImageAt) -> None:
        self._keys, self._image_at, self._n = keys, image_at, len(keys)

    def _range_at(self, position: int) -> tuple[int, int] | None:
        """Return the range of image keys that the record states, if it can be one."""
        image = self._image_at(position)
        if image is None or not image.has_no_image:
            return None
        first, end = image.labels
        slack = rounding(end) if math.isfinite(end) else 0
        lowest, highest = int(self._keys[1]) - slack, int(self._keys[position]) + slack
        if not lowest <= first <= end <= highest or (first == end and not slack):
            return None
        if not (first.is_integer() and end.is_integer()):
            return None
        return int(first), int(end)

    def _is_in_run(self, position: int) -> bool:
        """Return whether the first record from here on that can be read is an identity record."""
        for at in range(position, min(position + _MOST_DAMAGED, self._n)):
            if self._image_at(at) is not None:
                return self._range_at(at) is not None
        return False

    def stated_start(self, first: float, end: float) -> int | None:
        """Return the position that the header states, or None where the records contradict it."""
        slack = rounding(first)
        last = int(self._keys[-1])
        if not slack and first == end == last + 1:
            return self._n
        low = max(bisect_left(self._keys, int(first) - slack), 1)
        for position in range(low, bisect_right(self._keys, int(first) + slack)):
            if not self._is_in_run(position):
                continue
            found = self._range_at(position)
            is_first = found is not None and found[0] == self._keys[1]
            if is_first or position == 1 or self._range_at(position - 1) is None:
                return position
        return None

    def walked_start(self) -> int:
        """Walk from the end and return where the run begins; the number of keys without one.

        The walk ends at the latest where the ranges cover every image key.
        """
        start, position, n_damaged, covered = self._n, self._n - 1, 0, 0
        first_key = int(self._keys[1]) if self._n > 1 else 0
        while position > 0 and n_damaged < _MOST_DAMAGED:
            found = self._range_at(position)
            if found is not None:
                start, n_damaged = position, 0
                covered += found[1] - found[0]
                key = int(self._keys[position])
                is_whole = covered == key - first_key
                if is_whole or (key >= EXACT_FLOATS and found[0] == first_key):
                    break
            elif self._image_at(position) is None:
                n_damaged += 1
            else:
                break
            position -= 1
        return start
