"""The records of a .rec that are not images: the header and the identity records of InsightFace.

    header            key 0, two labels [first identity key, last + 1), no image
    identity record   two labels [first image key, last + 1), no image; they follow the images

An image record without bytes looks the same, as InsightFace's packer makes one from an empty file.
So only a header under key 0 and the unbroken run of identity records at the end count as metadata;
each range must lie among the image keys. Labels are float32, exact only below 2**24, so the run is
found by looking, and the numbers of the header only say where to look first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def find_metadata(rec: Path, keys: Sequence[int], offsets: Sequence[int]) -> Metadata:
    """Find the header and the identity records, given ascending `keys` with their offsets.

    A few records are read, however many there are.
    """
    if not len(keys) or keys[0] != HEADER_KEY:
        return Metadata()
    with RecordFile(rec) as file:

        def image_at(position: int) -> ImageRecord | None:
            record = file.read(int(offsets[position]))
            image = unpack_image(record.payload) if isinstance(record, Record) else None
            return image if isinstance(image, ImageRecord) else None

        header = image_at(0)
        if header is None or not header.has_no_image:
            return Metadata()
        first = _find_run(len(keys), int(header.labels[0]), keys, image_at)
    if first == len(keys):
        return Metadata(header.labels)
    return Metadata(header.labels, int(keys[first]), len(keys) - first)


def _find_run(
    n: int, stated: int, keys: Sequence[int], image_at: Callable[[int], ImageRecord | None]
) -> int:
    """Return the position of the first identity record, or `n` without one.

    The search is by bisection: identity records form one run at the end. It begins where the header
    says that they begin.
    """

    def is_range(position: int) -> bool:
        image = image_at(position)
        return image is not None and image.has_no_image and _is_range(image.labels, keys)

    if n < 2 or not is_range(n - 1):
        return n
    low, high = 1, n - 1  # the first identity record is in [low, high]
    guess = stated - int(keys[1]) + 1
    for position in (guess - 1, guess):
        if low <= position < high:
            if is_range(position):
                high = position
            else:
                low = position + 1
    while low < high:
        middle = (low + high) // 2
        if is_range(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _is_range(labels: tuple[float, ...], keys: Sequence[int]) -> bool:
    """Return whether two labels can be the range of the images of an identity.

    Both are keys of images or one past the last. Above 2**24 they are rounded.
    """
    first, last = labels
    slack = 0 if last < EXACT_FLOATS else 2
    return 1 <= first < last + slack and first >= keys[1] - slack and last <= keys[-1] + 1
