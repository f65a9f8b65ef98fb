"""Frames come out under their own numbers, whatever the container, the order of coding, the
choice or the damage.
"""

from __future__ import annotations

import gc
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from faceprep.core.errors import MissingExtra, SourceError
from faceprep.synthetic import draw_face
from faceprep.synthetic.video import (
    VideoStyle,
    draw_frame,
    encode_video,
    frame_times,
    read_number,
    write_video,
)
from faceprep.video import decoder as video_decode
from faceprep.video.index import VideoIndex
from faceprep.video.reader import Frame, VideoReader, find_videos, read_frames
from faceprep.video.sampling import FrameChoice, parse_frames
from tests.real import DATA, needs_data

av = pytest.importorskip("av")

N = 50
STYLES = {
    "plain": VideoStyle(),
    "b_frames": VideoStyle(b_frames=3),
    "varies": VideoStyle(b_frames=2, varies=True),
    "turned": VideoStyle(b_frames=2, rotation=90),
}
CONTAINERS = [
    *((suffix, style) for suffix in (".mp4", ".mov") for style in STYLES),
    *((suffix, style) for suffix in (".mkv", ".webm", ".avi") for style in ("plain", "varies")),
]
Made = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """`made(".mp4", "varies")`: a video of N frames, written once."""
    root = tmp_path_factory.mktemp("videos")

    def video(suffix: str, style: str) -> Path:
        path = root / f"{style}{suffix}"
        if not path.exists():
            write_video(path, N, style=STYLES[style])
        return path

    return video


def shown(frames: list[Frame]) -> list[int]:
    return [read_number(frame.pixels) for frame in frames]


# Numbers and times


@pytest.mark.parametrize(("suffix", "style"), CONTAINERS)
def test_every_frame_shows_its_number(made: Made, suffix: str, style: str) -> None:
    with VideoReader(made(suffix, style)) as video:
        frames = list(video.frames())
        assert len(video) == N and not video.damage and not video.missed
    assert shown(frames) == [frame.number for frame in frames] == list(range(N))
    assert {(frame.pixels.shape, frame.pixels.dtype) for frame in frames} == {
        ((180, 320, 3), np.dtype(np.uint8))
    }
    assert all(frame.pixels.flags.c_contiguous for frame in frames)
    tick = (
        0.07 if suffix == ".avi" else 0.0006
    )  # AVI has the order of coding only; Matroska counts milliseconds
    times = [float(time) for time in frame_times(N, STYLES[style])]
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=tick)


@pytest.mark.parametrize(
    "text", ["every:7", "uniform:5", "uniform:80", "pair", "keyframes", "every:100"]
)
@pytest.mark.parametrize(("suffix", "style"), CONTAINERS)
def test_chosen_frames_show_their_numbers(made: Made, suffix: str, style: str, text: str) -> None:
    frames = list(read_frames(made(suffix, style), parse_frames(text)))
    numbers = [frame.number for frame in frames]
    assert shown(frames) == numbers
    expected = {
        "every:7": list(range(0, N, 7)),
        "uniform:5": [5, 15, 25, 35, 45],
        "uniform:80": list(range(N)),
        "pair": [6, 31],
        "every:100": [0],
    }
    if text in expected:
        assert numbers == expected[text]
    else:
        assert numbers[0] == 0 and 4 <= len(numbers) < N / 4


@pytest.mark.parametrize(("start", "end"), [(0.5, 1.2), (1.0, None), (None, 0.3), (99, None)])
@pytest.mark.parametrize("style", ["plain", "varies"])
def test_a_span_is_one_of_time(
    made: Made, style: str, start: float | None, end: float | None
) -> None:
    times = [float(time) for time in frame_times(N, STYLES[style])]
    within = [i for i, time in enumerate(times) if (start or 0) <= time < (end or 1e9)]
    for text in ("all", "every:3"):
        frames = list(read_frames(made(".mp4", style), parse_frames(text, start, end)))
        assert shown(frames) == [number for number in within if text == "all" or number % 3 == 0]


def test_times_begin_with_the_first_frame(tmp_path: Path) -> None:
    frames = (draw_frame(number, (180, 320), draw_face(0, 0, 90)[0]) for number in range(4))
    path = tmp_path / "late.mkv"
    path.write_bytes(encode_video(".mkv", frames, [time + 7 for time in frame_times(4)]))
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time == 7
    assert [frame.time_s for frame in read_frames(path)] == pytest.approx(
        [0, 1 / 30, 2 / 30, 0.1], abs=1e-3
    )


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_threads_change_nothing(made: Made, n_threads: int) -> None:
    path = made(".mp4", "b_frames")
    for one, other in zip(
        read_frames(path, n_threads=1), read_frames(path, n_threads=n_threads), strict=True
    ):
        assert one.number == other.number and (one.pixels == other.pixels).all()


