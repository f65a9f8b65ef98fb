"""Long videos in pieces: cuts at key frames, and the index of packets that the pieces share.

A piece is a range of frame numbers that begins at a key frame or soon after it. It is decoded from
there, so the pieces of a video give the same frames as the whole.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from faceprep.core.errors import SourceError
from faceprep.video.decoder import OpenVideo
from faceprep.video.index import VideoIndex
from faceprep.video.reader import VideoReader
from faceprep.video.sampling import FrameChoice

_KEY_EVERY = 30
"""Frames from one key frame to the next, where only an estimate is needed."""
_MICROSECONDS = 1e-6
_LAYOUT = (
    *("tick", "has_stamps", "n_claimed", "n_whole", "last_decoded", "delay"),
    *("restarts", "marked_whole", "n_left_out"),
)


class Outline(NamedTuple):
    """The estimates of a video's header: its number of frames and its seconds."""

    n_frames: int
    seconds: float

    def count_wanted(self, choice: FrameChoice) -> int:
        """Estimate the number of frames that `choice` takes; 1 if the header gives no number."""
        if not self.n_frames:
            return 1
        times = np.linspace(0.0, self.seconds, self.n_frames, endpoint=False, dtype=np.float64)
        return len(choice.numbers(times, range(0, self.n_frames, _KEY_EVERY)))


class Span(NamedTuple):
    """A piece of a video: the frames from `first` up to `stop` - 1, `n_wanted` of them wanted."""

    first: int
    stop: int
    n_wanted: int


def read_outline(path: str) -> Outline:
    """Read the header of a video; no packets. Raises SourceError."""
    opened = OpenVideo(path, 1)
    try:
        stream, duration = opened.stream, opened.container.duration or 0
        seconds = float(duration) * _MICROSECONDS
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        n_frames = stream.frames or round(seconds * float(stream.average_rate or 0))
        return Outline(n_frames, seconds)
    finally:
        opened.close()


def index_video(path: str) -> tuple[VideoIndex, str]:
    """Index a video, and describe how it is cut off: empty if it is whole. Raises SourceError.

    All packets are read; nothing is decoded.
    """
    with VideoReader(path, 1) as reader:
        return reader.index, reader.cut_off


def cut_video(
    index: VideoIndex, choice: FrameChoice, piece_s: float, segment: int = 1
) -> list[Span]:
    """Cut a video at the first key frame after every `piece_s` seconds.

    A piece begins at the first multiple of `segment` among the frames from there on.

    Pieces without a wanted frame are left out; one piece always stays. A video whose frames have no
    time stamps, or whose stamps restart, is one piece, because a seek in it is not exact.
    """
    n, times = len(index), index.times
    numbers = np.asarray(choice.numbers(times, index.keyframes), np.int64)
    whole = [Span(0, n, len(numbers))]
    if not index.can_seek or len(index.keyframes) < 2:  # noqa: PLR2004
        return whole
    key_times = times[index.keyframes]
    marks = np.arange(piece_s, times[-1] if n else 0.0, piece_s)
    places = np.searchsorted(key_times, marks)
    cuts = index.keyframes[np.unique(places[places < len(key_times)])]
    cuts = np.minimum(-(-cuts // segment) * segment, n)
    edges = np.unique([0, *cuts.tolist(), n])
    wanted = np.searchsorted(numbers, edges)
    spans = [
        Span(int(edges[i]), int(edges[i + 1]), int(wanted[i + 1] - wanted[i]))
        for i in range(len(edges) - 1)
    ]
    return [span for span in spans if span.n_wanted] or whole


def pack_index(index: VideoIndex, cut_off: str) -> bytes:
    """Encode an index and `cut_off` as a line of JSON, then the stamps and the key frames."""
    head = {name: getattr(index, name) for name in _LAYOUT}
    head |= {"n_frames": len(index), "cut_off": cut_off}
    arrays = index.stamps.astype("<i8").tobytes() + index.keyframes.astype("<i8").tobytes()
    return json.dumps(head).encode() + b"\n" + arrays


def unpack_index(data: bytes) -> tuple[VideoIndex, str]:
    """Decode what `pack_index` encoded. Raises SourceError for other bytes."""
    line, _, arrays = data.partition(b"\n")
    try:
        head = json.loads(line)
        numbers = np.frombuffer(arrays, "<i8")
        n = head["n_frames"]
        values = {name: head[name] for name in _LAYOUT}
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            "a damaged index of a video", remedy="Start the command again."
        ) from error
    index = VideoIndex(stamps=numbers[:n], keyframes=numbers[n:], **values)
    return index, head["cut_off"]


def within(choice: FrameChoice, span: Span | None) -> FrameChoice:
    """Return the choice of the frames of one piece; None stands for the whole video."""
    return choice if span is None else replace(choice, within=(span.first, span.stop))
