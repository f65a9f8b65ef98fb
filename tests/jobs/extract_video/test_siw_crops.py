"""The boxes of a .face file become crops; faults of a row are reported for that row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.types import Outcome
from faceprep.jobs.extract_video.siw_crops import FACE_FILE, OriginalCrops, open_crops
from faceprep.vision.align import crop_box

IMAGE = np.random.default_rng(0).integers(1, 256, (40, 60, 3), dtype=np.uint8)


def opened(folder: Path, text: str, margin: float = 1.0, fill: str = "neighbours") -> OriginalCrops:
    (folder / "x.face").write_text(text)
    return open_crops(str(folder / "x.face"), "x.face", margin, fill)


@given(st.integers(-20, 70), st.integers(-20, 50), st.integers(1, 80), st.integers(1, 60))
def test_a_crop_is_its_rectangle_and_black_outside(x: int, y: int, width: int, height: int) -> None:
    padded = np.pad(IMAGE, ((200, 200), (200, 200), (0, 0)))
    expected = padded[200 + y : 200 + y + height, 200 + x : 200 + x + width]
    np.testing.assert_array_equal(crop_box(IMAGE, (x, y, x + width, y + height)), expected)


@given(st.integers(-20, 59), st.integers(-20, 39), st.integers(21, 80), st.integers(21, 60))
def test_a_clipped_crop_ends_at_the_edge(x: int, y: int, width: int, height: int) -> None:
    expected = IMAGE[max(y, 0) : y + height, max(x, 0) : x + width]
    box = (x, y, x + width, y + height)
    np.testing.assert_array_equal(crop_box(IMAGE, box, is_clipped=True), expected)


@given(
    st.integers(0, 20),
    st.integers(0, 15),
    st.integers(1, 10),
    st.integers(1, 10),
    st.sampled_from([2.0, 3.0, 4.0]),
)
def test_a_margin_grows_it_about_its_middle(
    x: int, y: int, width: int, height: int, margin: float
) -> None:
    box = np.array([x, y, x + 2 * width, y + 2 * height])
    grown = box + np.array([-width, -height, width, height]) * (margin - 1)
    np.testing.assert_array_equal(crop_box(IMAGE, box, margin), crop_box(IMAGE, grown))


def test_rows_are_frames(tmp_path: Path) -> None:
    crops = opened(tmp_path, "1 2 11 22\n0 0 0 0\n3 4 9 9\n")
    found = [crops.crop(number, IMAGE) for number in range(4)]
    np.testing.assert_array_equal(found[0], IMAGE[2:22, 1:11])
    np.testing.assert_array_equal(found[2], IMAGE[4:9, 3:9])
    assert found[1] is None and found[3] is None
    assert list(crops.notes(3)) == []


@pytest.mark.parametrize("row", ["70 5 90 30", "-30 5 -2 30", "0 0 5000 5000", "5 50 9 60"])
def test_a_box_that_is_not_in_the_frame_makes_no_crop(tmp_path: Path, row: str) -> None:
    found = opened(tmp_path, row).crop(0, IMAGE)
    assert isinstance(found, Outcome) and found.is_failure
    assert found.key == "x.face#0" and row in found.reason and "60 × 40" in found.reason


def test_notes_on_a_file(tmp_path: Path) -> None:
    crops = opened(tmp_path, "1 2 11 22\n1  11 22\ngarbage\n1 3 11 23\n")
    reported = [(note.key, note.status, note.is_failure) for note in crops.notes(9)]
    assert reported == [
        ("x.face#1", "repaired", False),
        ("x.face#2", "bad_face_row", True),
        ("x.face", "face_rows", True),
    ]
    assert [note.status for note in crops.notes(4)] == ["repaired", "bad_face_row"]
    assert list(crops.notes(1))[-1].reason == "4 rows for 1 frame"
    spare = list(crops.notes(3))[-1]
    assert (
        spare == Outcome("x.face", "spare_face_rows", "4 rows for 3 frames", FACE_FILE)
        and not spare.is_failure
    )


def test_origin_fill(tmp_path: Path) -> None:
    crops = opened(tmp_path, "1 2 51 22\n1  51 99\n", fill="origin")
    assert crops.boxes is not None and crops.boxes.boxes[1].tolist() == [1, 48, 51, 99]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    crops = opened(tmp_path, "what is this\n")
    assert crops.crop(0, IMAGE) is None
    (note,) = crops.notes(3)
    assert (note.key, note.status) == (
        "x.face",
        "bad_face_file",
    ) and "not a .face file" in note.reason
