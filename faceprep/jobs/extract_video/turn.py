"""The turn of a video: one for all its frames, found before the first of them is cropped."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from faceprep.core.os_errors import SuppressDamage
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.video.index import VideoIndex
from faceprep.video.reader import open_video
from faceprep.video.sampling import frames_at

_N_FRAMES = 5


def find_video_turn(
    options: VideoOptions, path: str, known: tuple[VideoIndex, str] | None = None
) -> int:
    """Find the turn of a video from a few frames: 0, 90, 180 or 270.

    The frames are spread over the whole video, so the turn depends neither on its pieces nor on the
    wanted frames. It is 0 for a damaged video. `known` is that of `open_video`. Raises SourceError
    if the disk or the store fails.
    """
    finder = options.finder()
    if not finder.can_turn:
        return 0
    with SuppressDamage(), open_video(path, known) as reader:
        numbers = _choose_frames(reader.index)
        with closing(reader.frames(frames_at(numbers))) as frames:
            return finder.find_turn((frame.pixels for frame in frames), len(numbers))
    return 0


def _choose_frames(index: VideoIndex) -> list[int]:
    """Return the numbers of a few frames that are spread over the video, key frames if possible.

    The decoder begins at the last key frame before a frame. That key frame replaces the frame if it
    lies after the previous place.
    """
    places = np.linspace(0, len(index) - 1, _N_FRAMES + 2)
    keys = np.array([-1, *(index.keyframes if index.can_seek else ())])
    before = keys[np.searchsorted(keys, places, "right") - 1]
    chosen = np.where(before[1:] > places[:-1], before[1:], places[1:])
    return [int(number) for number in chosen[:-1]]
