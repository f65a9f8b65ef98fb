"""A damaged video: what can be decoded comes out under its own number, and what is wrong is
said.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.os_errors import is_fault
from faceprep.synthetic.video import VideoStyle, read_number, write_video
from faceprep.video.reader import DamagedVideo, Frame, VideoReader, open_video, read_frames
from faceprep.video.sampling import ALL_FRAMES
from faceprep.video.truncation import describe_cut, is_container

av = pytest.importorskip("av")

N = 50
KEY_EVERY = 12
WHOLE: dict[str, bytes] = {}


def write_index_first(source: Path, path: Path) -> None:
    """The same packets, the list of them at the beginning of the file."""
    with (
        av.open(str(source)) as old,
        av.open(str(path), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)


@pytest.fixture(scope="module", autouse=True)
def _whole(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("whole")
    for suffix in (".mp4", ".mkv", ".avi", ".webm"):
        write_video(root / f"a{suffix}", N, style=VideoStyle(b_frames=2, key_every=KEY_EVERY))
        WHOLE[suffix] = (root / f"a{suffix}").read_bytes()
    write_index_first(root / "a.mp4", root / "first.mp4")
    WHOLE["first.mp4"] = (root / "first.mp4").read_bytes()


@pytest.fixture(scope="module")
def read(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, bytes], tuple[list[Frame], list[int], str]]:
    """(frames, missed numbers, damage) of a file with these bytes."""
    root = tmp_path_factory.mktemp("damaged")

    def read(suffix: str, data: bytes) -> tuple[list[Frame], list[int], str]:
        path = root / f"a.{suffix.rpartition('.')[2]}"
        path.write_bytes(data)
        with VideoReader(path, n_threads=2) as video:
            return list(video.frames()), video.missed, video.damage

    return read


Read = Callable[[str, bytes], tuple[list[Frame], list[int], str]]


def packets(data: bytes, path: Path) -> list[tuple[int, int, int]]:
    """(offset, size, frame number) of each packet in the order of decoding."""
    path.write_bytes(data)
    with av.open(str(path)) as container:
        found = [
            (packet.pos, packet.size, packet.pts)
            for packet in container.demux(video=0)
            if packet.size
        ]
    order = sorted(stamp for _, _, stamp in found)
    return [(place, size, order.index(stamp)) for place, size, stamp in found]


@pytest.mark.parametrize("lost", [1, 2, 14, 24, 25, 30, 47, 49])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_numbers_stay_true_past_a_lost_frame(tmp_path: Path, lost: int, n_threads: int) -> None:
    path = tmp_path / "a.mp4"
    data = bytearray(WHOLE[".mp4"])
    place, size, number = packets(bytes(data), path)[lost]
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
    with VideoReader(path, n_threads) as video:
        frames, missed = list(video.frames()), video.missed
        assert len(video) == N and number in video.missed and "could not be decoded" in video.damage
    numbers = [frame.number for frame in frames]
    assert sorted(numbers + missed) == list(range(N))
    next_key = -(-number // KEY_EVERY) * KEY_EVERY
    sound = [frame for frame in frames if not frame.after_damage]
    assert {frame.number for frame in sound} >= {
        *range(number - 5),
        *range(next_key + KEY_EVERY, N),
    }
    assert [read_number(frame.pixels) for frame in sound] == [frame.number for frame in sound]
    if number % KEY_EVERY:  # a frame that others may build on
        assert missed == [number]
    else:
        assert not set(range(number, number + KEY_EVERY)) & {frame.number for frame in sound}


def shown(path: Path, cores: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool, bytes]]:
    monkeypatch.setenv("FACEPREP_CORES", str(cores))
    with open_video(path) as video:
        return [
            (frame.number, frame.after_damage, frame.pixels.tobytes()) for frame in video.frames()
        ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
@pytest.mark.parametrize("seed", range(5))
def test_frames_after_damage_do_not_depend_on_cores(
    suffix: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, data = np.random.default_rng(seed), bytearray(WHOLE[suffix])
    for place in rng.integers(len(data) // 5, len(data) * 4 // 5, 6):
        data[place : place + 40] = rng.bytes(40)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    found = shown(path, 1, monkeypatch)
    for cores in (2, 3, 16):
        assert shown(path, cores, monkeypatch) == found


def test_a_frame_that_builds_on_a_damaged_later_one_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B-frames are decoded after the frame that follows them."""
    path, whole = tmp_path / "a.mp4", tmp_path / "whole.mp4"
    whole.write_bytes(WHOLE[".mp4"])
    damaged = bytearray(WHOLE[".mp4"])
    offset, size, _ = packets(WHOLE[".mp4"], path)[19]  # of frame 20, on which 19 builds
    start = offset + size // 3
    damaged[start : offset + size] = b"\xff" * (offset + size - start)
    path.write_bytes(damaged)
    found = shown(path, 2, monkeypatch)
    assert [number for number, after_damage, _ in found if after_damage] == [19, 21, 22, 23]
    sound = shown(whole, 2, monkeypatch)
    assert {each for each in found if not each[1]} == {
        each for each in sound if each[0] not in range(19, 24)
    }


