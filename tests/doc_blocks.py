"""The code blocks of README and pages, run as they stand, and the inputs that they name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from faceprep.core import storage
from faceprep.core.arrays import Pixels
from faceprep.models.detectors.detector import DetectorSpec, open_detector
from faceprep.synthetic import write_video
from faceprep.vision.align import crop_box
from faceprep.vision.codec import decode, encode


def blocks_of(text: str) -> list[tuple[str, str]]:
    """(language, code) of each block that names its language; others are not run."""
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


def run_lines(text: str, folder: Path) -> None:
    """Run lines of bash in `folder`; the first that fails ends them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", text],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def photo_of_six() -> Pixels:
    """The photo of six people that comes with insightface; skips the test without it."""
    insightface = pytest.importorskip("insightface")
    return decode((Path(insightface.__file__).parent / "data" / "images" / "t1.jpg").read_bytes())


def write_registrations(folder: Path) -> None:
    """Six people who signed up twice: the faces of one photo with their surroundings, as they
    are and darker.
    """
    photo = photo_of_six()
    (faces,) = open_detector(DetectorSpec()).detect([photo])
    for number, box in enumerate(faces.boxes):
        picture = crop_box(photo, box, margin=2)
        for identity, pixels in ((number, picture), (number + 6, picture // 2)):
            storage.write_file(folder / f"{identity}/1.png", encode(pixels, ".png"))


def write_clip(path: Path) -> None:
    """A video of 20 frames with one face."""
    write_video(path, n_frames=20, size=(360, 640), face=photo_of_six()[230:440, 430:610])
