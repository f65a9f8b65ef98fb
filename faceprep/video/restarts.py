"""Time stamps of MPEG streams that restart, as in parts joined by `cat`, made to continue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_CONTAINERS = ("mpegts", "mpeg")
"""Only these consist of packets without a header of the whole, so that parts can be joined."""
_FALL_S = 0.5
"""Seconds by which the time of decoding falls at a restart. In a sound part it rises."""
_DOUBTED = 2
"""Packets before a restart that FFmpeg may mark, because the counts of .ts restart as well."""


class StampJoiner:
    """The time stamps of an open PyAV stream from its first packet on.

    A part whose stamps restart is moved behind the part before it. It stays in order even if fewer
    frames of it are held back to be reordered.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self.restarts: list[int] = []
        """Places of the packets at which the stamps restart."""
        self._place = -1
        self._may_restart = container.format.name in _CONTAINERS
        self._fall = _FALL_S / float(stream.time_base)
        self._last: int | None = None
        self._shift = self._next_dts = self._next_pts = 0

    def move(self, packet: Any) -> None:
        """Move the stamps of the next packet of the file; all packets are given in order."""
        self._place += 1
        if not self._may_restart or packet.dts is None:
            return
        dts, pts = packet.dts, packet.dts if packet.pts is None else packet.pts
        if self._last is not None and dts < self._last - self._fall:
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


def is_before_restart(place: int, restarts: Sequence[int]) -> bool:
    """Return whether a packet may be marked as corrupt only because another part follows.

    >>> [is_before_restart(place, [30]) for place in (27, 28, 29, 30)]
    [False, True, True, False]
    """
    return any(0 < restart - place <= _DOUBTED for restart in restarts)
