"""Videos of joined parts: all frames, and a report of what FFmpeg does not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.video.pieces import cut_video, index_video, pack_index, unpack_index
from faceprep.video.reader import VideoReader
from faceprep.video.sampling import ALL_FRAMES, parse_frames
from tests import ffmpeg
from tests.ffmpeg import needs_ffmpeg
from tests.video.test_reader_odd import H264, VP8, check_frames, read

pytest.importorskip("av")
pytestmark = needs_ffmpeg

MPEG2 = ("-c:v", "mpeg2video", "-q:v", "3", "-bf", "2")
BACKWARDS = (*H264, "-bf", "3", "-vf", "reverse")


@pytest.mark.parametrize(
    ("suffix", "form", "then"),
    [
        (".ts", (*H264, "-bf", "0"), BACKWARDS),
        (".ts", BACKWARDS, (*H264, "-bf", "0")),
        (".ts", MPEG2, MPEG2),
        (".mpg", MPEG2, MPEG2),
        (".vob", MPEG2, MPEG2),
        (".mkv", BACKWARDS, BACKWARDS),
        (".webm", VP8, VP8),
        (".ogv", VP8, VP8),
    ],
)
def test_parts_joined_by_cat(
    tmp_path: Path, suffix: str, form: tuple[str, ...], then: tuple[str, ...]
) -> None:
    parts = [
        ffmpeg.make(tmp_path / f"1{suffix}", *form),
        ffmpeg.make(tmp_path / f"2{suffix}", *then),
    ]
    path = tmp_path / f"joined{suffix}"
    if suffix not in (".mkv", ".webm"):
        parts.append(parts[0])
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    n = 30 * len(parts)
    check_frames(path, n)
    pixels = read(path)[1]
    for choice in ("every:7", "every:40", "uniform:5", "pair", "keyframes"):
        numbers, chosen, _ = read(path, choice)
        assert (chosen == pixels[numbers]).all()
    index, cut_off = unpack_index(pack_index(*index_video(str(path))))
    assert cut_video(index, ALL_FRAMES, 0.5) == [(0, n, n)]
    assert (np.diff(index.times) > 0.9 / 30).all() and index.times[-1] < (n - 0.9) / 30 + 0.2
    with VideoReader(path, 2, (index, cut_off)) as video:
        late = list(video.frames(parse_frames("all", start=1.5)))
    assert [each.number for each in late] == list(range(late[0].number, n))
    assert 42 <= late[0].number <= 45 and (late[0].pixels == pixels[late[0].number]).all()


@pytest.mark.parametrize("starts", [(0, 100), (100, 0), (0, 5)])
def test_parts_whose_stamps_jump(tmp_path: Path, starts: tuple[float, float]) -> None:
    one = ffmpeg.make(tmp_path / "one.mp4", *H264, "-g", "10")
    parts = [tmp_path / "1.ts", tmp_path / "2.ts"]
    for start, part in zip(starts, parts, strict=True):
        ffmpeg.run("-itsoffset", str(start), "-i", one, "-c", "copy", "-copyts", part)
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    check_frames(path, 60)
    with VideoReader(path) as video:
        steps = np.diff(video.index.times)
    is_gap_kept = starts[1] - starts[0] == 5
    assert (steps > 1).sum() == is_gap_kept and np.isclose(steps, 1 / 30, atol=1e-3).sum() >= 58


@pytest.mark.parametrize("mode", ["0", "1"])
def test_segments_joined_by_cat(tmp_path: Path, mode: str) -> None:
    """FFmpeg marks a sound packet at each join, because the counts of .ts restart."""
    form = (*H264, "-g", "15", "-bf", "2", "-f", "segment", "-segment_time", "0.5")
    form += ("-segment_format_options", f"mpegts_m2ts_mode={mode}")
    ffmpeg.make(tmp_path / "%d.ts", *form, seconds=3)
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join((tmp_path / f"{i}.ts").read_bytes() for i in range(6)))
    check_frames(path, 90)
    _, pixels, _ = read(path)
    chosen, some, _ = read(path, "uniform:2")
    assert (some == pixels[chosen]).all()
    index, _ = unpack_index(pack_index(*index_video(str(path))))
    assert len(cut_video(index, ALL_FRAMES, 0.9)) == 3


@pytest.mark.parametrize(("mode", "size"), [("0", 188), ("1", 192)])
def test_what_is_lost_before_a_key_frame_is_reported(tmp_path: Path, mode: str, size: int) -> None:
    """FFmpeg marks a packet there as well, but no part begins."""
    form = (*H264, "-g", "10", "-bf", "3", "-b:v", "3M", "-mpegts_m2ts_mode", mode)
    path = ffmpeg.make(tmp_path / "a.ts", *form)
    data = path.read_bytes()
    heads = [data[at : at + 4] for at in range(size - 188, len(data), size)]
    own_id = 0x100 if mode == "0" else 0x1011
    video = [
        row for row, head in enumerate(heads) if int.from_bytes(head[1:3], "big") & 0x1FFF == own_id
    ]
    begun = [row for row in video if heads[row][1] & 0x40]
    lost = [row for row in video if begun[19] <= row < begun[20]]
    place = lost[len(lost) // 2] * size
    path.write_bytes(data[:place] + data[place + size :])
    with VideoReader(path) as reader:
        assert len(list(reader.frames())) < 30 and not reader.index.marked_whole
        assert "could not be decoded" in reader.damage


def test_a_part_of_another_codec_is_reported(tmp_path: Path) -> None:
    parts = [ffmpeg.make(tmp_path / "1.ts", *MPEG2), ffmpeg.make(tmp_path / "2.ts", *H264)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with VideoReader(path, n_threads=2) as video:
        numbers = [each.number for each in video.frames(parse_frames("all"))]
        assert numbers[:25] == list(range(25)) and len(numbers) <= 30
        assert len(numbers) + len(video.missed) == len(video) >= 60 and video.damage


def test_headers_in_the_middle_are_no_frames(tmp_path: Path) -> None:
    part = ffmpeg.make(tmp_path / "1.ogv", "-c:v", "libtheora", "-q:v", "6")
    (tmp_path / "2.ogv").write_bytes(part.read_bytes() * 2)
    numbers, pixels, _ = read(tmp_path / "2.ogv")
    assert numbers == list(range(60)) and (pixels == np.tile(read(part)[1], (2, 1, 1, 1))).all()


@pytest.mark.parametrize(
    ("suffix", "codec", "n_read"),
    [(".mp4", H264, 1), (".mkv", H264, 2), (".flv", H264, 1), (".wmv", ("-c:v", "wmv2"), 1)],
)
def test_joined_files_that_ffmpeg_does_not_read_are_reported(
    tmp_path: Path, suffix: str, codec: tuple[str, ...], n_read: int
) -> None:
    part = ffmpeg.make(tmp_path / f"1{suffix}", *codec).read_bytes()
    path = tmp_path / f"joined{suffix}"
    path.write_bytes(part * (n_read + 1))
    with VideoReader(path) as video:
        assert len(list(video.frames())) == len(video) == 30 * n_read
        parts = f"{n_read + 1} files are joined in it"
        assert video.damage == f"{parts}, and FFmpeg does not read all of them"


def test_segments_in_fragments_that_were_joined_are_one_video(tmp_path: Path) -> None:
    form = ("-f", "hls", "-hls_time", "0.3", "-hls_segment_type", "fmp4")
    ffmpeg.make(tmp_path / "a.m3u8", *H264, "-g", "10", *form)
    begin, path = (tmp_path / "init.mp4").read_bytes(), tmp_path / "joined.mp4"
    path.write_bytes(b"".join(begin + (tmp_path / f"a{i}.m4s").read_bytes() for i in range(3)))
    check_frames(path, 30)


def test_joined_files_in_fragments_are_reported(tmp_path: Path) -> None:
    """FFmpeg hides the first fragment of each file but the first."""
    fragments = ("-g", "10", "-movflags", "frag_keyframe+empty_moov")
    part = ffmpeg.make(tmp_path / "1.mp4", *H264, *fragments).read_bytes()
    path = tmp_path / "joined.mp4"
    path.write_bytes(part * 2)
    with VideoReader(path) as video:
        assert [each.number for each in video.frames()] == list(range(50))
        assert (np.diff(video.index.times) > 0).all()
        told = "2 files are joined in it, and FFmpeg hides frames where they meet"
        assert video.damage == told
