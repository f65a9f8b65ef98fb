"""The index of a video, read from its packets without decoding: frame times and key frames.

Containers say how many frames they hold, but that is an estimate; packets are counted. A
frame's number is the rank of its time among all frames. AVI has no such times, and in some files
those of display are made up from those of decoding: there a frame's number is its place in the
order in which the decoder returns it. Stamps that restart within a file are made to continue.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.items import note_progress
from faceprep.core.os_errors import as_error
from faceprep.video.restarts import Spot, StampJoiner, find_whole

_NO_TIME = -(1 << 63)
_INTERLACED = (2, 3, 4, 5)
"""FFmpeg's orders of fields; 1 is for whole pictures, 0 for a stream that does not say."""
_VP8 = "vp8", "libvpx"
_FIELDS = 0.4, 0.6
"""Shares of packets that are second fields, about one half."""


@dataclass(frozen=True, slots=True)
class VideoIndex:
    """The frames of a video.

    `stamps` (n,) int64 are the display times of the frames, ascending, in `tick` seconds; frame
    number i has stamps[i]. `has_stamps` says whether they identify frames. `keyframes` (k,) are
    ascending numbers. `n_claimed` is the number of packets that the container claims, 0 where it
    claims none. `n_whole` is the number of packets that are complete; the last is decoded at
    `last_decoded`. The decoder holds back `delay` frames to reorder them. `restarts` are the places
    of the packets at which the stamps of the file restart. Then those here are not the ones to seek
    by. `marked_whole` are the times of decoding of packets that FFmpeg marks as corrupt, but only
    because parts were joined there. `n_left_out` pictures before the first frame are no frames,
    because they build on one that the file lacks.
    """

    stamps: npt.NDArray[np.int64]
    tick: float
    has_stamps: bool
    keyframes: npt.NDArray[np.int64]
    n_claimed: int
    n_whole: int
    last_decoded: int
    delay: int
    restarts: Sequence[int] = ()
    marked_whole: Sequence[int] = ()
    n_left_out: int = 0

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Return the seconds from the first frame."""
        return (self.stamps - self.stamps[:1]).astype(np.float64) * self.tick

    @property
    def duration(self) -> float | None:
        """Return the seconds to the end of the last frame.

        The last frame is taken to last as long as the median of the others. Without times, and for
        one frame, the duration is unknown: None.
        """
        if len(self) < 2 or not self.has_times:  # noqa: PLR2004
            return None
        times = self.times
        return float(times[-1] + np.median(np.diff(times)))

    @property
    def can_seek(self) -> bool:
        """Return whether the file can be entered at the stamp of a frame."""
        return self.has_stamps and not self.restarts

    @property
    def has_lone_keyframes(self) -> bool:
        """Return whether packets identify key frames, and decoding only these saves work."""
        return self.has_stamps and 2 * len(self.keyframes) < len(self)

    @property
    def has_times(self) -> bool:
        return len(self) > 0 and bool(self.stamps[0] != _NO_TIME)

    def number_of(self, stamp: int | None, least: int, n_lost: int) -> int | None:
        """Return the number of the frame with this stamp, given `n_lost` packets lost before it.

        None if the frame should have come before number `least`, or has no stamp where others have.
        """
        if not self.has_stamps:
            return least + n_lost
        if stamp is None or self.is_left_out(stamp):
            return None
        number = int(np.searchsorted(self.stamps, stamp))
        if number >= least:
            return number
        if least < len(self) and self.stamps[least] == stamp:
            return least
        return None

    def is_left_out(self, stamp: int) -> bool:
        """Return whether a picture with this stamp is one of the `n_left_out`."""
        return self.n_left_out > 0 and stamp < self.stamps[0]

    def is_before(self, stamp: int | None, number: int) -> bool:
        """Return whether a picture with this stamp is shown before the frame of this number."""
        return stamp is not None and stamp < self.stamps[number]

    def from_number(self, number: int) -> VideoIndex:
        """Return the index without the frames before this one, which are left out."""
        return replace(
            self,
            stamps=self.stamps[number:],
            keyframes=self.keyframes[self.keyframes >= number] - number,
            n_left_out=number,
        )

    def without_doubtful_end(self) -> VideoIndex:
        """Return the index without the last frames, which a longer file might have reordered."""
        n = self.n_whole - self.delay
        if self.has_stamps:
            n = int(np.searchsorted(self.stamps, self.last_decoded, "right"))
        n = max(n, 0)
        return replace(self, stamps=self.stamps[:n], keyframes=self.keyframes[self.keyframes < n])


def index_packets(container: Any, stream: Any, path: str) -> VideoIndex:
    """Index the packets of an open PyAV container. The index ends at damage.

    Raises SourceError.
    """
    stamps, decoding, is_key = array("q"), array("q"), array("b")
    spots = list[Spot]()
    n_whole, last_dts = 0, None
    joiner = StampJoiner(container, stream)
    for place, packet in enumerate(packets_of(container, stream, path)):
        note_progress()
        joiner.move(packet)
        n_whole += not packet.is_corrupt
        if packet.is_keyframe or packet.is_corrupt:
            spots.append(Spot.of(place, packet))
        if is_shown(packet):
            stamp = _NO_TIME if packet.pts is None else packet.pts
            stamps.append(stamp)
            decoding.append(stamp if packet.dts is None else packet.dts)
            is_key.append(packet.is_keyframe)
            last_dts = packet.dts
    display_times, keys = np.array(stamps, np.int64), np.flatnonzero(is_key)
    is_stamped = display_times != _NO_TIME
    context, known = stream.codec_context, display_times[is_stamped]
    has_stamps = container.format.name != "avi" and not (
        context.has_b_frames and are_made_up(known)
    )
    if has_stamps and are_spare(~is_stamped, keys, names_fields(stream)):
        ordered = np.sort(known)
        keyframes = np.searchsorted(ordered, np.sort(display_times[keys[is_stamped[keys]]]))
    else:
        times = known if is_stamped.all() else _fill_times(np.array(decoding, np.int64))
        has_stamps, ordered, keyframes = False, np.sort(times), keys
    last_decoded = _NO_TIME
    if last_dts is not None:
        last_decoded = last_dts
    elif len(ordered):  # the first packets of a Matroska file have no such time
        last_decoded = int(ordered[0])
    return VideoIndex(
        ordered,
        float(stream.time_base),
        has_stamps,
        keyframes,
        _count_claimed(container, stream),
        n_whole,
        last_decoded,
        int(getattr(context, "reorder_depth", 2 * context.has_b_frames)),
        joiner.restarts,
        find_whole(path, spots, joiner.restarts),
    )


def are_made_up(stamps: npt.NDArray[np.int64]) -> bool:
    """Return whether display times (n,) of packets cannot be those of reordered frames.

    True ones differ, and fall somewhere in the order of decoding. Programs that copy a stream out
    of a file without such times repeat those of decoding, or guess.
    """
    are_repeated = (np.diff(np.sort(stamps)) == 0).any()
    return bool(are_repeated or (np.diff(stamps) > 0).all())


def _fill_times(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Spread packets without a time evenly between those with one, and at their rate beyond them.

    If no packet has a time, none gets one.
    """
    known, places = np.flatnonzero(times != _NO_TIME), np.arange(len(times))
    if not len(known):
        return times
    first, last = known[[0, -1]]
    step = (times[last] - times[first]) / max(1, last - first)
    beyond = (places - np.clip(places, first, last)) * step
    spread: Ints = np.rint(np.interp(places, known, times[known]) + beyond).astype(np.int64)
    return spread


