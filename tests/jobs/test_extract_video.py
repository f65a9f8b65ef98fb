"""extract-video on drawn videos: every frame its number, its crop, its Outcome."""

from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from faceprep import SerialRunner
from faceprep.core import os_errors
from faceprep.core.errors import MissingExtra, OptionError, OutputError, SourceError
from faceprep.jobs.extract_video import siw_crops
from faceprep.jobs.extract_video.videos import name_folders
from faceprep.synthetic.video import VideoStyle, face_box, frame_times
from faceprep.video.reader import Frame, VideoReader
from faceprep.video.sampling import ALL_FRAMES, FrameChoice
from faceprep.video.siw_boxes import FaceBoxes, face_lines, stem_of
from faceprep.vision.codec import decode
from tests.fakes import results
from tests.real import ROOT
from tests.videos import BLUE, RED, SIDE, SIZE, PatchVideo, extract, failures, film, numbers, rows


def colour_of(path: Path) -> list[int]:
    """The middle of an image."""
    pixels = decode(path.read_bytes())
    found: list[int] = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].tolist()
    return found


def test_numbers_are_true_through_misses(tmp_path: Path) -> None:
    letters = "r..rby" * 6
    summary = extract(film(tmp_path / "v.mp4", letters, VideoStyle(b_frames=2)), tmp_path / "out")
    found = [number for number, letter in enumerate(letters) if letter == "r"]
    assert summary.by_status == {"low_score": 6, "no_crop": 6, "no_face": 12, "ok": 12}
    assert (summary.inputs, summary.failed, summary.outputs) == (36, 0, 14)
    assert numbers(tmp_path / "out" / "v") == found
    table = rows(tmp_path / "out")
    assert [row["frame"] for row in table] == found
    for row in table:
        box = [row[name] for name in ("x1", "y1", "x2", "y2")]
        np.testing.assert_allclose(box, face_box(row["frame"], SIZE, (SIDE, SIDE)), atol=2)
        assert (row["source"], row["output"]) == ("v.mp4", f"v/{row['frame']}.png")
        assert row["key"] == f"v/{row['frame']}" and row["template"] == "arcface-112"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_red_stays_red(tmp_path: Path, suffix: str) -> None:
    video = film(tmp_path / "v.mov", "rrr")
    (tmp_path / "v.face").write_bytes(
        face_lines([face_box(i, SIZE, (SIDE, SIDE)) for i in range(3)])
    )
    extract(video, tmp_path / "out", format=suffix[1:])
    for folder in ("out", "out_original"):
        for number in range(3):
            np.testing.assert_allclose(
                colour_of(tmp_path / folder / "v" / f"{number}{suffix}"), RED, atol=12
            )
    assert decode((tmp_path / "out" / "v" / f"0{suffix}").read_bytes()).shape == (112, 112, 3)
    assert decode((tmp_path / "out_original" / "v" / f"0{suffix}").read_bytes()).shape == (
        SIDE,
        SIDE,
        3,
    )


def test_quality_and_template(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mkv", "r")
    sizes = []
    for quality in (20, 100):
        extract(
            video, tmp_path / str(quality), format="jpg", quality=quality, template="arcface-224"
        )
        data = (tmp_path / str(quality) / "v" / "0.jpg").read_bytes()
        assert decode(data).shape == (224, 224, 3)
        sizes.append(len(data))
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"every": 4}, [0, 4, 8, 12]),
        ({"frames": "every:4"}, [0, 4, 8, 12]),
        ({"frames": "uniform:3"}, [2, 7, 12]),
        ({"frames": "pair"}, [6, 13]),
        ({"start": 0.2, "end": 0.4}, [6, 7, 8, 9, 10, 11]),
        ({"every": 5, "start": 0.2}, [10]),
    ],
)
def test_frames_keep_their_numbers(
    tmp_path: Path, options: dict[str, object], wanted: list[int]
) -> None:
    summary = extract(film(tmp_path / "v.mp4", "r" * 15), tmp_path / "out", **options)
    assert numbers(tmp_path / "out" / "v") == wanted
    assert summary.by_status == {"ok": len(wanted)}
    for row in rows(tmp_path / "out"):
        assert abs(row["x1"] - face_box(row["frame"], SIZE, (SIDE, SIDE))[0]) <= 2


