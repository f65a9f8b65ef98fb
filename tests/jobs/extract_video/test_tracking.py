"""extract-video --by-track: a folder for each track, the same bytes whatever the pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

from faceprep import Request, SerialRunner, run_job
from faceprep.core.arrays import Pixels
from faceprep.synthetic.video import PLAIN, VideoStyle, encode_video, face_box, frame_times
from faceprep.video.siw_boxes import face_lines
from tests.fakes import expect_same_after_kills, results
from tests.videos import RED, SIDE, SIZE, PatchVideo, draw, extract, film, numbers, rows

LETTERS = "RRRrRRRRRR........rrRRR"
"""Two people; both are lost for eight frames, and the second comes back later."""


@dataclass(frozen=True)
class Pieces(PatchVideo):
    """A video of several pieces."""

    piece_s: ClassVar[float] = 0.2


def in_pieces(source: Path, output: Path, **options: Any) -> None:
    run_job(Pieces(by_track=True, **options), Request((source,), output), SerialRunner())


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("in") / "v.mp4", LETTERS, VideoStyle(b_frames=2))


def test_every_track_has_a_folder(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "out", by_track=True, all_faces=True)
    found = {path.name: numbers(path) for path in (tmp_path / "out" / "v").iterdir()}
    first = [number for number in range(10) if number != 3]
    assert found == {
        "0": list(range(10)),
        "1": first,
        "2": list(range(18, 23)),
        "3": list(range(20, 23)),
    }
    table = rows(tmp_path / "out")
    assert all(row["output"] == f"v/{row['track']}/{row['frame']}.png" for row in table)
    assert all(row["key"] == row["output"][: -len(".png")] for row in table)
    frames = pq.read_table(tmp_path / "out" / "frames.parquet").to_pylist()
    assert [row["track"] for row in frames] == [0] * 10 + [None] * 8 + [2] * 5


def test_one_face_a_frame(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "out", by_track=True)
    extract(video, tmp_path / "plain")
    assert [row["track"] for row in rows(tmp_path / "out")] == [0] * 10 + [2] * 5
    for row in rows(tmp_path / "out"):
        plain = tmp_path / "plain" / "v" / f"{row['frame']}.png"
        assert (tmp_path / "out" / row["output"]).read_bytes() == plain.read_bytes()


def test_the_best_track_not_the_best_face(tmp_path: Path) -> None:
    def pictures() -> Iterator[Pixels]:
        for pixels in draw("......rrrr"):
            pixels[140:170, 10:40] = RED
            yield pixels

    (tmp_path / "v.mp4").write_bytes(encode_video(".mp4", pictures(), frame_times(10, PLAIN)))
    extract(tmp_path / "v.mp4", tmp_path / "out", by_track=True)
    extract(tmp_path / "v.mp4", tmp_path / "plain")
    assert [row["track"] for row in rows(tmp_path / "out")] == [0] * 10
    widths = [row["x2"] - row["x1"] for row in rows(tmp_path / "plain")]
    assert [width > 45 for width in widths] == [False] * 6 + [True] * 4


@pytest.mark.parametrize(
    ("seen", "fps", "tracks"),
    [({0, 10, 20}, 30, [0, 0, 0]), ({0, 20}, 30, [0, 1]), ({0, 10, 20}, 6, [0, 1, 2])],
)
def test_sparse_frames_of_one_place(
    tmp_path: Path, seen: set[int], fps: int, tracks: list[int]
) -> None:
    """Another person may have come where no face was found, or after more than a second."""

    def pictures() -> Iterator[Pixels]:
        for number, pixels in enumerate(draw("." * 30)):
            if number in seen:
                pixels[140:170, 10:40] = RED
            yield pixels

    style = VideoStyle(fps=fps)
    (tmp_path / "v.mp4").write_bytes(encode_video(".mp4", pictures(), frame_times(30, style)))
    extract(tmp_path / "v.mp4", tmp_path / "out", by_track=True, frames="every:10")
    assert [row["track"] for row in rows(tmp_path / "out")] == tracks


@pytest.mark.parametrize("detect_every", [None, "4"])
def test_another_person_in_the_place_of_the_first(tmp_path: Path, detect_every: str | None) -> None:
    """As after a jump cut, which leaves the rest of the frame as it is."""

    def pictures() -> Iterator[Pixels]:
        for number, pixels in enumerate(draw("." * 10)):
            face = pixels[130:170, 10:50]
            face[:] = RED
            if number < 5:
                face[:12] = 250
            else:
                face[:, :12] = 250
            yield pixels

    (tmp_path / "v.mp4").write_bytes(encode_video(".mp4", pictures(), frame_times(10, PLAIN)))
    extract(tmp_path / "v.mp4", tmp_path / "out", by_track=True, detect_every=detect_every)
    assert [row["track"] for row in rows(tmp_path / "out")] == [0] * 5 + [1] * 5


def test_the_marked_face_by_track(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mov", "RRR")
    boxes = [(10, 140, 40, 170), face_box(1, SIZE, (SIDE, SIDE)), (0, 0, 0, 0)]
    (tmp_path / "v.face").write_bytes(face_lines(boxes))
    extract(video, tmp_path / "out", by_track=True, select="given")
    found = [(row["frame"], row["track"]) for row in rows(tmp_path / "out")]
    assert found == [(0, 1), (1, 0)]
    assert numbers(tmp_path / "out_original" / "v") == [0, 1]


@pytest.mark.parametrize("options", [{}, {"all_faces": True}, {"frames": "every:2"}])
def test_the_same_bytes_whatever_the_pieces(
    video: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    extract(video, tmp_path / "whole", by_track=True, **options)
    in_pieces(video, tmp_path / "pieces", **options)
    assert results(tmp_path / "whole") == results(tmp_path / "pieces")


def test_a_killed_run_resumes_to_the_same_bytes(video: Path, tmp_path: Path) -> None:
    def run(output: Path) -> None:
        in_pieces(video, output, all_faces=True)

    expect_same_after_kills(run, tmp_path, n=3)
