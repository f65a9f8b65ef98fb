"""extract-video --select: one face of several, by score, size, place, or the .face file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from faceprep.core.errors import OptionError
from faceprep.core.faces import Faces, no_faces
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.jobs.extract_video.selection import SELECTIONS, prefer_faces, value_faces
from faceprep.steps.found import Found
from faceprep.synthetic.video import face_box
from faceprep.video.siw_boxes import face_lines
from tests.videos import SIDE, SIZE, extract, film, numbers, rows

SMALL = (10, 140, 40, 170)
"""The second patch of the letter R."""
BOXES = np.array([(0, 0, 40, 40), (140, 80, 170, 110), (200, 90, 270, 170)], np.float32)
FOUND = Found(Faces(BOXES, np.zeros((3, 5, 2)), np.array([0.9, 0.85, 0.8])))


@pytest.mark.parametrize(
    ("select", "box", "order"),
    [
        ("score", None, [0, 1, 2]),
        ("largest", None, [2, 0, 1]),
        ("center", None, [1, 2, 0]),
        ("given", (142, 82, 168, 112), [1]),
        ("given", (205, 85, 265, 165), [2]),
    ],
)
def test_the_order_of_preference(select: str, box: Any, order: list[int]) -> None:
    found = prefer_faces(FOUND, select, SIZE, box)
    np.testing.assert_array_equal(found.faces.boxes, BOXES[order])
    assert found.status == "ok"


def test_a_face_that_no_box_marks() -> None:
    for box, reason in ((None, "has no box"), ((290, 0, 310, 20), "no face found at the box")):
        found = prefer_faces(FOUND, "given", SIZE, box)
        assert (len(found.faces), found.status) == (0, "not_marked")
        assert reason in found.reason


@pytest.mark.parametrize("select", SELECTIONS)
def test_values_are_shares(select: str) -> None:
    values = value_faces(select, FOUND.faces, SIZE, BOXES[0])
    assert values.shape == (3,) and (values >= 0).all() and (values <= 1).all()
    assert prefer_faces(Found(no_faces(), "no_face"), select, SIZE, None).status == "no_face"


def test_the_marked_face_of_a_video(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mov", "RRRRr")
    boxes = [SMALL, face_box(1, SIZE, (SIDE, SIDE)), (0, 0, 0, 0), (300, 0, 319, 20), SMALL]
    (tmp_path / "v.face").write_bytes(face_lines(boxes))
    extract(video, tmp_path / "out", select="given")
    assert numbers(tmp_path / "out" / "v") == [0, 1]
    widths = [row["x2"] - row["x1"] for row in rows(tmp_path / "out")]
    assert widths == [pytest.approx(30, abs=3), pytest.approx(60, abs=3)]
    table = pq.read_table(tmp_path / "out" / "frames.parquet").to_pylist()
    assert [row["status"] for row in table] == ["ok", "ok", *["not_marked"] * 3]
    assert [row["faces"] for row in table] == [2, 2, 2, 2, 1]


@pytest.mark.parametrize("by_track", [False, True])
def test_a_box_outside_of_the_frame_is_no_box(tmp_path: Path, by_track: bool) -> None:
    (tmp_path / "v.face").write_bytes(b"900 900 950 950\n0 0 0 0\n")
    extract(film(tmp_path / "v.mov", "rr"), tmp_path / "out", select="given", by_track=by_track)
    table = pq.read_table(tmp_path / "out" / "frames.parquet").to_pylist()
    assert [row["reason"] for row in table] == ["the .face file has no box in this frame"] * 2
    assert not any(row["has_box"] for row in table)


def test_a_video_without_boxes_says_so(tmp_path: Path) -> None:
    extract(film(tmp_path / "v.mp4", "rr"), tmp_path / "out", select="given")
    assert (
        "no face in its 2 wanted frames is marked by a box"
        in (tmp_path / "out" / "failures.csv").read_text()
    )


def test_options_that_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="select"):
        VideoOptions(select="best")
    with pytest.raises(OptionError, match="--all-faces and --select"):
        VideoOptions(select="largest", all_faces=True)
    with pytest.raises(OptionError, match="by-track"):
        VideoOptions(by_track=True, frames="pair:faces")