def test_keyframes(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mp4", "r" * 15, VideoStyle(key_every=4))
    extract(video, tmp_path / "out", frames="keyframes")
    with VideoReader(video) as reader:
        keyframes = reader.index.keyframes.tolist()
    assert numbers(tmp_path / "out" / "v") == keyframes and 4 <= len(keyframes) < 10


def test_all_faces(tmp_path: Path) -> None:
    extract(film(tmp_path / "v.mp4", "rR."), tmp_path / "out", all_faces=True)
    assert sorted(path.name for path in (tmp_path / "out" / "v").iterdir()) == [
        "0_0.png",
        "1_0.png",
        "1_1.png",
    ]
    table = rows(tmp_path / "out")
    assert [row["key"] for row in table] == ["v/0_0", "v/1_0", "v/1_1"]
    assert table[1]["score"] > table[2]["score"] and table[2]["x1"] < 15
    extract(film(tmp_path / "v.mp4", "rR."), tmp_path / "surest")
    assert [row["x1"] for row in rows(tmp_path / "surest")] == [table[0]["x1"], table[1]["x1"]]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_videos_come_upright(tmp_path: Path, rotation: int) -> None:
    extract(film(tmp_path / "v.mp4", "rrr", VideoStyle(rotation=rotation)), tmp_path / "out")
    table = rows(tmp_path / "out")
    assert [(row["image_height"], row["image_width"]) for row in table] == [SIZE] * 3
    for row in table:
        corner = face_box(row["frame"], SIZE, (SIDE, SIDE))[:2]
        np.testing.assert_allclose([row["x1"], row["y1"]], corner, atol=2)


def test_times_are_those_of_the_video(tmp_path: Path) -> None:
    style = VideoStyle(fps=10, varies=True)
    extract(film(tmp_path / "v.mp4", "r" * 9, style), tmp_path / "out")
    times = [row["time_s"] for row in rows(tmp_path / "out")]
    np.testing.assert_allclose(times, [float(time) for time in frame_times(9, style)], atol=1e-3)


# Names


def test_a_tree_and_files_are_mirrored(tmp_path: Path) -> None:
    tree, single = tmp_path / "tree", film(tmp_path / "single.avi", "r")
    film(tree / "a" / "x.m.mov", "r")
    film(tree / "b.mp4", "r")
    film(tree / "b.mkv", "b")
    summary = extract([tree, single], tmp_path / "out")
    found = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")
    )
    assert found == ["a/x.m/0.png", "b.mp4/0.png", "single/0.png"]
    assert summary.by_status == {"low_score": 1, "no_face_in_video": 1, "ok": 3}
    assert failures(tmp_path / "out") == [("b.mkv", "no_face_in_video")]
    assert {row["source"] for row in rows(tmp_path / "out")} == {"a/x.m.mov", "b.mp4", "single.avi"}
    assert extract([tree, single], tmp_path / "two", limit=1).inputs == 1


def test_folders_are_nobody_elses() -> None:
    paths = ["a.mov", "a.mp4", "a.mov.mkv", "faces.parquet.mp4", ".faceprep.mov", "b/c.avi"]
    names = name_folders({path: stem_of(path, None) for path in paths})
    assert names == {
        "a.mov": "a.mov",
        "a.mp4": "a.mp4",
        "a.mov.mkv": "a.mov.mkv",
        "faces.parquet.mp4": "faces.parquet.mp4",
        ".faceprep.mov": ".faceprep.mov",
        "b/c.avi": "b/c",
    }


