"""SiW's boxes come back, known defects are repaired and named, anything else is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import OptionError, SourceError
from faceprep.video.siw_boxes import face_lines, find_face_file, parse_face_boxes, read_face_boxes
from tests.real import DATA, needs_data

_SIDE = st.integers(0, 4000) | st.floats(0, 4000, allow_subnormal=False).map(
    lambda value: round(value, 3)
)
BOX = st.tuples(_SIDE, _SIDE, _SIDE, _SIDE).map(
    lambda b: (b[0], b[1], b[0] + b[2] + 1, b[1] + b[3] + 1)
)
NO_FACE = (np.nan,) * 4


@given(st.lists(BOX | st.just(NO_FACE), min_size=1, max_size=20))
def test_boxes_come_back(boxes: list[tuple[float, ...]]) -> None:
    read = parse_face_boxes(face_lines(boxes))
    np.testing.assert_array_equal(read.boxes, np.array(boxes, np.float64))
    assert not read.repairs and not read.bad and len(read) == len(boxes)
    assert read.has_face.tolist() == [box is not NO_FACE for box in boxes]


def test_the_bytes_of_siw() -> None:
    assert (
        face_lines([(524, 47, 564, 100), NO_FACE, (1.5, 2, 3, 4.25)])
        == b"524 47 564 100\n0 0 0 0\n1.5 2 3 4.25\n"
    )


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("row", range(5))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_missing_value_is_filled_from_the_rows_beside(row: int, column: int, end: str) -> None:
    whole = [[10 + 2 * i, 20 + 4 * i, 110 + 6 * i, 220 + 8 * i] for i in range(5)]
    fields = [[str(value) for value in box] for box in whole]
    fields[row][column] = ""
    lines = [" ".join(words) for words in fields]
    read = parse_face_boxes((end.join(lines) + end).encode())
    (repair,) = read.repairs
    nearest = whole[max(0, row - 1)] if row == 4 else whole[row + 1] if row == 0 else whole[row]
    assert (repair.row, repair.found, repair.value) == (row, lines[row], nearest[column])
    expected = [list(box) for box in whole]
    expected[row][column] = nearest[column]
    assert read.boxes.tolist() == expected and not read.bad


def test_the_way_of_the_origin() -> None:
    read = parse_face_boxes(b"1 2 300 400\n1  300 400\n", fill="origin")
    assert read.boxes.tolist() == [[1, 2, 300, 400], [1, 48, 300, 400]]
    assert str(read.repairs[0]) == "row 1: '1  300 400': y1 is missing, 48 taken"
    assert str(
        parse_face_boxes(b"1 2 30 40\n1 2  40\n1 2 0 40\n", fill="origin").repairs[0]
    ).endswith("48 taken")


def test_faceless_rows_fill_nothing() -> None:
    read = parse_face_boxes(b"0 0 0 0\n" * 3 + b"1  3 4\n" + b"0 0 0 0\n" * 6 + b"1 2 3 4\n")
    assert [str(row) for row in read.bad] == [
        "row 3: '1  3 4': y1 is missing, and no nearby row can fill it"
    ]
    assert np.flatnonzero(read.has_face).tolist() == [10]


def test_two_missing_in_a_row_are_filled_from_further_away() -> None:
    read = parse_face_boxes(b"10 10 50 50\n12  52 50\n14  54 50\n16 16 56 50\n")
    assert read.boxes[:, 1].tolist() == [10, 12, 14, 16] and len(read.repairs) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("garbage", "not four numbers"),
        ("1 2 3 nan", "not four numbers"),
        ("1 2 3 inf", "not four numbers"),
        ("1 2 3 4e5", "not four numbers"),
        ("1 2 3 ٤", "not four numbers"),
        ("1 2 3 99999999999", "not four numbers"),
        ("1,2,3,4", "not four numbers"),
        ("1 2", "expected 4 numbers, found 2"),
        ("1 2 3", "expected 4 numbers, found 3"),
        ("1\t2\t3", "expected 4 numbers, found 3"),
        ("1   2 3", "expected 4 numbers, found 3"),
        ("1 2 3 4 5", "expected 4 numbers, found 5"),
        ("", "expected 4 numbers, found 0"),
        ("30 2 3 40", "an empty box, 30 2 3 40: x2 must be greater than x1, and y2 than y1"),
        ("1 2 30 2", "an empty box, 1 2 30 2: x2 must be greater than x1, and y2 than y1"),
        ("0  0 0", "an empty box, 0 2 0 0: x2 must be greater than x1, and y2 than y1"),
    ],
)
def test_a_bad_row_is_named_and_the_others_kept(line: str, reason: str) -> None:
    read = parse_face_boxes(f"1 2 30 40\n{line}\n1 2 30 40\n".encode())
    assert [(row.row, row.found, row.reason) for row in read.bad] == [(1, line, reason)]
    assert not read.repairs and read.has_face.tolist() == [True, False, True]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"  \n"])
def test_an_empty_file_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"a\.face: an empty \.face file"):
        parse_face_boxes(data, path="a.face")


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n" + bytes(300), b"a text\nof two lines", b"\xff\xfe1\0"]
)
def test_what_is_no_face_file_is_refused(data: bytes) -> None:
    with pytest.raises(
        SourceError, match=r"a\.face: not a \.face file at line 1: expected x1 y1 x2 y2, found"
    ):
        parse_face_boxes(data, path="a.face")


def test_an_unknown_fill_is_refused() -> None:
    with pytest.raises(OptionError, match="face-fill: expected neighbours or origin, found 'zero'"):
        parse_face_boxes(b"1 2 3 4\n", fill="zero")


_WORD = st.sampled_from(["0", "1", "48", "200", "7.5", "-3", "", "x", "nan", "1e9"])
_LINE = st.lists(_WORD, max_size=6).map(" ".join) | st.text(max_size=8)


@given(
    st.binary(max_size=60)
    | st.lists(_LINE, max_size=12).map(lambda lines: "\n".join(lines).encode())
)
def test_any_bytes_are_boxes_or_refused(data: bytes) -> None:
    try:
        read = parse_face_boxes(data)
    except SourceError:
        return
    assert len(read) == len(read.boxes)
    boxes = read.boxes[read.has_face]
    assert np.isfinite(boxes).all() and (boxes[:, :2] < boxes[:, 2:]).all()
    bad, repaired = {row.row for row in read.bad}, {row.row for row in read.repairs}
    assert not bad & repaired and len(bad) <= len(read)
    assert not read.has_face[sorted(bad)].any() and read.has_face[sorted(repaired)].all()


def test_where_the_boxes_of_a_video_lie(tmp_path: Path) -> None:
    assert find_face_file(tmp_path / "x.mov") is None
    (tmp_path / "x.face").touch()
    assert (
        find_face_file(tmp_path / "x.mov")
        == find_face_file(tmp_path / "x.m.mov")
        == tmp_path / "x.face"
    )
    assert find_face_file(tmp_path / "y.mov") is None
    (tmp_path / "x.mov").touch()  # whose boxes they are, then
    assert find_face_file(tmp_path / "x.m.mov") is None
    (tmp_path / "x.m.face").touch()
    assert find_face_file(tmp_path / "x.m.mov") == tmp_path / "x.m.face"


@needs_data
def test_the_real_tree() -> None:
    counts = {}
    for path in sorted((DATA / "siw_like").rglob("*.face")):
        read = read_face_boxes(path)
        counts[path.stem] = (len(read), int(read.has_face.sum()), len(read.repairs), len(read.bad))
    assert counts == {
        "003-1-1-1-1": (45, 45, 0, 0),
        "004-1-2-1-2": (30, 27, 0, 0),
        "006-2-3-4-1": (40, 40, 6, 0),
        "009-1-1-1-1": (40, 40, 0, 0),
        "032-2-3-4-1": (35, 34, 0, 1),
        "121-2-3-2-1": (20, 0, 0, 0),
    }
    repairs = read_face_boxes(DATA / "siw_like/Train/spoof/006/006-2-3-4-1.face").repairs
    assert str(repairs[0]) == "row 3: '200  257 161': y1 is missing, 85 taken"
