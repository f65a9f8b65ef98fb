"""Spans of a file that are read in larger pieces where they are close together."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import sub

GAP = 64 << 10
"""Maximum bytes between the starts of two spans that are read together despite a gap."""
_WINDOW = 256 << 10  # stays in the processor's cache: 4 MiB took four times as long to read


class Spans:
    """Spans of bytes with ascending `offsets`, and their ends as far as these are known."""

    def __init__(self, offsets: Sequence[int], ends: Sequence[int]) -> None:
        self._offsets, self._ends = offsets, ends
        gaps = map(sub, offsets[1:], ends)
        far = (i for i, gap in enumerate(gaps, 1) if gap > 0 and offsets[i] - offsets[i - 1] > GAP)
        self._after_gaps = [*far, len(offsets)]
        """The spans that follow a gap which is not worth reading, and the number of all spans."""

    def reach(self, i: int) -> int:
        """Compute how many bytes to read from span `i`: about one window, or up to a gap."""
        start = self._offsets[i]
        stop = self._after_gaps[bisect_right(self._after_gaps, i)]
        last = bisect_left(self._offsets, start + _WINDOW, i + 1, stop)
        if last < stop:
            return self._offsets[last] - start
        return self._ends[stop - 1] - start