def test_two_videos_for_one_folder_are_refused(tmp_path: Path) -> None:
    one, other = film(tmp_path / "1" / "v.mp4", "r"), film(tmp_path / "2" / "v.mp4", "r")
    with pytest.raises(SourceError, match="two videos would have the same output") as told:
        extract([one, other], tmp_path / "out")
    assert str(one) in str(told.value) and str(other) in str(told.value)
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"no videos here: expected \.mov.*\. extract-photos"):
        extract(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(OutputError, match="the output would be inside the input"):
        film(tmp_path / "tree" / "v.mp4", "r")
        extract(tmp_path / "tree", tmp_path / "tree" / "out")


def test_the_output_may_lie_beside_the_video(tmp_path: Path) -> None:
    assert extract(film(tmp_path / "v.mp4", "r"), tmp_path / "v").ok == 1


# What is wrong with a video


def test_what_is_no_video_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    film(tree / "a.mp4", "r")
    (tree / "b.mp4").write_text("not a video at all\n")
    (tree / "c.mp4").write_bytes(b"")
    film(tree / "d.mp4", "b.b")
    film(tree / "e.mp4", ".")
    summary = extract(tree, tmp_path / "out")
    named = [("b.mp4", "undecodable"), ("c.mp4", "undecodable"), ("d.mp4", "no_face_in_video")]
    assert failures(tmp_path / "out") == [*named, ("e.mp4", "no_face_in_video")]
    assert (summary.ok, summary.failed) == (1, 4)
    told = (tmp_path / "out" / "failures.csv").read_text()
    assert not any(f"{name}: " in told for name, _ in named), "a reason repeats no path"
    assert "no face in its 3 wanted frames, 2 with a face below the minimum score" in told
    assert "no face in its 1 wanted frame\n" in told.replace("\r", "")


def test_a_video_that_ends_before_the_span_is_named(tmp_path: Path) -> None:
    extract(film(tmp_path / "v.mp4", "rrr"), tmp_path / "out", start=100.0)
    assert failures(tmp_path / "out") == [("v.mp4", "no_frames")]


def test_what_can_be_decoded_of_a_cut_off_video_is_kept(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mkv", "r" * 60)
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    summary = extract(video, tmp_path / "out")
    kept = numbers(tmp_path / "out" / "v")
    assert 5 < len(kept) < 55 and kept == list(range(len(kept)))
    assert failures(tmp_path / "out")[-1] == ("v.mkv", "cut_off")
    assert summary.ok == len(kept)
    assert f"{len(kept)} frames were kept" in (tmp_path / "out" / "failures.csv").read_text()
    extract(video, tmp_path / "one", end=0.01)
    assert "1 frame was kept" in (tmp_path / "one" / "failures.csv").read_text()


def test_what_was_decoded_before_the_file_was_gone_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = VideoReader.frames

    def until_it_is_gone(self: VideoReader, choice: FrameChoice = ALL_FRAMES) -> Iterator[Frame]:
        yield from islice(whole(self, choice), 10)
        raise SourceError("cannot open", path="v.mp4", found="no such file")

    film(tmp_path / "tree" / "v.mp4", "r" * 20)
    film(tmp_path / "tree" / "w.mp4", "r" * 20)
    monkeypatch.setattr(VideoReader, "frames", until_it_is_gone)
    summary = extract(tmp_path / "tree", tmp_path / "out")
    assert failures(tmp_path / "out") == [("v.mp4", "undecodable"), ("w.mp4", "undecodable")]
    assert (
        summary.ok == len(rows(tmp_path / "out")) == len(list(tmp_path.glob("out/*/*.png"))) == 16
    )


# .face files


def test_the_boxes_of_a_face_file(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mov", "r.rbr")
    boxes = [np.array(face_box(i, SIZE, (SIDE, SIDE)), float) for i in range(4)]
    boxes[2][:] = np.nan
    (tmp_path / "v.face").write_bytes(face_lines(boxes) + b"400 10 500 60\n")
    summary = extract(video, tmp_path / "out", margin=2.0)
    folder = tmp_path / "out_original" / "v"
    assert numbers(folder) == [0, 1, 3]
    assert decode((folder / "0.png").read_bytes()).shape == (2 * SIDE, 2 * SIDE, 3)
    np.testing.assert_allclose(colour_of(folder / "3.png"), BLUE, atol=12)
    assert failures(tmp_path / "out") == [("v.face#4", "bad_face_row")]
    assert summary.by_status == {"bad_face_row": 1, "low_score": 1, "no_face": 1, "ok": 3}
    told = (tmp_path / "out_original" / "face_files.csv").read_text().splitlines()
    assert {len(row) for row in csv.reader(told)} == {3}, "three columns as in the header"
    assert told[0] == "face_file,status,reason" and told[1].startswith("v.face#4,bad_face_row,")


def test_boxes_that_the_disk_did_not_give_are_named_and_cut_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They fail in the piece alone: the stage that joins the pieces reads them."""
    video = film(tmp_path / "v.mov", "rrrr")
    boxes = [np.array(face_box(i, SIZE, (SIDE, SIDE)), float) for i in range(4)]
    (tmp_path / "v.face").write_bytes(face_lines(boxes))
    extract(video, tmp_path / "whole")
    real, reads = siw_crops.read_face_boxes, []

    def read_badly(path: str, fill: str) -> FaceBoxes:
        reads.append(path)
        with os_errors.guard("read", path, SourceError):
            if len(reads) == 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, fill)

    monkeypatch.setattr(siw_crops, "read_face_boxes", read_badly)
    assert extract(video, tmp_path / "out").by_status == {"bad_face_file": 1, "ok": 4}
    assert failures(tmp_path / "out") == [("v.face", "bad_face_file")]
    assert extract(video, tmp_path / "out").by_status == {"ok": 4}
    assert results(tmp_path / "out_original") == results(tmp_path / "whole_original")


def test_a_face_file_names_the_folder_of_its_video(tmp_path: Path) -> None:
    """SiW's names are fields of its protocols, and some of its videos are named `.m.mov`."""
    for name in ("009-1-1-1-1.m.mov", "x.m.mov", "y.m.mov"):
        film(tmp_path / "src" / name, "r")
    for name in ("009-1-1-1-1.face", "x.m.face"):
        (tmp_path / "src" / name).write_text("10 10 60 60\n")
    extract(tmp_path / "src", tmp_path / "out")
    folders = {path.parent.name for path in (tmp_path / "out").glob("*/0.png")}
    assert folders == {"009-1-1-1-1", "x.m", "y.m"}


def test_a_converted_video_is_counted_and_files_of_other_kinds_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import av

    path = film(tmp_path / "src" / "a.mkv", "rr")
    with av.open(str(path)) as old, av.open(str(tmp_path / "src/wide.mkv"), "w") as new:
        stream = new.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.sample_aspect_ratio = 180, 160, Fraction(2)
        for frame in old.decode(video=0):
            new.mux(stream.encode(frame.reformat(160, 180, "yuv420p")))
        new.mux(stream.encode())
    path.unlink()
    for name in ("notes.TXT", "wide.face", "bob/photo.jpg"):
        (tmp_path / "src" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "src" / name).write_text("0 0 0 0\n0 0 0 0\n")
    with caplog.at_level("DEBUG", "faceprep"):
        summary = extract(tmp_path / "src", tmp_path / "out")
    assert summary.others == {"video": {"converted": 1}} and not summary.failed
    assert summary.details["skipped"] == {".jpg": 1, ".txt": 1}
    assert "wide.mkv: pixels of 2:1 made square, 160 × 180 to 320 × 180" in caplog.text
    assert "2 files skipped, not videos: 1 .jpg, 1 .txt" in caplog.text
    assert "1 folder has files but no videos: bob" in caplog.text
    assert "'notes.TXT' skipped" in caplog.text and "wide.face" not in caplog.text
    assert rows(tmp_path / "out")[0]["image_width"] == 320


def test_no_face_file_no_folder(tmp_path: Path) -> None:
    extract(film(tmp_path / "v.mov", "r"), tmp_path / "out")
    assert not (tmp_path / "out_original").exists() or not list(
        (tmp_path / "out_original").iterdir()
    )


# Options


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"every": 0}, "^invalid --every: expected"),
        ({"every": 2, "frames": "pair"}, "^--every and --frames exclude each other"),
        ({"frames": "some"}, "expected all, every:N"),
        ({"format": "bmp"}, "^invalid --format: expected png or jpg"),
        ({"quality": 0}, "1 to 100"),
        ({"margin": 9.0}, r"0\.1 to 5"),
        ({"face_fill": "guess"}, "neighbours or origin"),
        ({"start": 3.0, "end": 2.0}, "more than the start"),
        ({"min_score": 3.0}, "^invalid --min-score: expected 0 to 1"),
        ({"min_face": -1}, "^invalid --min-face: expected"),
        ({"template": "what"}, "unknown template"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, object], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        PatchVideo(**options)  # type: ignore[arg-type]


def test_a_missing_package_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = film(tmp_path / "v.mp4", "r")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"pip install 'faceprep\[video\]'"):
        extract(video, tmp_path / "out", SerialRunner())
    assert not list(tmp_path.glob("out/**/*.png"))


def test_the_command_tells_it_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "faceprep",
            "extract-video",
            str(tmp_path),
            str(tmp_path / "out"),
            "--every",
            "0",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "every" in done.stderr
