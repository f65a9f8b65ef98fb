"""The records of a .rec that its .idx leaves out.

A record ends where the next one begins. So the end of every record that the index names is an
offset of the index, or the end of the file. Lengths are compared where records are read anyway.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from operator import lt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceprep.core.types import Outcome
from faceprep.sets.recordio.index import SCAN, RecPaths
from faceprep.sets.recordio.records import PART_HEAD, RecordFile

if TYPE_CHECKING:
    import numpy.typing as npt

    Column = array[int] | npt.NDArray[Any]
    """Keys or offsets (n,); a small index comes without NumPy, whose import takes longer."""

_CHUNK = 1 << 20
_N_NAMED = 3
_RANGE = "byte range"


class Unindexed:
    """The byte ranges of a .rec that its .idx leaves out; the first few of them are named."""

    def __init__(self, paths: RecPaths) -> None:
        self._paths = paths
        self._n = self._n_bytes = 0
        self._named: list[str] = []

    def add(self, start: int, stop: int) -> None:
        """Add the bytes [start, stop)."""
        self._n += 1
        self._n_bytes += stop - start
        if len(self._named) < _N_NAMED:
            self._named.append(f"[{start}, {stop})")

    def add_between(
        self,
        file: RecordFile,
        offsets: Sequence[int],
        lengths: Sequence[int],
        following: Sequence[int],
    ) -> None:
        """Add where a record ends before the `following` one of the index, and another begins.

        A length of 0 is not known. Bytes behind the last record are not looked at.
        """
        if self._paths.idx is None:
            return
        last = file.size - PART_HEAD.size
        for offset, length, limit in zip(offsets, lengths, following, strict=True):
            end = offset + length
            if length and end < limit <= last and file.has_record(end):
                self.add(end, limit)

    def faults(self) -> list[Outcome]:
        """Return one outcome that names the ranges, or none."""
        if not self._n:
            return []
        place = f"bytes {' '.join(self._named)}"
        if self._n > len(self._named):
            place += " …"
        size = f" ({self._n_bytes:,} bytes in {self._n:,} ranges)" if self._n > 1 else ""
        name = Path(self._paths.idx or "").name
        reason = (
            f"{place}{size} of {self._paths.rec.name} are missing from {name}, which lacks lines, "
            f"is cut off, or is older than the .rec. {SCAN}"
        )
        return [Outcome(place, "not_indexed", reason, _RANGE)]


def ascend(numbers: Column) -> bool:
    """Return whether each number is larger than the one before."""
    if isinstance(numbers, array):
        return all(map(lt, numbers, numbers[1:]))
    starts = range(0, len(numbers), _CHUNK)
    blocks = (numbers[start : start + _CHUNK + 1] for start in starts)
    return all(bool((block[1:] > block[:-1]).all()) for block in blocks)
