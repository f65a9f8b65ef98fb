"""Names of files are the same bytes in every locale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceprep.synthetic import encode_face
from tests.command import faceprep

NAMES = ["żółć".encode(), "日本".encode(), b"lat\xe9", b"plain"]
OTHER = {
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "latin-1",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        folder = os.path.join(os.fsencode(tmp_path / "set"), name)
        os.makedirs(folder)
        with open(os.path.join(folder, name + b".jpg"), "wb") as file:
            file.write(encode_face(number, 0))
    return tmp_path / "set"


def test_names_are_the_same_bytes_in_a_c_locale(source: Path, tmp_path: Path) -> None:
    for place, environment in (("there", {"PYTHONUTF8": "1"}), ("here", OTHER)):
        (tmp_path / place).mkdir()
        for first, then in (("../set", "żółć.tar"), ("żółć.tar", "back")):
            done = faceprep(
                "convert", first, then, "-q", "--json", cwd=tmp_path / place, **environment
            )
            assert done.returncode == 0, done.stderr
        assert sorted(os.listdir(os.fsencode(tmp_path / place / "back"))) == sorted(
            [*NAMES, b".faceprep"]
        )
    ours, theirs = (tmp_path / place / "żółć.tar" for place in ("here", "there"))
    assert ours.read_bytes() == theirs.read_bytes()
