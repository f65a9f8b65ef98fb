"""Names with control characters neither forge a line nor control the terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.command import faceprep

FORGED = "9 of 9 inputs ok"
NAMES = (f"a\x1b[31m\n{FORGED}.jpg", "b\x9b31m\u202e\u2028.jpg", "c\udcff.jpg")
SHOWN = (r"a\x1b[31m\n" + f"{FORGED}.jpg", r"b\x9b31m\u202e\u2028.jpg", r"c\xff.jpg")


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "set"),
        ("convert", "set", "out.tar"),
        ("folder2rec", "set", "out"),
        ("score", "set", "out.parquet", "-v"),
    ],
    ids=" ".join,
)
def test_names_are_escaped(command: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "set" / "ann"
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(b"junk")
    done = faceprep(*command, cwd=tmp_path)
    assert done.returncode == 3
    text = done.stdout + done.stderr
    assert all(shown in text for shown in SHOWN)
    assert all(char == "\n" or char.isprintable() for char in text)
    assert not any(line.startswith(FORGED) for line in text.splitlines())


def test_an_output_whose_name_is_not_utf_8(face_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\n")
    for words in (
        ("score", face_folder, folder / "s.parquet"),
        ("convert", face_folder, folder / "set.parquet"),
        ("convert", folder / "set.parquet", folder / "again"),
    ):
        done = faceprep(*map(str, words), cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert images_below(folder / "again") == images_below(face_folder)


def test_an_output_whose_name_is_too_long_for_the_files_beside_it(
    face_folder: Path, tmp_path: Path
) -> None:
    done = faceprep("convert", str(face_folder), f"{'a' * 251}.tar", cwd=tmp_path)
    assert done.returncode == 1
    assert (
        "_classes.csv: cannot write: File name too long: expected names of up to 255 bytes, found"
        in done.stderr
    )
    assert "or the output" in done.stderr


@pytest.mark.parametrize(
    ("output", "limit"),
    [
        ("a" * 300, "names of up to 255 bytes, found one of 300"),
        ("folder/" * 600, "up to 4,095 bytes, found 4,"),
    ],
)
def test_an_output_whose_path_is_too_long(
    output: str, limit: str, face_folder: Path, tmp_path: Path
) -> None:
    done = faceprep("convert", str(face_folder), output, cwd=tmp_path)
    assert done.returncode == 1
    assert f"cannot use this path: File name too long: expected {limit}" in done.stderr


def images_below(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*.jpg")}
