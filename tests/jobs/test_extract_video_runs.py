"""extract-video whoever carries it out, killed and stopped anywhere, and with real weights on
real videos.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceprep import ExtractVideo, ProcessRunner, Request, SerialRunner, run_job
from faceprep.core import storage
from faceprep.core.errors import Interrupted
from faceprep.synthetic.video import VideoStyle, face_box, write_siw_like
from faceprep.video.siw_boxes import face_lines
from faceprep.vision.codec import decode
from tests.command import faceprep
from tests.fakes import before_changes, killed_before, results, start, status_of, tree
from tests.photos import astronaut
from tests.real import DATA, ROOT, needs_data
from tests.turns import points_of_the_day
from tests.videos import SIDE, SIZE, extract, failures, film, numbers, rows

LETTERS = ("rr.b" * 5, "r" * 30, ".b..", "rR" * 6)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sound ones, two with boxes; one cut off, one damaged in its middle, one that is none."""
    root = tmp_path_factory.mktemp("videos")
    for number, letters in enumerate(LETTERS):
        film(root / f"{number}.mp4", letters, VideoStyle(b_frames=2))
    boxes = face_lines([face_box(number, SIZE, (SIDE, SIDE)) for number in range(20)])
    (root / "0.face").write_bytes(boxes)
    (root / "1.face").write_bytes(boxes + b"garbage\n")
    data = film(root / "cut.mkv", "r" * 60).read_bytes()
    (root / "cut.mkv").write_bytes(data[: len(data) // 2])
    whole = bytearray(film(root / "damaged.mkv", "r" * 60, VideoStyle(b_frames=2)).read_bytes())
    for place in range(len(whole) // 3, len(whole) // 3 + 600, 3):
        whole[place] ^= 0x5A
    (root / "damaged.mkv").write_bytes(whole)
    (root / "text.mov").write_text("no video")
    return root


def everything(output: Path) -> dict[str, bytes | None]:
    """Return what a user sees in both folders."""
    both = (output, output.with_name(output.name + "_original"))
    return {
        f"{folder.name}/{name}": data for folder in both for name, data in results(folder).items()
    }


@pytest.mark.parametrize("n_opened", [1, 2])
def test_a_video_that_could_not_be_opened_is_tried_again(
    n_opened: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails once the run is planned."""
    (tmp_path / "in").mkdir()
    video = film(tmp_path / "in" / "a.mp4", "r.b" * 5)
    extract(video.parent, tmp_path / "whole")
    real, opened = storage.open_regular, list[str]()

    def refuse(path: str | os.PathLike[str]) -> int:
        if str(path) == str(video):
            opened.append(str(path))
            if len(opened) > n_opened:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "open_regular", refuse)
        assert extract(video.parent, tmp_path / "out").failed
    extract(video.parent, tmp_path / "out")
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_the_same_bytes_whoever_carries_it_out(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One video with all cores, or several with one each."""
    summaries, found = [], []
    for name, runner, cores in (
        ("a", SerialRunner(), 1),
        ("b", SerialRunner(), 4),
        ("c", ProcessRunner(2), 0),
    ):
        monkeypatch.setenv("FACEPREP_CORES", str(cores))
        (tmp_path / name).mkdir()
        output = tmp_path / name / "out"
        summaries.append(extract(videos, output, runner).by_status)
        found.append(everything(output) | {"failures": (output / "failures.csv").read_bytes()})
    assert summaries[0] == summaries[1] == summaries[2]
    assert found[0] == found[1] == found[2]
    assert {"cut_off", "undecodable", "no_face_in_video", "face_rows"} <= summaries[0].keys()
    assert len(found[0]) > 100


def test_no_thread_outlives_the_run(videos: Path, tmp_path: Path) -> None:
    before = threading.active_count()
    extract(videos, tmp_path / "out")
    assert threading.active_count() == before


# Stopped


@pytest.fixture(scope="module")
def two_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two")
    film(root / "a.mp4", "rr.r")
    film(root / "b.mp4", "rbr")
    (root / "a.face").write_bytes(
        face_lines([face_box(number, SIZE, (SIDE, SIDE)) for number in range(4)])
    )
    return root


def drive(
    source: Path, output: Path, act: Callable[[str, int], None] = lambda name, number: None
) -> list[str]:
    with before_changes(act) as made:
        extract(source, output)
    return made


def ctrl_c_before(change: int) -> Callable[[str, int], None]:
    return lambda name, number: signal.raise_signal(signal.SIGINT) if number == change else None


def test_killed_in_the_middle_of_a_video(two_videos: Path, tmp_path: Path) -> None:
    n_changes = len(drive(two_videos, tmp_path / "whole" / "out"))
    expected = tree(tmp_path / "whole")
    assert n_changes > 50 and len([name for name in expected if name.endswith(".png")]) == 9
    for change in points_of_the_day(range(1, n_changes + 1), 10):
        root = tmp_path / f"killed {change}"
        child = start(
            lambda root=root, change=change: drive(two_videos, root / "out", killed_before(change))
        )
        assert status_of(child) == -signal.SIGKILL
        halves = {path.parent.name for path in root.glob("out/?/*.png")}
        for half in halves:
            whole = [path.name for path in (tmp_path / "whole" / "out" / half).iterdir()]
            assert change > n_changes // 4 and set(os.listdir(root / "out" / half)) <= set(whole)
        drive(two_videos, root / "out")
        assert tree(root) == expected, f"killed before change {change}"


def test_stopped_in_the_middle_of_a_video(two_videos: Path, tmp_path: Path) -> None:
    n_changes = len(drive(two_videos, tmp_path / "whole" / "out"))
    expected, n_told = tree(tmp_path / "whole"), 0
    before = threading.active_count()
    for change in range(12, n_changes - 12, 14):
        root = tmp_path / f"stopped {change}"
        try:
            drive(two_videos, root / "out", ctrl_c_before(change))
        except Interrupted:
            n_told += 1
        assert threading.active_count() == before
        drive(two_videos, root / "out")
        assert tree(root) == expected, f"Ctrl-C before change {change}"
    assert n_told > 3


# Real weights


def command(*arguments: str | Path) -> tuple[int, dict[str, object], str]:
    """Exit status, the object that --json prints, and the text on stderr."""
    done = faceprep("extract-video", *arguments, "--json", cwd=ROOT)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_drawn_tree_with_each_defect_of_siw(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    write_siw_like(tmp_path / "tree", n_frames=12, face=astronaut()[20:220:2, 140:340:2])
    summary = run_job(
        ExtractVideo(), Request((tmp_path / "tree",), tmp_path / "out"), SerialRunner()
    )
    assert [status for _, status in failures(tmp_path / "out")] == [
        "bad_face_row",
        "face_rows",
        "undecodable",
    ]
    assert summary.by_status == {
        "bad_face_row": 1,
        "face_rows": 1,
        "ok": 60,
        "repaired": 2,
        "undecodable": 1,
    }
    assert numbers(tmp_path / "out/Test/live/009/009-1-1-1-1") == list(range(12))
    assert numbers(tmp_path / "out_original/Test/live/009/009-1-1-1-1") == list(range(12))
    assert numbers(tmp_path / "out_original/Test/spoof/032/032-2-3-4-1") == list(range(6))


@needs_data
def test_the_real_tree_with_each_defect_of_siw(tmp_path: Path) -> None:
    status, told, _ = command(DATA / "siw_like", tmp_path / "out")
    assert status == 3
    out, original = tmp_path / "out", tmp_path / "out_original"
    assert failures(out) == [
        ("Test/spoof/032/032-2-3-4-1.face#34", "bad_face_row"),
        ("Test/spoof/032/032-2-3-4-1.face", "face_rows"),
        ("Test/spoof/032/032-2-3-4-2.mov", "undecodable"),
        ("Train/spoof/121/121-2-3-2-1.mov", "no_face_in_video"),
    ]
    assert told["unit"] == "frame"
    assert told["others"] == {
        ".face file": {"face_rows": 1},
        ".face row": {"bad_face_row": 1, "repaired": 6},
        "video": {"no_face_in_video": 1, "undecodable": 1},
    }
    assert (told["inputs"], told["ok"]) == (215, 195), "frames alone; one video is turned"
    by_status = told["by_status"]
    assert isinstance(by_status, dict) and (by_status["repaired"], by_status["no_face"]) == (6, 20)
    n_frames = {"Train/live/003/003-1-1-1-1": 45, "Train/spoof/006/006-2-3-4-1": 40}
    n_frames |= {"Test/live/009/009-1-1-1-1": 40, "Test/spoof/032/032-2-3-4-1": 40}
    for name, n in n_frames.items():
        assert numbers(out / name) == list(range(n))
        assert numbers(original / name) == list(range(min(n, 34) if "032" in name else n))
    upside_down = numbers(out / "Test/live/004/004-1-2-1-2")
    assert len(upside_down) >= 15 and upside_down[-1] < 30
    with (original / "face_files.csv").open(newline="") as file:
        notes = list(csv.DictReader(file))
    repairs = [note for note in notes if note["status"] == "repaired"]
    assert [note["face_file"].rpartition("#")[2] for note in repairs] == [
        "3",
        "10",
        "17",
        "24",
        "31",
        "38",
    ]
    assert "y1 is missing" in repairs[0]["reason"]


@needs_data
def test_the_clip(tmp_path: Path) -> None:
    status, told, _ = command(
        DATA / "video" / "short_hamilton_clip.mp4", tmp_path / "out", "--every", "25"
    )
    assert status == 0 and told["inputs"] == told["ok"] == 11
    assert numbers(tmp_path / "out" / "short_hamilton_clip") == list(range(0, 275, 25))
    for row in rows(tmp_path / "out"):
        crop = decode((tmp_path / "out" / row["output"]).read_bytes())
        assert crop.shape == (112, 112, 3)
        assert row["score"] >= 0.8 and abs(row["time_s"] - row["frame"] / 29.97) < 0.01
        points = (
            np.reshape(row["landmarks"], (5, 2)) @ np.reshape(row["transform"], (2, 3))[:, :2].T
        )
        points += np.reshape(row["transform"], (2, 3))[:, 2]
        assert ((points > 20) & (points < 100)).all()
