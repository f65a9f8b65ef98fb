"""Names with control characters neither forge a line nor control the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import faceprep

FORGED = "9 of 9 inputs ok"
NAMES = (f"a\x1b[31m\n{FORGED}.jpg", "b\x9b31m\u202e\u2028.jpg")
SHOWN = (r"a\x1b[31m\n" + f"{FORGED}.jpg", r"b\x9b31m\u202e\u2028.jpg")


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
