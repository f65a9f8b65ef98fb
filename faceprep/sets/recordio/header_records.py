"""The records beside the images of an InsightFace set: header and identity records.

arcface_torch reads the record with the key 0. With two labels it is a header, which says that the
images have the keys from 1 up to the first label. Keras_insightface takes the second label less the
first for the number of classes. The header is written where the keys of the images are 1 to n, and
it announces the identities even where their images do not follow one another. Identity records
cannot describe such images, so there are none then: a trainer that needs them stops, instead of
training on nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.sets.recordio.framing import frame_image
from faceprep.sets.recordio.metadata import HEADER_KEY
from faceprep.sets.recordio.records import EXACT_FLOATS

ROW = np.dtype([("key", "<i8"), ("length", "<i8"), ("label", "<f4")])
"""What is noted of a written image: its key, the bytes of its record, its first label."""

Keyed = tuple[int, bytes]
"""A key and its framed record."""


class HeaderRecords(NamedTuple):
    """The header and the identity records of a set, framed; the latter are made one by one."""

    header: Keyed
    identities: Iterator[Keyed]


def make_header_records(
    blocks: Iterable[npt.NDArray[Any]], n_identities: int
) -> HeaderRecords | None:
    """Return the records for images with these rows of `ROW`, given some at a time.

    Return None where the keys are not 1 to n, or too large for float32. There are no identity
    records where the images of an identity do not all follow one another.
    """
    runs = _Runs(n_identities)
    lowest, highest = 1, 0
    for rows in blocks:
        if len(rows):
            runs.add(rows, highest)
            lowest = min(lowest, int(rows["key"].min()))
            highest = max(highest, int(rows["key"].max()))
    n, starts = runs.n, runs.starts()
    n_announced = len(starts) or runs.n_labels()
    if not n or (lowest, highest) != (1, n) or n + n_announced >= EXACT_FLOATS:
        return None
    header = frame_image([n + 1, n + 1 + n_announced], b"", HEADER_KEY)
    ranges = pairwise([*starts, n + 1])
    records = ((key, frame_image(each, b"", key)) for key, each in enumerate(ranges, n + 1))
    return HeaderRecords((HEADER_KEY, header), records)


class _Runs:
    """The runs of equal labels, as long as keys ascend and there is one run per identity."""

    def __init__(self, most: int) -> None:
        self._most, self.n = most, 0
        self._are_whole = True
        self._starts, self._labels = array("q"), array("f")
        self._distinct: set[float] = set()

    def add(self, rows: npt.NDArray[Any], last_key: int) -> None:
        """Add the next rows; `last_key` is the largest key before them."""
        labels = rows["label"]
        self._distinct.update(np.unique(labels[np.isfinite(labels)]).tolist())
        self._are_whole &= bool((np.diff(rows["key"], prepend=last_key) > 0).all())
        first = self._labels[-1] if self._labels else np.nan
        changes = np.flatnonzero(np.diff(labels, prepend=np.float32(first)) != 0)
        self._are_whole &= len(self._starts) + len(changes) <= self._most
        if self._are_whole:
            self._starts.extend((changes + self.n + 1).tolist())
            self._labels.extend(labels[changes].tolist())
        self.n += len(rows)

    def starts(self) -> list[int]:
        """Return the first keys of all runs; empty where a label has several."""
        if not self._are_whole or len(np.unique(self._labels)) < len(self._labels):
            return []
        return self._starts.tolist()

    def n_labels(self) -> int:
        """Return the number of labels, however their images lie."""
        return len(self._distinct)