def test_the_last_frame_wanted_is_the_last_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.mp4"
    write_video(path, 400, (64, 96), VideoStyle(b_frames=2, key_every=40))
    decoded = []  # up to two more, on which the last may build
    pictures = video_decode.OpenVideo.pictures

    def counted(self: video_decode.OpenVideo, index: VideoIndex, keys_only: bool) -> object:
        for picture in pictures(self, index, keys_only):
            decoded.append(picture.pts)
            yield picture

    monkeypatch.setattr(video_decode.OpenVideo, "pictures", counted)
    for choice, most in [
        (FrameChoice("uniform", 4), 4 * 41),
        (FrameChoice("every", 150), 3 * 41),
        (FrameChoice(end=1.0), 31 + 2),
        (FrameChoice(start=12.0, end=12.5), 41 + 15),
        (FrameChoice("keyframes"), 10),
    ]:
        decoded.clear()
        frames = list(read_frames(path, choice))
        assert frames and shown(frames) == [frame.number for frame in frames]
        assert len(decoded) <= most, choice


def test_frames_can_be_read_again(made: Made) -> None:
    with VideoReader(made(".mp4", "plain")) as video:
        assert shown(list(video.frames(FrameChoice(start=1.0)))) == list(range(30, N))
        assert next(video.frames()).number == 0
        assert shown(list(video.frames(FrameChoice("pair")))) == [6, 31]


def test_pictures_are_let_go_at_once(tmp_path: Path) -> None:
    """Not only when the garbage collector comes: they are large, and it counts objects."""
    path = tmp_path / "long.mp4"
    write_video(path, 120, (480, 640), VideoStyle(rotation=180))
    process, peak = psutil.Process(), []
    gc.disable()
    try:
        for _ in range(6):
            assert sum(1 for _ in read_frames(path, n_threads=2)) == 120
            peak.append(process.memory_info().rss)
    finally:
        gc.enable()
    assert (
        peak[-1] - peak[1] < 60 << 20
    )  # 120 pictures take 55 MB, and four times as much was read since


# Which way up


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_video_is_upright(tmp_path: Path, rotation: int) -> None:
    path = tmp_path / "turned.mov"
    write_video(path, 3, style=VideoStyle(rotation=rotation))
    with av.open(str(path)) as container:  # PyAV's degrees go the other way round
        stored = next(container.decode(video=0))
    assert (stored.rotation - -rotation) % 360 == 0
    assert (stored.height, stored.width) == ((180, 320) if rotation == 180 else (320, 180))
    assert shown(list(read_frames(path))) == [0, 1, 2]


@pytest.mark.parametrize("turn", [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)])
def test_a_mirrored_video_is_mirrored(tmp_path: Path, turn: tuple[int, int, int, int]) -> None:
    """A point (x, y) of the stored picture is seen at (a x + c y, b x + d y), up to a shift."""
    path, (a, b, c, d) = tmp_path / "mirrored.mp4", turn
    write_video(path, 1)
    stored = next(read_frames(path)).pixels
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(
        ">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30
    )
    path.write_bytes(data)
    seen = next(read_frames(path)).pixels
    height, width = stored.shape[:2]
    assert seen.shape == ((width, height, 3) if b else (height, width, 3))
    y, x = np.mgrid[:height, :width]
    new_x, new_y = a * x + c * y, b * x + d * y
    assert (seen[new_y - new_y.min(), new_x - new_x.min()] == stored).all()


# Colours

_PATCHES = {
    "red": (220, 30, 40),
    "green": (30, 200, 60),
    "blue": (40, 60, 210),
    "skin": (224, 172, 140),
}
_MATRICES = {
    "bt709": (1, 0.2126, 0.0722),
    "bt601": (6, 0.299, 0.114),
    "none named": (2, 0.299, 0.114),
}


