"""A pipe in the place of a file is named at once; no command waits for somebody to write to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.command import faceprep

SUFFIXES = ("rec", "idx", "tar", "npz", "parquet", "csv", "bin", "tfrecord", "zip", "lst", "txt")
COMMANDS = (
    *(("inspect", f"pipe.{suffix}") for suffix in SUFFIXES),
    ("align", "set", "out", "--faces", "pipe.parquet"),
    ("apply", "pipe.jsonl", "out"),
    ("bin2folder", "pipe.bin", "out"),
    ("merge-identities", "pipe.npz", "out"),
    ("rec2folder", "pipe.rec", "out"),
    ("manifest", "set", "out.npz", "--seed", "1", "--classes", "pipe.csv"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_pipes_are_named_at_once(
    command: tuple[str, ...], face_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "set").symlink_to(face_folder)
    (pipe,) = {word for word in command if word.startswith("pipe.")}
    os.mkfifo(tmp_path / pipe)
    if pipe.endswith(".idx"):
        (tmp_path / "pipe.rec").write_bytes(bytes(64))
    done = faceprep(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{pipe}: cannot read: not a regular file. Name a file." in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
