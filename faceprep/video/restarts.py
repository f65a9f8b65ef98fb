"""Parts of a video joined by `cat`: time stamps that restart or jump are made to continue."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from faceprep.core.storage import ByteSource
from faceprep.video.transport import is_join

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
"""FFmpeg's name of the container .mp4."""
_RISES = {"mpegts": 10.0, "mpeg": 10.0} | dict.fromkeys(("matroska,webm", "ogg", MP4), math.inf)
"""Containers of which FFmpeg reads joined parts, and the seconds by which the time of decoding
rises at a restart at least, as in the program ffmpeg. FFmpeg's libraries take some falls in MPEG
for a counter that overflows, and turn them into a rise of 26 hours.
"""
_FALL_S = 0.5
"""Seconds by which the time of decoding falls at a restart. In a sound part it rises."""
_MARKED = 2
"""Packets before a join that FFmpeg may mark, because the counters of .ts restart as well."""


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


class Spot(NamedTuple):
    """A packet: its place among the packets, its time of decoding, its offset in the file."""

    place: int
    time: int | None
    offset: int
    is_key: bool

    @staticmethod
    def of(place: int, packet: Any) -> Spot:
        """Return where a packet is; the offset -1 stands for an unknown one."""
        offset = -1 if packet.pos is None else packet.pos
        return Spot(place, packet.dts, offset, packet.is_keyframe)


def find_whole(path: str, spots: Sequence[Spot], restarts: Sequence[int]) -> list[int]:
    """Return the times of packets that FFmpeg marks as corrupt only because another part follows.

    `spots` are the marked packets and the key frames. A part begins at one of the places
    `restarts`, or at a key frame if nothing is lost before it. Raises SourceError.
    """
    marked = [spot for spot in spots if not spot.is_key]
    if not marked:
        return []
    keys = [spot for spot in spots if spot.is_key]
    places, found = [key.place for key in keys], list[int]()
    with ByteSource(path) as source:
        for spot in marked:
            at = bisect_right(places, spot.place)
            is_whole = any(0 < place - spot.place <= _MARKED for place in restarts) or (
                at < len(keys)
                and places[at] - spot.place <= _MARKED
                and is_join(source, spot.offset, keys[at].offset)
            )
            if is_whole and spot.time is not None:
                found.append(spot.time)
    return found