@pytest.mark.parametrize("is_full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", _MATRICES)
@pytest.mark.parametrize("colour", _PATCHES)
def test_colours_stay(tmp_path: Path, colour: str, matrix: str, is_full: bool) -> None:
    """A patch coded by hand after ITU-R BT.601 and BT.709 in each range."""
    rgb, (tag, kr, kb) = np.array(_PATCHES[colour]), _MATRICES[matrix]
    r, g, b = rgb / 255
    y = kr * r + (1 - kr - kb) * g + kb * b
    chroma = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    values = (
        [255 * y, *(255 * c + 128 for c in chroma)]
        if is_full
        else [16 + 219 * y, *(224 * c + 128 for c in chroma)]
    )
    path = tmp_path / "patch.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = 62, 94, "yuv420p"
        stream.codec_context.colorspace = tag
        stream.codec_context.color_range = 2 if is_full else 1
        frame = av.VideoFrame(94, 62, "yuv420p")
        frame.colorspace, frame.color_range = tag, 2 if is_full else 1
        for plane, value in zip(frame.planes, values, strict=True):
            plane.update(bytes([round(value)]) * plane.buffer_size)
        container.mux([*stream.encode(frame), *stream.encode()])
    pixels = next(read_frames(path)).pixels
    assert pixels.shape == (62, 94, 3)
    assert np.abs(pixels.astype(int) - rgb).max() <= 3


# Not a video


def message_of(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        list(read_frames(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "an empty file"),
        (b"This is a text, although its name says otherwise.\n" * 50, "not a video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.ts\n", "not a video"),
        (b"ffconcat version 1.0\nfile '/etc/hostname'\n", "not a video"),
        (bytes(5000), "not a video"),
        (
            b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + bytes(300),
            "cut off: the list of its frames",
        ),
        (b"\x1a\x45\xdf\xa3\xa3" + bytes(60), "cannot be read as a video"),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_what_is_no_video_is_said(tmp_path: Path, data: bytes, reason: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    assert reason in message_of(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode()])
    assert "it has no video stream; it holds audio" in message_of(path)


def test_a_missing_file_a_folder_and_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "No such file" in message_of(tmp_path / "no.mp4")
    assert "not a file" in message_of(tmp_path)
    assert "not a file" in message_of(tmp_path / "pipe.mp4")


def test_without_pyav_the_pip_line_is_said(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(".mp4", "plain")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"pip install 'faceprep\[video\]'"):
        VideoReader(path)


def test_odd_names(made: Made, tmp_path: Path) -> None:
    for name in (
        "ünï %03d.mp4",
        "http:a.mp4",
        b"not-utf8-\xff.mp4".decode(errors="surrogateescape"),
    ):
        (tmp_path / name).write_bytes(made(".mp4", "plain").read_bytes())
        assert sum(1 for _ in read_frames(tmp_path / name)) == N


# Trees


def test_videos_are_found_in_order(tmp_path: Path) -> None:
    for name in (
        "b/2.MOV",
        "b/10.mp4",
        "a.webm",
        "a/x.m.mov",
        "a/x.face",
        "c/.hidden.mp4",
        "c/notes.txt",
        "d/e/f.avi",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b/round").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in find_videos(tmp_path)]
    assert found == ["a/x.m.mov", "a.webm", "b/10.mp4", "b/2.MOV", "d/e/f.avi"]
    assert find_videos(tmp_path / "c/notes.txt") == [tmp_path / "c/notes.txt"]
    assert find_videos(tmp_path / "c") == []
    with pytest.raises(SourceError, match="no such file or folder"):
        find_videos(tmp_path / "no")


# Real files


@needs_data
def test_the_real_clip() -> None:
    path = DATA / "video/short_hamilton_clip.mp4"
    with VideoReader(path) as video, av.open(str(path)) as container:
        frames = video.frames(FrameChoice("every", 10))
        start = container.streams.video[0].start_time
        for number, picture in enumerate(container.decode(video=0)):
            if number % 10 == 0:
                frame = next(frames)
                assert frame.number == number
                assert frame.time_s == pytest.approx((picture.pts - start) / 11988)
                difference = np.abs(frame.pixels.astype(int) - picture.to_ndarray(format="rgb24"))
                assert difference.mean() < 1.5  # chroma is not interpolated
        assert len(video) == number + 1 == 275 and next(frames, None) is None and not video.damage


@needs_data
def test_the_real_tree(capfd: pytest.CaptureFixture[str]) -> None:
    lengths = {}
    for path in find_videos(DATA / "siw_like"):
        try:
            lengths[path.name] = len([frame.number for frame in read_frames(path)])
        except SourceError as error:
            lengths[path.name] = str(error).partition(": ")[2]
    assert lengths == {
        "004-1-2-1-2.mov": 30,
        "009-1-1-1-1.m.mov": 40,
        "032-2-3-4-1.mov": 40,
        "032-2-3-4-2.mov": "cut off: 81,426 of 87,426 bytes are missing; the list of its frames "
        "(moov) is missing. "
        "Copy the file again.",
        "003-1-1-1-1.mov": 45,
        "006-2-3-4-1.mov": 40,
        "121-2-3-2-1.mov": 20,
    }
    assert capfd.readouterr() == ("", "")
