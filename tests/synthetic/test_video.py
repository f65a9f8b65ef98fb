"""Drawn videos show what they are said to show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.core.errors import SourceError
from faceprep.synthetic import draw_face
from faceprep.synthetic.video import (
    SIW_CUT_OFF,
    SIW_DOUBLE_SUFFIX,
    SIW_FEW_ROWS,
    SIW_MISSING_VALUES,
    SIW_NO_FACE,
    SIW_SOUND,
    draw_frame,
    face_box,
    read_number,
    write_siw_like,
    write_video,
)
from faceprep.video.reader import VideoReader, find_videos, read_frames
from faceprep.video.siw_boxes import find_face_file, read_face_boxes

pytest.importorskip("av")


@pytest.mark.parametrize("size", [(64, 96), (180, 320), (360, 640), (641, 359)])
def test_the_face_moves_inside_and_the_number_can_be_read(size: tuple[int, int]) -> None:
    face = (
        draw_face(1, 0, size[0] // 2)[0] if size[0] < size[1] else draw_face(1, 0, size[1] // 2)[0]
    )
    boxes = [face_box(number, size, face.shape[:2]) for number in range(100)]
    assert len(set(boxes)) > 50
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        assert 0 <= x1 < x2 <= size[1] and size[0] // 10 <= y1 < y2 <= size[0]
        pixels = draw_frame(number, size, face)
        assert read_number(pixels) == number and (pixels[y1:y2, x1:x2] == face).all()


def test_a_given_face_is_pasted(tmp_path: Path) -> None:
    face = np.full((40, 30, 3), (200, 40, 40), np.uint8)
    boxes = write_video(tmp_path / "a.mp4", 6, (120, 160), face=face)
    for frame, (x1, y1, x2, y2) in zip(read_frames(tmp_path / "a.mp4"), boxes, strict=True):
        inner = frame.pixels[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4].astype(int)
        assert np.abs(inner - (200, 40, 40)).max() < 16


def test_a_tree_like_siw_has_each_known_defect(tmp_path: Path) -> None:
    write_siw_like(tmp_path, 24)
    seen = {}
    for path in find_videos(tmp_path):
        name = path.relative_to(tmp_path).as_posix().removesuffix(".mov").removesuffix(".m")
        face_file = find_face_file(path)
        try:
            with VideoReader(path) as video:
                n = len(video)
        except SourceError as error:
            seen[name] = "cut off" in str(error), face_file
            continue
        assert face_file
        rows = read_face_boxes(face_file)
        seen[name] = n, len(rows), int(rows.has_face.sum()), len(rows.repairs), len(rows.bad)
    assert seen == {
        SIW_SOUND: (24, 24, 24, 0, 0),
        SIW_MISSING_VALUES: (24, 24, 24, 5, 0),
        SIW_NO_FACE: (24, 24, 0, 0, 0),
        SIW_DOUBLE_SUFFIX: (24, 24, 24, 0, 0),
        SIW_FEW_ROWS: (24, 19, 18, 0, 1),
        SIW_CUT_OFF: (True, None),
    }
    assert (tmp_path / f"{SIW_DOUBLE_SUFFIX}.m.mov").is_file()
