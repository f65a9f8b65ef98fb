"""Labels of a list on disk, whole numbers exact however large, such as IDs of 19 digits.

    labels     (n,) float64
    exact_at   (k,) int64: the places in `labels` of whole numbers that are not exact as floats
    exact      (k,) bytes: these numbers as text

They are columns of the index of the set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Ints
from faceprep.sets.lists import EXACT, MOST_DIGITS
from faceprep.sets.set_index import IndexWriter, SetIndex

_LABELS, _EXACT_AT, _EXACT = "labels", "exact_at", "exact"
_TEXT = f"S{MOST_DIGITS + 1}"


class LabelWriter:
    """Writes the labels of images to columns of an index."""

    def __init__(self, index: IndexWriter) -> None:
        self._labels, self._exact_at, self._exact = map(
            index.add_column, (_LABELS, _EXACT_AT, _EXACT)
        )
        self._n = 0

    def add(self, labels: Sequence[Sequence[float]]) -> npt.NDArray[np.int64]:
        """Add the labels of images; return (n, 2) where those of each image start, and how many."""
        counts = np.fromiter(map(len, labels), np.int64, len(labels))
        ends = self._n + np.cumsum(counts)
        values = [value for each in labels for value in each]
        floats = np.array(values, "<f8")
        self._labels.write(floats.tobytes())
        large = np.flatnonzero(np.abs(floats) >= EXACT).tolist()
        exact = [i for i in large if values[i] != floats.item(i)]
        self._exact_at.write((self._n + np.array(exact, "<i8")).tobytes())
        self._exact.write(np.array([str(values[i]) for i in exact], _TEXT).tobytes())
        self._n += len(values)
        return np.stack([ends - counts, counts], 1)


class LabelReader:
    """Reads the labels that a LabelWriter wrote."""

    def __init__(self, index: SetIndex) -> None:
        self._labels: npt.NDArray[np.float64] = index.column(_LABELS, "<f8")
        self._exact_at: Ints = index.column(_EXACT_AT, "<i8")
        self._exact: npt.NDArray[np.bytes_] = index.column(_EXACT, _TEXT)

    def read(self, start: int, n: int) -> tuple[float, ...]:
        """Return `n` labels from the place `start`."""
        labels: list[float] = self._labels[start : start + n].tolist()
        first, last = np.searchsorted(self._exact_at, [start, start + n]).tolist()
        for i in range(first, last):
            labels[self._exact_at.item(i) - start] = int(self._exact[i])
        return tuple(labels)
