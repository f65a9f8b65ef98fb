"""What a video holds, learnt from its packets without decoding one: how many frames, when each is shown, key frames.

Containers say how many frames they hold, but their word is an estimate; packets are counted. A frame's number is the
rank of its time among all frames. AVI has no such times: there a frame's number is its place in the order of decoding.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_NO_TIME = -(1 << 63)


@dataclass(frozen=True, slots=True)
class VideoIndex:
    """`stamps` (n,) int64: the times of the frames as shown, rising, in `tick` seconds; frame number i has stamps[i].

    `has_stamps` says whether frames can be told by them. `keyframes` (k,) rising numbers, `seek_to` (k,) int64 the
    decoding times of these. `n_told` is how many packets the container says there are, 0 where it does not, `n_read`
    how many there were.
    """

    stamps: npt.NDArray[np.int64]
    tick: float
    has_stamps: bool
    keyframes: npt.NDArray[np.int64]
    seek_to: npt.NDArray[np.int64]
    n_told: int
    n_read: int

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Seconds from the first frame."""
        return (self.stamps - self.stamps[:1]).astype(np.float64) * self.tick

    @property
    def has_lone_keyframes(self) -> bool:
        """Whether key frames can be told by their packets, and decoding these alone spares work."""
        return self.has_stamps and 2 * len(self.keyframes) < len(self)

    @property
    def has_times(self) -> bool:
        return len(self) > 0 and bool(self.stamps[0] != _NO_TIME)

    def number_of(self, stamp: int | None, least: int, n_lost: int) -> int:
        """The number of the frame that the decoder stamped so, `least` or more; `n_lost` packets went before it."""
        if stamp is None or not self.has_stamps:
            return least + n_lost
        return max(least, int(np.searchsorted(self.stamps, stamp)))


def index_packets(container: Any, stream: Any) -> VideoIndex:
    """Read through an open PyAV container. Where reading fails, the index ends."""
    stamps, seek_to, keys = array("q"), array("q"), array("b")
    n_read = 0
    for packet in packets_of(container, stream):
        n_read += 1
        if is_shown(packet):
            stamps.append(packet.pts if packet.pts is not None else _NO_TIME)
            seek_to.append(packet.dts if packet.dts is not None else stamps[-1])
            keys.append(packet.is_keyframe)
    shown, decoded, key = (
        np.array(stamps, np.int64),
        np.array(seek_to, np.int64),
        np.flatnonzero(np.array(keys, np.bool_)),
    )
    has_stamps = container.format.name != "avi" and bool((shown != _NO_TIME).all())
    ordered = np.sort(shown if has_stamps else decoded)
    keyframes = np.searchsorted(ordered, shown[key]) if has_stamps else key
    n_told = stream.frames if container.format.name.startswith(("mov", "avi")) else 0
    return VideoIndex(ordered, float(stream.time_base), has_stamps, keyframes, decoded[key], n_told, n_read)


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """The packets that hold something, up to the end or to where reading fails."""
    import av

    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        return


def is_shown(packet: Any) -> bool:
    """Whether a frame comes of it: not where an edit list cuts it out, nor of a hidden reference frame of VP8.

    RFC 6386, section 9.1: bit 4 of the first byte is `show_frame`.
    """
    if packet.is_discard:
        return False
    return packet.stream.codec_context.name not in ("vp8", "libvpx") or bool(memoryview(packet)[0] & 0x10)
