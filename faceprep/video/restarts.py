"""Parts of a video joined by `cat`: time stamps that restart or jump are made to continue."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

_RISES = {"mpegts": 10.0, "mpeg": 10.0, "matroska,webm": math.inf}
"""Containers of which FFmpeg reads joined parts, and the seconds by which the time of decoding
rises at a restart at least, as in the program ffmpeg. FFmpeg's libraries take some falls in MPEG
for a counter that overflows, and turn them into a rise of 26 hours.
"""
_FALL_S = 0.5
"""Seconds by which the time of decoding falls at a restart. In a sound part it rises."""
_MARKED = 2
"""Packets before a join that FFmpeg may mark, because the counts of .ts restart as well."""


class StampJoiner:
    """The time stamps of an open PyAV stream from its first packet on.

    A part whose stamps restart is moved behind the part before it. It stays in order even if fewer
    frames of it are held back to be reordered.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self.restarts: list[int] = []
        """Places of the packets at which the stamps restart."""
        self._place = -1
        rise = _RISES.get(container.format.name)
        self._may_restart = rise is not None
        tick = float(stream.time_base)
        self._least, self._most = -_FALL_S / tick, (rise or 0) / tick
        self._last: int | None = None
        self._shift = self._next_dts = self._next_pts = 0

    def move(self, packet: Any) -> None:
        """Move the stamps of the next packet of the file; all packets are given in order."""
        self._place += 1
        if not self._may_restart or packet.dts is None:
            return
        dts, pts = packet.dts, packet.dts if packet.pts is None else packet.pts
        if self._last is not None and not self._least <= dts - self._last <= self._most:
            self._shift = max(self._next_dts - dts, self._next_pts - pts)
            self.restarts.append(self._place)
        self._last = dts
        if self._shift:
            packet.dts = dts + self._shift
            if packet.pts is not None:
                packet.pts += self._shift
        duration = packet.duration or 1
        self._next_dts = dts + self._shift + duration
        self._next_pts = max(self._next_pts, pts + self._shift + duration)


def find_whole(marked: Sequence[tuple[int, int]], starts: Sequence[int]) -> list[int]:
    """Return the times of whole packets that FFmpeg marks as corrupt before another part.

    `marked` are their (place, time). `starts` are the places of restarts and key frames: a part
    begins with one.

    >>> find_whole([(12, 120), (28, 280), (29, 290)], [20, 30])
    [280, 290]
    """
    ascending, found = sorted(starts), []
    for place, time in marked:
        at = bisect_right(ascending, place)
        if at < len(ascending) and ascending[at] - place <= _MARKED:
            found.append(time)
    return found