def test_reading_one_by_one_reports_damage_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    data = bytearray(WHOLE[".mp4"])
    place, size, number = packets(bytes(data), path)[20]
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
    numbers = []
    with pytest.raises(DamagedVideo, match=rf"a\.mp4: frame {number} could not be decoded"):
        for frame in read_frames(path):
            numbers.append(frame.number)
    assert len(numbers) == N - 1


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", "first.mp4"])
@pytest.mark.parametrize("part", [0.999, 0.9, 0.75])
def test_what_is_there_of_a_cut_off_video_is_read(read: Read, suffix: str, part: float) -> None:
    data = WHOLE[suffix]
    frames, _, damage = read(suffix, data[: int(len(data) * part)])
    assert len(frames) >= 0.8 * part * N
    sound = [frame for frame in frames if not frame.after_damage]
    assert [read_number(frame.pixels) for frame in sound] == [frame.number for frame in sound]
    assert "cut off after" in damage and "bytes are missing" in damage


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", "first.mp4"])
def test_a_cut_after_any_of_the_first_packets(read: Read, suffix: str) -> None:
    """B-frames may still be missing between the frames that are there."""
    for n_bytes in range(2000, 20_000, 500):
        check_cut(read, suffix, WHOLE[suffix][:n_bytes])


@given(data=st.data(), suffix=st.sampled_from([".mkv", ".webm", ".avi", ".mp4", "first.mp4"]))
@settings(max_examples=120)
def test_a_cut_is_always_reported_and_no_frame_is_half(
    read: Read, data: st.DataObject, suffix: str
) -> None:
    whole = WHOLE[suffix]
    check_cut(read, suffix, whole[: data.draw(st.integers(0, len(whole) - 1))])


def check_cut(read: Read, suffix: str, cut: bytes) -> None:
    try:
        frames, missed, damage = read(suffix, cut)
    except SourceError as error:
        assert "cut off" in str(error) or "empty" in str(error) or len(cut) < 64
        return
    assert damage or len(frames) == N
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers)) and not set(numbers) & set(missed)
    assert [read_number(frame.pixels) for frame in frames if not frame.after_damage] == [
        frame.number for frame in frames if not frame.after_damage
    ]


@given(data=st.data(), suffix=st.sampled_from([".mkv", ".webm", ".avi", ".mp4", "first.mp4"]))
@settings(max_examples=120)
def test_noise_is_survived(read: Read, data: st.DataObject, suffix: str) -> None:
    noisy = bytearray(WHOLE[suffix])
    for _ in range(data.draw(st.integers(1, 3))):
        place, size = data.draw(st.integers(0, len(noisy) - 1)), data.draw(st.integers(1, 300))
        noisy[place : place + size] = np.random.default_rng(data.draw(st.integers(0, 99))).bytes(
            len(noisy[place : place + size])
        )
    try:
        frames, missed, _ = read(suffix, bytes(noisy))
    except SourceError as error:
        assert "\n" not in str(error)
        return
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers)) and not set(numbers) & set(missed)


def test_no_word_of_ffmpeg_reaches_the_terminal(
    read: Read, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for suffix, whole in WHOLE.items():
        noisy = bytearray(whole)
        for place in rng.integers(200, len(whole) - 200, 5):
            noisy[place : place + 60] = rng.bytes(60)
        try:
            read(suffix, bytes(noisy[: len(noisy) * 9 // 10]))
        except SourceError:
            continue
    assert capfd.readouterr() == ("", "")


# Where a file ends


def test_whole_files_are_whole(tmp_path: Path) -> None:
    for suffix, whole in WHOLE.items():
        path = tmp_path / f"a{suffix}"
        path.write_bytes(whole)
        assert is_container(path) and describe_cut(path) == ""
        path.write_bytes(whole[:-20])
        assert f"of {len(whole):,} bytes are missing" in describe_cut(path)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", ""),
        (b"a text", ""),
        (b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\0mdat" + bytes(9), ""),  # size 0: up to the end
        (
            b"\0\0\0\x08moov\0\0\0\x01mdat" + (116).to_bytes(8, "big") + bytes(84),
            "16 of 124 bytes are missing",
        ),
        (b"\0\0\0\x08moov\0\0\0\x08free" + bytes(9), ""),  # padding after the last box
        (b"\0\0\0\x08ftyp\0\0\0\x10mdat" + bytes(8), "the list of its frames (moov) is missing"),
        (b"RIFF\x04\0\0\0AVI ", ""),
        (b"RIFF\x14\0\0\0AVI " + bytes(4), "12 of 28 bytes are missing"),
        (b"RIFF\x00\0\0\0AVI " + bytes(4), ""),  # the writer never came back to say
        (
            b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(9),
            "",
        ),  # a live stream
        (b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x8a" + bytes(9), "1 of 20 bytes are missing"),
    ],
)
def test_sizes_are_followed(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    assert describe_cut(path) == told


@given(
    data=st.binary(max_size=80),
    head=st.sampled_from([b"", b"\0\0\0\x08ftyp", b"RIFF\1\0\0\0AVI ", b"\x1aE\xdf\xa3"]),
)
def test_no_bytes_upset_it(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(head + data)
    assert isinstance(describe_cut(path), str)


def test_a_video_is_opened_again_after_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v.mp4").write_bytes(WHOLE[".mp4"])
    real, tries = av.open, list[int]()

    def interrupted(*given: Any, **options: Any) -> Any:
        tries.append(len(tries))
        if len(tries) % 2:
            raise av.error.InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
        return real(*given, **options)

    monkeypatch.setattr(av, "open", interrupted)
    with VideoReader(tmp_path / "v.mp4") as video:
        assert len(list(video.frames(ALL_FRAMES))) == N
    assert len(tries) > 1


def test_a_fault_of_the_disk_is_not_the_end_of_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.mkv"
    path.write_bytes(WHOLE[".mkv"])
    n_bytes = len(WHOLE[".mkv"])

    class Failing(io.BytesIO):
        """A file of which the last third cannot be read."""

        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > n_bytes * 2 // 3:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(size)

    monkeypatch.setattr(storage, "open_for_library", lambda path: Failing(WHOLE[".mkv"]))
    with pytest.raises(SourceError, match=r"v\.mkv: cannot read: Input/output error") as fault:
        VideoReader(path)
    assert is_fault(fault.value)
