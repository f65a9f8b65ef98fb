"""Odd videos show what ffmpeg shows: the same frames, and pixels within 3 grey levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.core.arrays import Pixels
from faceprep.core.errors import SourceError
from faceprep.video.pieces import index_video, pack_index, unpack_index
from faceprep.video.reader import VIDEO_SUFFIXES, VideoReader
from faceprep.video.sampling import parse_frames
from tests import ffmpeg
from tests.ffmpeg import HDR_TO_SDR, SOFT, needs_ffmpeg
from tests.real import DATA, needs_data

pytest.importorskip("av")
pytestmark = needs_ffmpeg

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-g", "15")
X265 = ("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params")
TO_HDR = (
    SOFT + ",zscale=min=bt709:tin=bt709:pin=bt709:t={0}:p=2020:m=2020_ncl:npl=203,"
    "format=yuv420p10le"
)
INTERLACED = ("-flags", "+ilme+ildct")


def read(path: Path, choice: str = "all") -> tuple[list[int], Pixels, list[str]]:
    """(numbers, pixels, notes) of the chosen frames of a video without damage."""
    with VideoReader(path, n_threads=2) as video:
        found = list(video.frames(parse_frames(choice)))
        assert not video.damage and not video.missed
        numbers, notes = [each.number for each in found], video.notes
    return numbers, np.stack([each.pixels for each in found]), notes


def far(ours: Pixels, theirs: Pixels) -> float:
    """The 99th percentile of the differences in grey levels."""
    assert ours.shape == theirs.shape
    return float(np.percentile(np.abs(ours.astype(np.int16) - theirs), 99))


def check_frames(path: Path, n: int | None = None) -> None:
    numbers, pixels, notes = read(path)
    theirs = ffmpeg.frames(path, pixels.shape[1:3])
    assert numbers == list(range(n or len(theirs))) and not notes
    assert far(pixels, theirs) <= 3


# Time stamps and edit lists


@needs_data
@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("x265_default_cut.mkv", 48),
        ("trim_end.mp4", 30),
        ("off-0.6.mp4", 42),
        ("h264_avi_to_mp4.mp4", 60),
    ],
)
def test_the_cases(name: str, n: int) -> None:
    check_frames(DATA / "cases/video" / name, n)


@pytest.mark.parametrize("start", ["0.3", "0.5"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_cut_out_of_an_open_group(tmp_path: Path, codec: str, start: str) -> None:
    options = "-x264-params" if codec == "libx264" else "-x265-params"
    form = ("-c:v", codec, "-pix_fmt", "yuv420p", "-g", "10", options, "open-gop=1:log-level=none")
    whole = ffmpeg.make(tmp_path / "whole.mkv", *form)
    ffmpeg.run("-ss", start, "-i", whole, "-c", "copy", tmp_path / "cut.mkv")
    check_frames(tmp_path / "cut.mkv")


@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_pictures_before_the_first_key_frame_of_a_recording(
    tmp_path: Path, codec: str, share: float
) -> None:
    """Those that build on a frame before the cut are not counted, but noted."""
    form = ["-c:v", codec, "-pix_fmt", "yuv420p", "-g", "8", "-bf", "2", "-b:v", "1M"]
    if codec != "mpeg2video":
        form += [f"-{codec.removeprefix('lib')}-params", "open-gop=1:scenecut=0:log-level=none"]
    data = ffmpeg.make(tmp_path / "whole.ts", *form).read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(data[int(len(data) * share) // 188 * 188 :])
    numbers, pixels, notes = read(path)
    theirs = ffmpeg.frames(path, (180, 320))[-len(numbers) :]
    assert numbers == list(range(len(numbers))) and len(numbers) >= 6
    assert far(pixels, theirs) <= 3
    assert len(notes) == 1 and "before the first key frame left out" in notes[0]
    index, cut_off = unpack_index(pack_index(*index_video(str(path))))
    with VideoReader(path, 2, (index, cut_off)) as video:
        chosen = list(video.frames(parse_frames("every:5")))
        assert all((each.pixels == pixels[each.number]).all() for each in chosen)
        assert [each.number for each in chosen] == numbers[::5] and video.notes == notes


@pytest.mark.parametrize(("start", "length"), [("0", "0.5"), ("0.4", "0.3"), ("0.61", "1")])
def test_an_edit_list_hides_frames_and_nothing_is_cut_off(
    tmp_path: Path, start: str, length: str
) -> None:
    whole = ffmpeg.make(tmp_path / "whole.mp4", *H264, "-g", "10", "-bf", "2")
    trim = tmp_path / "trim.mp4"
    ffmpeg.run("-ss", start, "-t", length, "-i", whole, "-c", "copy", trim)
    check_frames(trim)


@pytest.mark.parametrize("choice", ["pair", "uniform:5", "every:25"])
def test_an_edit_list_hides_the_only_key_frame(tmp_path: Path, choice: str) -> None:
    whole = ffmpeg.make(tmp_path / "whole.mp4", *H264, "-g", "100", seconds=2)
    ffmpeg.run("-ss", "0.4", "-i", whole, "-c", "copy", tmp_path / "trim.mp4")
    numbers, pixels, _ = read(tmp_path / "trim.mp4", choice)
    assert numbers and (pixels == read(tmp_path / "trim.mp4")[1][numbers]).all()
    assert not index_video(str(tmp_path / "trim.mp4"))[0].keyframes.size


def test_times_of_decoding_taken_for_those_of_display(tmp_path: Path) -> None:
    avi = ffmpeg.make(tmp_path / "a.avi", *H264, "-bf", "3", "-bsf:v", "h264_mp4toannexb")
    ffmpeg.run("-i", avi, "-c", "copy", "-bsf:v", "setts=pts=DTS", tmp_path / "a.mp4")
    check_frames(tmp_path / "a.mp4", 30)
    numbers, pixels, _ = read(tmp_path / "a.mp4", "every:7")
    assert numbers == [0, 7, 14, 21, 28] and (pixels == read(tmp_path / "a.mp4")[1][::7]).all()


@pytest.mark.parametrize(
    ("source", "suffix"),
    [(".avi", ".mp4"), (".avi", ".mkv"), (".avi", ".ts"), (".avi", ".flv"), (".vob", ".mp4")],
)
def test_times_of_display_made_up_from_those_of_decoding(
    tmp_path: Path, source: str, suffix: str
) -> None:
    """Copied out of a file without them, they rise from packet to packet, or some are equal."""
    first = ffmpeg.make(tmp_path / f"a{source}", *H264, "-bf", "3", "-bsf:v", "h264_mp4toannexb")
    ffmpeg.run("-fflags", "+genpts", "-i", first, "-c", "copy", tmp_path / f"b{suffix}")
    check_frames(tmp_path / f"b{suffix}")


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
def test_a_bare_stream_of_mpeg(tmp_path: Path, codec: str) -> None:
    """Old data sets have them as .mpg and .mpeg."""
    path = ffmpeg.make(tmp_path / "a.mpg", "-c:v", codec, "-bf", "2", "-q:v", "3", "-f", codec)
    check_frames(path, 30)
    assert (read(path, "every:7")[1] == read(path)[1][::7]).all()


def test_frames_between_those_with_times_are_spread_evenly(tmp_path: Path) -> None:
    path = ffmpeg.make(tmp_path / "a.mpg", *H264, "-bf", "3")
    with VideoReader(path) as video:
        times = video.index.times
    assert np.abs(times - np.arange(30) / 30).max() < 0.05


# Streams


def test_the_stream_marked_as_default_is_shown(tmp_path: Path) -> None:
    path, red = tmp_path / "two.mkv", "color=red:size=64x64:rate=5:duration=1"
    inputs = ("-f", "lavfi", "-i", red, "-f", "lavfi", "-i", ffmpeg.PATTERN.format(1))
    marks = ("-disposition:v:0", "0", "-disposition:v:1", "default")
    ffmpeg.run(*inputs, "-map", "0", "-map", "1", *H264, *marks, path)
    numbers, pixels, notes = read(path)
    assert len(numbers) == 30 and pixels.shape[1:3] == (180, 320)
    assert notes == ["video stream 2 of 2 used"]


def test_a_cover_picture_alone_is_named(tmp_path: Path) -> None:
    cover = ffmpeg.make(tmp_path / "cover.jpg", "-frames:v", "1")
    sound = ("-f", "lavfi", "-i", "sine=duration=1")
    mark = ("-disposition:v:0", "attached_pic")
    path = tmp_path / "song.m4v"
    ffmpeg.run("-i", cover, *sound, "-map", "0", "-map", "1", "-c:v", "copy", *mark, path)
    with pytest.raises(
        SourceError, match="it has no video stream; it holds a cover picture, audio"
    ):
        VideoReader(path)


# Colours


@pytest.mark.parametrize(
    ("trc", "name"),
    [("arib-std-b67", "HLG"), ("smpte2084", "PQ"), ("2020_10", "BT.2020")],
    ids=["HLG", "PQ", "BT.2020"],
)
def test_wide_colours(tmp_path: Path, trc: str, name: str) -> None:
    tag = "bt2020-10" if name == "BT.2020" else trc
    tags = f"log-level=none:colorprim=bt2020:transfer={tag}:colormatrix=bt2020nc"
    marks = ("-color_primaries", "bt2020", "-color_trc", tag, "-colorspace", "bt2020nc")
    path = ffmpeg.make(
        tmp_path / "a.mov", *X265, tags, *marks, seconds=0.2, filters=TO_HDR.format(trc)
    )
    back = HDR_TO_SDR
    if name == "BT.2020":
        back = "zscale=p=bt709:t=bt709:m=bt709:r=tv,format=yuv444p10le"
    numbers, pixels, notes = read(path)
    theirs = ffmpeg.frames(path, (180, 320), back)
    assert numbers == list(range(6)) and notes == [f"{name} converted to BT.709"]
    assert far(pixels, theirs) <= 3


@needs_data
def test_the_hlg_case() -> None:
    path = DATA / "cases/video/hlg.mov"
    _, pixels, notes = read(path, "every:10")
    theirs = ffmpeg.frames(path, (480, 640), HDR_TO_SDR)
    assert far(pixels, theirs[::10]) <= 3 and notes == ["HLG converted to BT.709"]


@pytest.mark.parametrize(
    "form",
    [
        ("-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p"),
        ("-c:v", "libx264rgb", "-qp", "0"),
        ("-c:v", "ffv1", "-pix_fmt", "gbrp10le"),
        ("-c:v", "ffv1", "-pix_fmt", "rgb48le"),
    ],
    ids=["yuv444p", "rgb", "rgb10", "rgb16"],
)
def test_chroma_of_each_pixel_is_kept(tmp_path: Path, form: tuple[str, ...]) -> None:
    path = ffmpeg.make(tmp_path / "a.mkv", *form, seconds=0.2, filters="null")
    _, pixels, _ = read(path)
    assert np.abs(pixels.astype(int) - ffmpeg.frames(path, (180, 320))).max() <= 1


def test_pictures_with_exif_are_read(tmp_path: Path) -> None:
    check_frames(ffmpeg.make(tmp_path / "a.mov", "-c:v", "tiff", seconds=0.2), 6)


# Shapes


@pytest.mark.parametrize("aspect", ["2", "16/15", "8/9"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pixels_become_square(tmp_path: Path, aspect: str, suffix: str) -> None:
    path = ffmpeg.make(
        tmp_path / f"a{suffix}", *H264, seconds=0.2, filters=f"{SOFT},setsar={aspect}"
    )
    _, pixels, notes = read(path)
    over, _, under = aspect.partition("/")
    width = 320 * int(over) // int(under or 1)
    theirs = ffmpeg.frames(path, (180, width), "scale=iw*sar:ih")
    assert far(pixels, theirs) <= 3
    assert notes == [f"pixels of {over}:{under or 1} made square, 320 × 180 to {width} × 180"]


def test_a_turned_picture_is_squeezed_as_ffmpeg_does_it(tmp_path: Path) -> None:
    wide = ffmpeg.make(tmp_path / "wide.mp4", *H264, seconds=0.2, filters=f"{SOFT},setsar=2")
    path = tmp_path / "turned.mp4"
    ffmpeg.run("-i", wide, "-c", "copy", "-metadata:s:v", "rotate=90", path)
    _, pixels, _ = read(path)
    theirs = ffmpeg.frames(path, (320, 90), "scale=iw*sar:ih")
    assert np.abs(pixels.astype(int) - theirs).mean() < 1  # ffmpeg turns before it scales


@pytest.mark.parametrize("suffix", [".mp4", ".mpg", ".ts"])
def test_fields_become_whole_pictures(tmp_path: Path, suffix: str) -> None:
    codec = ("-c:v", "mpeg2video", "-q:v", "2") if suffix == ".mpg" else H264
    path = ffmpeg.make(
        tmp_path / f"a{suffix}", *codec, *INTERLACED, filters="gblur=2,interlace=lowpass=0"
    )
    numbers, pixels, notes = read(path)
    theirs = ffmpeg.frames(path, (180, 320), "bwdif=mode=send_frame")
    assert numbers == list(range(len(theirs))) and len(theirs) >= 15
    assert far(pixels, theirs) <= 3
    assert notes == ["interlaced pictures deinterlaced (bwdif)"]
    combed = ffmpeg.frames(path, (180, 320))
    assert np.abs(combed.astype(int) - pixels).mean() > 0.05
    for choice in ("every:6", "uniform:3", "pair"):
        chosen, some, _ = read(path, choice)
        assert (some == pixels[chosen]).all()


def test_chosen_frames_of_fields_are_those_of_all_frames_past_a_seek(tmp_path: Path) -> None:
    path = ffmpeg.make(
        *(tmp_path / "a.mp4", *H264, *INTERLACED, "-g", "15", "-an"),
        seconds=6,
        filters="scale=96:64,interlace=lowpass=0",
    )
    _, pixels, _ = read(path)
    for choice in ("uniform:2", "every:45", "keyframes"):
        chosen, some, _ = read(path, choice)
        assert len(chosen) >= 2 and (some == pixels[chosen]).all()


# Containers

CODECS = {
    ".3gp": ("-c:v", "mpeg4"),
    ".3g2": ("-c:v", "mpeg4"),
    ".wmv": ("-c:v", "wmv2"),
    ".asf": ("-c:v", "wmv2"),
    ".flv": ("-c:v", "flv"),
    ".mpg": ("-c:v", "mpeg2video"),
    ".mpeg": ("-c:v", "mpeg1video"),
    ".vob": ("-c:v", "mpeg2video"),
    ".mts": (*H264, "-f", "mpegts"),
    ".ogv": ("-c:v", "libtheora"),
    ".webm": VP8,
    ".avi": ("-c:v", "mpeg4"),
}


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_each_suffix(tmp_path: Path, suffix: str) -> None:
    path = ffmpeg.make(
        tmp_path / f"a{suffix.upper()}", *CODECS.get(suffix, H264), "-g", "12", seconds=2
    )
    check_frames(path)
    _, pixels, _ = read(path)
    chosen, some, _ = read(path, "uniform:3")
    assert (some == pixels[chosen]).all()


# Damage


@pytest.mark.parametrize(
    ("suffix", "codec", "share"),
    [(".mkv", ("-c:v", "ffv1", "-level", "3", "-g", "5"), 1.0), (".mov", ("-c:v", "mjpeg"), 0.2)],
    ids=["ffv1", "mjpeg"],
)
def test_damage_that_the_decoder_can_report(
    tmp_path: Path, suffix: str, codec: tuple[str, ...], share: float
) -> None:
    import av

    path = ffmpeg.make(tmp_path / f"a{suffix}", *codec, seconds=0.5, filters="null")
    whole = path.read_bytes()
    with av.open(str(path)) as container:
        packet = next(p for i, p in enumerate(container.demux(video=0)) if i == 7)
        place, size = whole.index(bytes(packet)), packet.size
    n_named = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        damaged = bytearray(whole)
        at = place + int(rng.integers(size // 4, size * 3 // 4))
        damaged[at : at + 30] = rng.bytes(30)
        path.write_bytes(damaged)
        with VideoReader(path, 2) as video:
            numbers = [frame.number for frame in video.frames()]
            assert video.missed in ([7], []) and numbers + video.missed != numbers[:-1]
            n_named += video.missed == [7]
    assert n_named >= share * 10
