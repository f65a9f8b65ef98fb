"""One turn for all frames of a video, whatever its pieces."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from faceprep.core.arrays import Pixels
from faceprep.core.errors import SourceError
from faceprep.core.os_errors import guard
from faceprep.core.types import Request
from faceprep.jobs.extract_video import turn
from faceprep.jobs.extract_video.job import ExtractVideo
from faceprep.jobs.extract_video.turn import find_video_turn
from faceprep.models.detectors.detector import SizedDetector
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.steps.find_faces import FaceFinder
from faceprep.video import reader
from faceprep.video.index import VideoIndex
from faceprep.video.reader import VideoReader
from tests.fakes import BROKEN, tree
from tests.real import DATA, needs_data
from tests.videos import PatchDetector, PatchVideo, failures, film, rows

pytest.importorskip("av")


class Judge:
    """A judge in doubt about everything, whose answer is a half turn."""

    fingerprint = "judge"

    def doubts(self, image: Pixels, *known: object) -> bool:
        return True

    def choose(self, images: Sequence[Pixels]) -> list[int]:
        raise AssertionError("frames are not turned one by one")

    def choose_one(self, images: Sequence[Pixels]) -> int:
        assert len(images) == 5
        return 180


@dataclass(frozen=True)
class Judged(PatchVideo):
    """`extract-video` on drawn patches, with a judge of turns."""

    def finder(self, detector: str | None = None) -> FaceFinder:
        detecting = SizedDetector(PatchDetector())
        return FaceFinder(detecting, self.min_score, None, Judge())  # type: ignore[arg-type]


@dataclass(frozen=True)
class Short(Judged):
    """The same in several pieces."""

    piece_s: ClassVar[float] = 0.2


def test_all_frames_have_the_turn_of_a_few_whatever_the_pieces(tmp_path: Path) -> None:
    video = film(tmp_path / "src" / "a.mp4", "r" * 60)
    for name, job in (("whole", Judged()), ("pieces", Short())):
        run_job(job, Request((video,), tmp_path / name / "out"), SerialRunner())
        assert {row["turn"] for row in rows(tmp_path / name / "out")} == {180}
    whole, pieces = (tmp_path / name / "out" / "a" for name in ("whole", "pieces"))
    assert tree(whole) == tree(pieces) and len(tree(whole)) == 60


@pytest.mark.parametrize(
    ("keys", "restarts", "expected"),
    [
        ([0], (), [9, 19, 29, 39, 49]),
        ([0, 12, 24, 36, 48], (), [9, 12, 24, 36, 48]),
        ([0, 45, 58], (), [9, 19, 29, 39, 45]),
        ([0, 12, 24, 36, 48], (30,), [9, 19, 29, 39, 49]),
        ([], (), [9, 19, 29, 39, 49]),
    ],
)
def test_key_frames_are_looked_at_if_they_are_as_far_apart(
    keys: list[int], restarts: tuple[int, ...], expected: list[int]
) -> None:
    stamps = np.arange(60) * 512
    places = np.array(keys, np.int64)
    index = VideoIndex(stamps, 1 / 15360, True, places, 60, 60, 59 * 512, 0, restarts)
    assert turn._choose_frames(index) == expected


@pytest.mark.parametrize(
    ("doubted", "turn", "n_read"),
    [("", 0, 3), ("34", 0, 3), ("1", 0, 5), ("04", 0, 5), ("034", 180, 5), ("01234", 180, 5)],
)
def test_frames_are_read_until_most_are_sure(doubted: str, turn: int, n_read: int) -> None:
    class Some(Judge):
        def doubts(self, image: Pixels, *known: object) -> bool:
            return str(image[0, 0, 0]) in doubted

    images = iter([np.full((8, 8, 3), number, np.uint8) for number in range(5)])
    finder = FaceFinder(SizedDetector(PatchDetector()), 0.5, None, Some())  # type: ignore[arg-type]
    assert finder.find_turn(images, 5) == turn
    assert len(list(images)) == 5 - n_read


def test_what_cannot_be_read_is_not_turned(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    assert find_video_turn(Judged(), str(tmp_path / "a.mp4")) == 0


@pytest.mark.parametrize(("job", "failed"), [(Judged(), [("a.mp4", "undecodable")]), (Short(), [])])
def test_a_fault_of_the_disk_decides_no_turn(
    job: Judged, failed: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A video that fails is named, and the next start finds its turn.

    The shard of a video whose plan fails looks once more.
    """
    video = film(tmp_path / "src" / "a.mp4", "r" * 60)
    faults = iter([BROKEN])

    def open_video(*given: Any) -> VideoReader:
        for number in faults:
            with guard("open", video, SourceError):
                raise OSError(number, os.strerror(number))
        return reader.open_video(*given)

    monkeypatch.setattr(turn, "open_video", open_video)
    request = Request((video,), tmp_path / "out")
    run_job(job, request, SerialRunner())
    assert failures(tmp_path / "out") == failed and not list(faults)
    assert not run_job(job, request, SerialRunner()).failed
    assert {row["turn"] for row in rows(tmp_path / "out")} == {180}


@needs_data
def test_a_video_upside_down(tmp_path: Path) -> None:
    pytest.importorskip("retinaface")
    job = ExtractVideo(every=10, device="cpu")
    source = DATA / "cases" / "video" / "upside.mp4"
    run_job(job, Request((source,), tmp_path / "out"), SerialRunner())
    found = rows(tmp_path / "out")
    assert found and {row["turn"] for row in found} == {180}
    assert all(abs(row["roll"]) > 140 for row in found)
