"""The examples run, and stay short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.real import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SAYS = {
    "01_rec_to_folder": "60 of 60 images",
    "02_photos_to_faces": "6 faces in ",
    "03_video_to_faces": "10 of 10 frames have faces, 0 failed",
    "04_crop_again": "6 of 6 faces as box1.5-256",
    "06_verify": "of 36 probes found first among 12",
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example: Path, tmp_path: Path) -> None:
    assert len(example.read_text().splitlines()) <= 40
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert SAYS[example.stem] in done.stdout