def _count_claimed(container: Any, stream: Any) -> int:
    """Count the frames that a file lists, without those that an edit list hides; 0 for no list."""
    if container.format.name.startswith("mov") and stream.frames:  # AVI counts its gaps as well
        return len(stream.index_entries)
    return 0


def are_spare(
    unstamped: npt.NDArray[np.bool_], keys: npt.NDArray[np.int64], has_fields: bool
) -> bool:
    """Return whether the packets without a time give no frame of their own.

    `unstamped` (n,) is their mask, and `keys` are the places of the key frames. There are two kinds
    of such packets. In a stream that was cut out of another, pictures after the first key frame may
    need one before it. In an interlaced stream, they are the second fields.
    """
    places = np.flatnonzero(unstamped)
    if not len(places):
        return True
    first_group = keys[1] if len(keys) > 1 else 0
    if has_fields:
        share = len(places) / len(unstamped)
        return bool(_FIELDS[0] <= share <= _FIELDS[1])
    return bool(len(keys) and keys[0] < places[0] and places[-1] < first_group)


def names_fields(stream: Any) -> bool:
    """Return whether the headers of an open PyAV stream say that its pictures are interlaced."""
    return int(stream.codec_context.field_order) in _INTERLACED


def packets_of(container: Any, stream: Any, path: str) -> Iterator[Any]:
    """Yield the packets with content, up to the end or to the first damage that FFmpeg stops at.

    Raises SourceError if the disk or the store fails.
    """
    import av

    try:
        for packet in container.demux(stream):
            if packet.size and not _is_header(packet):
                yield packet
    except OSError as error:
        raise as_error(SourceError, "read", path, error) from error
    except av.FFmpegError:
        return


def _is_header(packet: Any) -> bool:
    """Return whether a packet is a header of Theora or VP8 in Ogg, as of a part that was joined."""
    name, head = packet.stream.codec_context.name, memoryview(packet)
    return (name == "theora" and head[0] & 0x80 > 0) or (
        name in _VP8 and bytes(head[:5]) == b"OVP80"
    )


def is_shown(packet: Any) -> bool:
    """Return whether a packet gives a visible frame.

    Frames that an edit list cuts out, and hidden reference frames of VP8, are not shown. RFC 6386,
    section 9.1: bit 4 of the first byte is `show_frame`.
    """
    if packet.is_discard:
        return False
    return packet.stream.codec_context.name not in _VP8 or bool(memoryview(packet)[0] & 0x10)
