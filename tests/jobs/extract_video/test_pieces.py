"""A long video in pieces: the same bytes whatever the pieces, killed and resumed in its middle."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import pytest

from faceprep import ProcessRunner, Request, SerialRunner, run_job
from faceprep.core import storage
from faceprep.core.arrays import Pixels
from faceprep.core.errors import OutputError, ResumeError
from faceprep.core.faces import Faces
from faceprep.core.types import Runner, ShardReport, Share, Stage, Summary
from faceprep.jobs.extract_video.plan import Planner
from faceprep.jobs.extract_video.videos import Video
from faceprep.run.drive import Progress
from faceprep.synthetic.video import VideoStyle, face_box
from faceprep.tables.frames import FRAMES_TABLE, read_frames
from faceprep.video.siw_boxes import face_lines
from tests.fakes import expect_same_after_kills, results
from tests.videos import SIDE, SIZE, PatchDetector, PatchVideo, failures, film, numbers

N = 60
LETTERS = "rr.byr" * (N // 6)
"""Two seconds."""


@dataclass(frozen=True)
class Whole(PatchVideo):
    """A video of one piece."""

    piece_s: ClassVar[float] = 60.0


@dataclass(frozen=True)
class Thirds(PatchVideo):
    """A video of 3 pieces."""

    piece_s: ClassVar[float] = 0.75


@dataclass(frozen=True)
class Sevenths(PatchVideo):
    """A video of 7 pieces."""

    piece_s: ClassVar[float] = 0.2


PIECES: dict[type[PatchVideo], int] = {Whole: 1, Thirds: 3, Sevenths: 7}


def run(
    kind: type[PatchVideo], source: Path, output: Path, runner: Runner | None = None, **options: Any
) -> Summary:
    return run_job(kind(**options), Request((source,), output), runner or SerialRunner())


def all_files(output: Path) -> dict[str, bytes | None]:
    folders = (output, output.with_name(output.name + "_original"))
    return {
        f"{folder.name.removeprefix(output.name)}/{name}": data
        for folder in folders
        if folder.exists()
        for name, data in results(folder).items()
    }


def sound_failures(output: Path) -> list[str]:
    """Return the lines of failures.csv, without the number of frames that may show remains.

    A decoder that starts at a key frame does not know that a frame before it was lost.
    """
    lines = (output / "failures.csv").read_text().splitlines()
    return [line for line in lines if "may show remains" not in line]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with boxes and B-frames, one with open groups, one cut off, one damaged, one without
    time stamps.
    """
    root = tmp_path_factory.mktemp("long")
    film(root / "boxed.mp4", LETTERS, VideoStyle(b_frames=2))
    (root / "boxed.face").write_bytes(
        face_lines([face_box(number, SIZE, (SIDE, SIDE)) for number in range(N - 9)]) + b"garbage\n"
    )
    film(root / "plain.mkv", LETTERS, VideoStyle(b_frames=2, varies=True))
    data = film(root / "cut.mkv", LETTERS).read_bytes()
    (root / "cut.mkv").write_bytes(data[: len(data) // 2])
    whole = bytearray(film(root / "damaged.mkv", LETTERS, VideoStyle(b_frames=2)).read_bytes())
    for place in range(len(whole) // 3, len(whole) // 3 + 600, 3):
        whole[place] ^= 0x5A
    (root / "damaged.mkv").write_bytes(whole)
    film(root / "faceless.webm", "." * N)
    film(root / "stampless.avi", LETTERS)
    return root


def n_pieces(kind: type[PatchVideo], video: Path, scratch: Path) -> int:
    job = kind()
    named = (video.parent, Video(video.name, "v", ""))
    (plan,) = Planner(job, job.examine, scratch).plan([named])
    return len(plan.pieces)


def test_pieces_are_cut_at_keyframes(videos: Path, tmp_path: Path) -> None:
    found = {kind: n_pieces(kind, videos / "boxed.mp4", tmp_path) for kind in PIECES}
    assert found == PIECES
    assert n_pieces(Sevenths, videos / "stampless.avi", tmp_path) == 1


@pytest.mark.parametrize(
    "options", [{}, {"frames": "every:7"}, {"frames": "uniform:9"}, {"frames": "keyframes"}]
)
def test_the_same_bytes_whatever_the_pieces(
    videos: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    source = videos
    if options.get("frames") == "keyframes":  # FFmpeg's threads show a damaged one or do not
        source = tmp_path / "videos"
        shutil.copytree(videos, source, ignore=shutil.ignore_patterns("damaged.mkv"))
    summaries, found, failed = [], [], []
    for kind in PIECES:
        runner = ProcessRunner(2) if kind is Thirds else None
        output = tmp_path / kind.__name__ / "out"
        output.parent.mkdir()
        summaries.append(run(kind, source, output, runner, **options).as_json())
        found.append(all_files(output))
        failed.append(sound_failures(output))
    assert found[0] == found[1] == found[2] and len(found[0]) > 20
    assert failed[0] == failed[1] == failed[2]
    for name in ("inputs", "ok"):
        assert summaries[0][name] == summaries[1][name] == summaries[2][name]


def test_pairs_of_faces_of_a_long_video(videos: Path, tmp_path: Path) -> None:
    found = []
    for kind in PIECES:
        run(kind, videos / "boxed.mp4", tmp_path / kind.__name__ / "out", frames="pair:faces")
        found.append(all_files(tmp_path / kind.__name__ / "out"))
    assert found[0] == found[1] == found[2]
    assert len(numbers(tmp_path / "Whole" / "out" / "boxed")) == 2


def test_one_verdict_for_a_whole_video(videos: Path, tmp_path: Path) -> None:
    summary = run(Sevenths, videos, tmp_path / "out")
    reported = failures(tmp_path / "out")
    assert reported.count(("cut.mkv", "cut_off")) == reported.count(("damaged.mkv", "damaged")) == 1
    assert reported.count(("faceless.webm", "no_face_in_video")) == 1
    assert summary.others["video"] == {"cut_off": 1, "damaged": 1, "no_face_in_video": 1}


@pytest.mark.parametrize("work", ["verdict.add_up", "piece.PieceFacts.pack"])
def test_a_bug_in_the_work_on_a_video_names_the_video(
    videos: Path, tmp_path: Path, work: str
) -> None:
    with mock.patch(f"faceprep.jobs.extract_video.{work}", side_effect=RuntimeError("a bug")):
        run(Thirds, videos / "plain.mkv", tmp_path / "out")
    assert ("plain.mkv", "crashed") in failures(tmp_path / "out")


@pytest.mark.parametrize("options", [{}, {"by_track": True}, {"frames": "every:3"}])
def test_each_frame_of_a_lost_piece_has_a_row(tmp_path: Path, options: dict[str, Any]) -> None:
    third = N // 3
    film(tmp_path / "a.mkv", "r" * third + "R" * third + "r" * third)
    real = PatchDetector.detect

    def detect(self: PatchDetector, images: Sequence[Pixels]) -> list[Faces]:
        found = real(self, images)
        if any(len(faces) > 1 for faces in found):
            raise RuntimeError("a bug")
        return found

    with mock.patch.object(PatchDetector, "detect", detect):
        summary = run(Sevenths, tmp_path / "a.mkv", tmp_path / "out", turns="0", **options)
    rows = list(read_frames(tmp_path / "out" / FRAMES_TABLE))
    wanted = range(0, N, 3 if "frames" in options else 1)
    assert [row.frame for row in rows] == list(wanted)
    lost = [row for row in rows if row.status == "crashed"]
    assert {row.frame for row in lost} >= {number for number in wanted if number // third == 1}
    assert summary.ok == len(wanted) - len(lost) > 0
    assert summary.inputs == len(wanted)
    assert all(row.faces is None and row.time_s is not None for row in lost)
    assert ("a.mkv", "crashed") in failures(tmp_path / "out")


# Stopped


def test_killed_in_the_middle_of_a_long_video(videos: Path, tmp_path: Path) -> None:
    def drive(output: Path) -> None:
        run(Sevenths, videos / "plain.mkv", output)

    expect_same_after_kills(drive, tmp_path, n=4)


def test_only_the_pieces_that_are_left_are_done_again(videos: Path, tmp_path: Path) -> None:
    done: list[str] = []

    def step(report: ShardReport) -> None:
        done.append(report.shard_id)
        if len(done) == 4:
            raise KeyboardInterrupt

    request = Request((videos / "plain.mkv",), tmp_path / "out")
    with pytest.raises(Exception, match=r"4 of \d+ shards done"):
        run_job(Sevenths(), request, SerialRunner(), Progress(step=step))
    again: list[str] = []
    sizes: dict[str, int] = {}
    units: list[str] = []

    def begin(stage: Stage, n_done: int, unit: str) -> None:
        sizes[stage.name] = sum(map(len, stage.shards))
        units.append(f"{stage.name} {n_done} {unit}")

    progress = Progress(start=begin, step=lambda report: again.append(report.shard_id))
    run_job(Sevenths(), request, SerialRunner(), progress)
    n_shards = n_pieces(Sevenths, videos / "plain.mkv", tmp_path) + 1
    assert n_shards > 8 and len(again) == n_shards - 4 and not set(again) & set(done)
    assert sizes == {"frames": N, "videos": 1}
    assert (
        units[0].startswith("frames ") and units[0].endswith(" frame") and units[1][-5:] == "video"
    )
    with pytest.raises(ResumeError, match="other shards"):
        run(Thirds, videos / "plain.mkv", tmp_path / "out")


@contextmanager
def refused(video: Path) -> Iterator[None]:
    """Refuse to open a video."""
    real = storage.open_regular

    def open_regular(path: str | os.PathLike[str]) -> int:
        if str(path) == str(video):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path)

    with mock.patch.object(storage, "open_regular", open_regular):
        yield


@pytest.mark.parametrize("shares", [[None], [Share(1, 2), Share(2, 2)]])
def test_a_video_refused_to_the_end_is_cut_and_carried_out_at_the_next_start(
    videos: Path, tmp_path: Path, shares: list[Share | None]
) -> None:
    """The others keep their pieces, although the first video now has several in place of one."""
    source = tmp_path / "in"
    for name in ("a.mkv", "b.mkv"):
        storage.make_folder(source)
        shutil.copy(videos / "plain.mkv", source / name)
    run(Thirds, source, tmp_path / "whole" / "out")

    def start() -> list[str]:
        done: list[str] = []
        progress = Progress(step=lambda report: done.append(report.shard_id))
        for share in shares:
            request = Request((source,), tmp_path / "out", share=share)
            run_job(Thirds(), request, SerialRunner(), progress)
        return done

    with refused(source / "a.mkv"):
        n_before = len(start())
    again = start()
    n, n_joined = n_pieces(Thirds, source / "a.mkv", tmp_path), 2
    if shares[0]:
        n_joined = 1  # the first process leaves its video to `finish`, as it cannot wait
    assert n_before == 1 + n + n_joined and len(again) == n + n_joined
    if shares[0]:
        run_job(Thirds(), Request((source,), tmp_path / "out", joins=True), SerialRunner())
    assert all_files(tmp_path / "out") == all_files(tmp_path / "whole" / "out")
    assert not start()


# Before the start


def test_what_cannot_fit_is_refused(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceprep.core.disk_space.free_space", lambda path: (250_000, None, 4096))
    with pytest.raises(OutputError, match="not enough space"):
        run(Whole, videos / "plain.mkv", tmp_path / "out")
    run(Whole, videos / "plain.mkv", tmp_path / "few", frames="uniform:3")


def test_the_estimate_follows_the_choice(videos: Path, tmp_path: Path) -> None:
    found = {}
    for frames in ("all", "every:10", "uniform:6", "pair:faces"):
        for kind in (Whole, Sevenths):
            job = kind(frames=frames)
            planner = Planner(job, job.examine, tmp_path)
            (plan,) = planner.plan([(videos, Video("boxed.mp4", "boxed", "boxed.face"))])
            found[frames, kind] = (plan.n_files, round(plan.n_bytes / plan.n_files))
    for frames, n in (("all", N), ("every:10", 6), ("uniform:6", 6), ("pair:faces", 2)):
        assert found[frames, Whole] == found[frames, Sevenths] == (2 * n, 112 * 112 + SIDE * SIDE)
