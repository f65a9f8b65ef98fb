"""extract-video --detect-every: followed faces, the same bytes whatever the pieces and workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from faceprep import ExtractVideo, ProcessRunner, Request, SerialRunner, run_job
from faceprep.core.boxes import overlaps
from faceprep.core.errors import OptionError
from faceprep.core.types import Runner
from faceprep.synthetic.video import VideoStyle
from tests.fakes import expect_same_after_kills, results
from tests.real import DATA, needs_data
from tests.videos import PatchVideo, extract, film, rows

LETTERS = "rRrRrrrr...rRRRRRRRRRRb.rRRrrrrrrrRRRRR"


@dataclass(frozen=True)
class Pieces(PatchVideo):
    """A video of several pieces."""

    piece_s: ClassVar[float] = 0.3


def in_pieces(source: Path, output: Path, runner: Runner | None = None, **options: Any) -> None:
    job = Pieces(**{"detect_every": "5", **options})
    run_job(job, Request((source,), output), runner or SerialRunner())


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("in") / "v.mp4", LETTERS, VideoStyle(b_frames=2))


def test_the_crops_are_those_of_full_looks(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "every")
    extract(video, tmp_path / "some", detect_every="5")
    every, some = (rows(tmp_path / name) for name in ("every", "some"))
    assert [row["output"] for row in every] == [row["output"] for row in some]
    for one, other in zip(every, some, strict=True):
        assert np.allclose(one["landmarks"], other["landmarks"], atol=1e-3)
    assert not any(row["followed"] for row in every)
    followed = [row["frame"] for row in some if row["followed"]]
    assert len(followed) > len(some) / 2 and not any(number % 5 == 0 for number in followed)
    assert all("near patches/every5" in row["detector"] for row in some if row["followed"])


def test_every_frame_is_the_default(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "default")
    extract(video, tmp_path / "one", detect_every="1")
    assert results(tmp_path / "default") == results(tmp_path / "one")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"all_faces": True},
        {"by_track": True, "all_faces": True},
        {"frames": "every:2"},
        {"frames": "pair:faces"},
        {"select": "largest"},
        {"detect_every": "auto"},
    ],
)
def test_the_same_bytes_whatever_the_pieces(
    video: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    extract(video, tmp_path / "whole", **{"detect_every": "5", **options})
    in_pieces(video, tmp_path / "pieces", **options)
    assert results(tmp_path / "whole") == results(tmp_path / "pieces")


def test_the_same_bytes_with_any_number_of_workers(video: Path, tmp_path: Path) -> None:
    in_pieces(video, tmp_path / "one")
    in_pieces(video, tmp_path / "two", ProcessRunner(2))
    assert results(tmp_path / "one") == results(tmp_path / "two")


def test_a_killed_run_resumes_to_the_same_bytes(video: Path, tmp_path: Path) -> None:
    def run(output: Path) -> None:
        in_pieces(video, output, by_track=True)

    expect_same_after_kills(run, tmp_path, n=3)


@pytest.mark.parametrize("text", ["0", "-1", "ten", "1.5", "", "99999999"])
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(
        OptionError, match="^invalid --detect-every: expected auto or 1 to 1,000,000 frames"
    ):
        ExtractVideo(detect_every=text)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 15),
        ({"all_faces": True}, 10),
        ({"by_track": True}, 10),
        ({"select": "largest"}, 10),
        ({"detect_every": "12"}, 12),
        ({"detect_every": None}, 1),
    ],
)
def test_auto_looks_for_new_faces_more_often_where_they_matter(
    options: dict[str, Any], expected: int
) -> None:
    assert ExtractVideo(**{"detect_every": "auto", **options}).segment() == expected


@needs_data
def test_a_real_face_is_followed(tmp_path: Path) -> None:
    """The face keeps its place and its landmarks; most frames need no full look."""
    pytest.importorskip("onnxruntime")
    (video,) = DATA.glob("siw_like/**/009-1-1-1-1.m.mov")
    for name, every in (("full", None), ("followed", "auto")):
        job = ExtractVideo(device="cpu", detect_every=every)
        run_job(job, Request((video,), tmp_path / name), SerialRunner())
    full, followed = (rows(tmp_path / name) for name in ("full", "followed"))
    assert [row["frame"] for row in full] == [row["frame"] for row in followed]
    assert sum(row["followed"] for row in followed) >= 0.9 * len(followed)
    for one, other in zip(full, followed, strict=True):
        boxes = np.array([[row[name] for name in ("x1", "y1", "x2", "y2")] for row in (one, other)])
        assert overlaps(boxes[0], boxes[1:])[0] >= 0.7
        apart = np.subtract(one["landmarks"], other["landmarks"]).reshape(5, 2)
        side = np.ptp(boxes[0].reshape(2, 2), axis=0).max()
        assert np.linalg.norm(apart, axis=1).mean() < 0.02 * side
