"""A video that is entered in its middle shows the frames of a reading from its start."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep.video import decoder
from faceprep.video.reader import VideoReader
from faceprep.video.sampling import parse_frames
from tests import ffmpeg
from tests.ffmpeg import needs_ffmpeg

pytest.importorskip("av")
pytestmark = needs_ffmpeg

KINDS = {
    "b_frames.mp4": "keyint=30:bframes=3",
    "no_stamps.avi": "keyint=30:bframes=3",
    "pyramid.mkv": "keyint=30:bframes=16:b-adapt=0:b-pyramid=normal:ref=6",
    "open_groups.mkv": "keyint=30:bframes=3:open-gop=1:scenecut=0",
    "slices.mkv": "keyint=30:slices=4",
    "interlaced.mp4": "keyint=30:interlaced=1:tff=1",
    "no_key_frames.mp4": "keyint=30:intra-refresh=1",
}


def read(path: Path, choice: str, n_threads: int) -> dict[int, bytes]:
    with VideoReader(path, n_threads) as video:
        found = {each.number: each.pixels.tobytes() for each in video.frames(parse_frames(choice))}
        assert not video.damage
    return found


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_frames_do_not_depend_on_where_the_video_is_entered(
    kind: str, n_threads: int, tmp_path: Path
) -> None:
    """`no_key_frames` gives whole pictures only after a while, so it is read from its start."""
    options = ("-c:v", "libx264", "-x264-params", KINDS[kind])
    path = ffmpeg.make(tmp_path / kind, *options, seconds=4)
    whole = read(path, "all", 1)
    for choice in ("every:38", "every:29", "uniform:3"):
        found = read(path, choice, n_threads)
        assert found and found.items() <= whole.items(), choice


@pytest.mark.parametrize("kind", KINDS)
def test_several_threads_decode_all_of_a_sound_video(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("-c:v", "libx264", "-x264-params", KINDS[kind])
    path = ffmpeg.make(tmp_path / kind, *options, seconds=4)
    with VideoReader(path, 2) as video:
        monkeypatch.setattr(decoder, "OpenVideo", None)  # which would open it for one thread
        assert list(video.frames(parse_frames("all")))
        if kind not in ("open_groups.mkv", "no_key_frames.mp4"):  # whose first pictures are broken
            assert list(video.frames(parse_frames("every:38")))
