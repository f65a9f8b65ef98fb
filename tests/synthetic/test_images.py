"""Drawn faces look as they are said to, and the sets are sound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from faceprep.sets.recordio.records import MAGIC_BYTES
from faceprep.synthetic import draw_face, encode_face, write_folder, write_insightface_rec
from tests.fakes import tree


@pytest.mark.parametrize("size", [64, 112, 224])
def test_landmarks_lie_on_what_is_drawn(size: int) -> None:
    for identity in range(5):
        pixels, points = draw_face(identity, 0, size)
        assert (pixels.shape, pixels.dtype) == ((size, size, 3), np.uint8)
        assert (points.shape, points.dtype) == ((5, 2), np.float32)
        assert (points > 0).all() and (points < size).all()
        left_eye, right_eye, nose, left_mouth, right_mouth = points
        assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
        scale = size / 112
        for x, y in points[:2]:  # white of the eye beside the iris, brighter than any skin
            beside = pixels[round(y), round(x - 5.5 * scale)].astype(int)
            assert beside.min() > 140


def test_faces_differ_by_identity_and_image_and_stay_the_same() -> None:
    faces = {draw_face(identity, image)[0].tobytes() for identity in range(4) for image in range(3)}
    assert len(faces) == 12
    assert draw_face(3, 2)[0].tobytes() in faces


@pytest.mark.parametrize(("suffix", "start"), [(".jpg", b"\xff\xd8\xff"), (".png", b"\x89PNG")])
def test_encoded_face(suffix: str, start: bytes) -> None:
    data = encode_face(1, 2, suffix)
    assert data.startswith(start)
    close = np.abs(imageio.imread(data).astype(int) - draw_face(1, 2)[0].astype(int)).mean()
    assert close == 0 if suffix == ".png" else close < 8


def test_written_sets(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", 2, 3)
    assert tree(tmp_path / "folder")["1/2.jpg"] == encode_face(1, 2)
    assert len([name for name in tree(tmp_path / "folder") if name.endswith(".jpg")]) == 6
    write_insightface_rec(tmp_path / "rec", 2, 3)
    rec = (tmp_path / "rec/train.rec").read_bytes()
    offsets = [
        int(line.split("\t")[1]) for line in (tmp_path / "rec/train.idx").read_text().splitlines()
    ]
    assert len(offsets) == 1 + 6 + 2
    assert all(rec[offset : offset + 4] == MAGIC_BYTES for offset in offsets)
    assert (tmp_path / "rec/property").read_text() == "2,112,112"


@pytest.mark.parametrize(("layout", "name"), [("rec", "train.rec"), ("folder", "0/1.jpg")])
def test_from_the_command_line(layout: str, name: str, tmp_path: Path) -> None:
    options = ["--layout", layout, "--identities", "1", "--images", "2"]
    command = [sys.executable, "-m", "faceprep.synthetic", str(tmp_path / "set"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"2 drawn faces of 1 identity in {tmp_path / 'set'}\n"
    assert (tmp_path / "set" / name).is_file()
