"""frames.parquet of extract-video: a row for every wanted frame; and pairs of frames."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from faceprep import Inspect, Request, SerialRunner, run_job
from faceprep.run.preview import preview_job
from faceprep.synthetic.video import VideoStyle, face_box
from faceprep.video.siw_boxes import face_lines
from tests.videos import SIDE, SIZE, PatchVideo, extract, failures, film, numbers, rows

STATUSES = {"r": "ok", "b": "low_score", "y": "no_crop", ".": "no_face"}


def frames(output: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(output / "frames.parquet").to_pylist()
    return found


def test_every_wanted_frame_has_a_row(tmp_path: Path) -> None:
    letters = "r..rby" * 4
    film(tmp_path / "in" / "b.mp4", letters, VideoStyle(b_frames=2))
    film(tmp_path / "in" / "a.mp4", "R.")
    summary = extract(tmp_path / "in", tmp_path / "out")
    table = frames(tmp_path / "out")
    assert [(row["source"], row["frame"]) for row in table] == [
        *(("a.mp4", number) for number in range(2)),
        *(("b.mp4", number) for number in range(len(letters))),
    ]
    assert [row["status"] for row in table[2:]] == [STATUSES[letter] for letter in letters]
    assert table[0]["faces"] == 2 and [row["faces"] for row in table[2:8]] == [1, 0, 0, 1, 0, 1]
    assert Counter(row["status"] for row in table) == summary.by_status
    times = {row["frame"]: row["time_s"] for row in rows(tmp_path / "out") if row["key"][0] == "b"}
    assert times == {row["frame"]: row["time_s"] for row in table[2:] if row["status"] == "ok"}
    assert all((row["reason"] == "") == (row["status"] == "ok") for row in table)
    assert {row["track"] for row in table} == {row["has_box"] for row in table} == {None}


def test_frames_that_cannot_be_decoded_have_a_row(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mkv", "r" * 60, VideoStyle(b_frames=2))
    data = bytearray(video.read_bytes())
    for place in range(len(data) // 3, len(data) // 3 + 600, 3):
        data[place] ^= 0x5A
    video.write_bytes(data)
    summary = extract(video, tmp_path / "out")
    table = frames(tmp_path / "out")
    assert [row["frame"] for row in table] == list(range(len(table)))
    lost = [row for row in table if row["status"] == "undecodable"]
    assert 0 < len(lost) == summary.by_status["undecodable"]
    assert all(row["faces"] is None and row["time_s"] is not None for row in lost)


def test_boxes_of_the_face_file(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mov", "r.rr")
    boxes = face_lines([face_box(number, SIZE, (SIDE, SIDE)) for number in range(2)])
    (tmp_path / "v.face").write_bytes(boxes + b"0 0 0 0\n900 900 950 950\n")
    extract(video, tmp_path / "out")
    assert [row["has_box"] for row in frames(tmp_path / "out")] == [True, True, False, False]
    assert numbers(tmp_path / "out_original" / "v") == [0, 1]


def test_inspect_names_the_table(tmp_path: Path) -> None:
    extract(film(tmp_path / "v.mp4", "r.r."), tmp_path / "out")
    found = Inspect().look(tmp_path / "out" / "frames.parquet")
    assert (found.kind, found.details["frames"], found.details["videos"]) == ("frames", 4, 1)
    assert found.details["by_status"] == {"ok": 2, "no_face": 2}


@pytest.mark.parametrize("piece_s", [0.2, 60.0])
def test_a_dry_run_counts_no_frame_where_none_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_s: float
) -> None:
    monkeypatch.setattr(PatchVideo, "piece_s", piece_s)
    film(tmp_path / "in" / "long.mp4", "r" * 60)
    film(tmp_path / "in" / "short.mp4", "r" * 24)
    job, request = PatchVideo(start=1.5), Request((tmp_path / "in",), tmp_path / "out")
    dry = preview_job(job, request)
    real = run_job(job, request, SerialRunner())
    assert dry.inputs == real.inputs == 15


# Pairs


@pytest.mark.parametrize(
    ("letters", "pair", "reported"),
    [
        ("r" * 20, [6, 16], []),
        ("r" * 6 + "." + "r" * 13, [16], ["frame 6: no face found"]),
        ("r" * 6 + "." + "r" * 9 + "b" + "r" * 3, [], []),
        ("r", [0], ["too short for a pair: 1 frame"]),
    ],
)
def test_a_pair_reports_what_is_missing(
    tmp_path: Path, letters: str, pair: list[int], reported: list[str]
) -> None:
    extract(film(tmp_path / "v.mp4", letters), tmp_path / "out", frames="pair")
    assert numbers(tmp_path / "out" / "v") == pair
    expected = ["incomplete_pair"] * len(reported) or ["no_face_in_video"] * (not pair)
    assert failures(tmp_path / "out") == [("v.mp4", status) for status in expected]
    if reported:
        assert reported[0] in (tmp_path / "out" / "failures.csv").read_text()


def test_a_pair_of_faces_skips_frames_without_one(tmp_path: Path) -> None:
    letters = "." * 9 + "r.y" * 12
    video = film(tmp_path / "v.mp4", letters)
    (tmp_path / "v.face").write_bytes(
        face_lines([face_box(number, SIZE, (SIDE, SIDE)) for number in range(len(letters))])
    )
    summary = extract(video, tmp_path / "out", frames="pair:faces")
    with_face = [number for number, letter in enumerate(letters) if letter == "r"]
    pair = [with_face[6], with_face[11]]
    assert numbers(tmp_path / "out" / "v") == pair == numbers(tmp_path / "out_original" / "v")
    assert [row["frame"] for row in rows(tmp_path / "out")] == pair
    assert summary.inputs == len(frames(tmp_path / "out")) == len(letters)
    extract(video, tmp_path / "all")
    for number in pair:
        name = f"v/{number}.png"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()
    assert failures(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("letters", "reason"),
    [
        ("r", "too short for a pair: 1 frame"),
        (".r", "only 1 of its 2 frames has a face, but a pair needs two"),
    ],
)
def test_why_a_pair_of_faces_is_incomplete(tmp_path: Path, letters: str, reason: str) -> None:
    extract(film(tmp_path / "v.mp4", letters), tmp_path / "out", frames="pair:faces")
    assert reason in (tmp_path / "out" / "failures.csv").read_text()


@pytest.mark.parametrize(("letters", "pair"), [("...r..", [3]), ("..r.rr", [2, 5])])
def test_a_pair_of_few_faces(tmp_path: Path, letters: str, pair: list[int]) -> None:
    extract(film(tmp_path / "v.mp4", letters), tmp_path / "out", frames="pair:faces")
    assert numbers(tmp_path / "out" / "v") == pair
    reported = [("v.mp4", "incomplete_pair")] if len(pair) == 1 else []
    assert failures(tmp_path / "out") == reported
