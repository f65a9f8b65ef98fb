"""Debian's ffmpeg: it makes odd videos, and is the reference for their frames."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.arrays import Pixels

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(not FFMPEG, reason="no ffmpeg: apt-get install ffmpeg")
PATTERN = "testsrc2=size=320x180:rate=30:duration={}"
"""Colours that move, in patches."""
SOFT = "gblur=sigma=5,hue=s=0.4"
"""Soft edges: versions of ffmpeg place the chroma of hard ones half a pixel apart."""
HDR_TO_SDR = (
    "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable:desat=0,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv444p10le"
)
"""FFmpeg's own conversion of HLG and PQ."""


def run(*words: str | Path) -> bytes:
    """Run ffmpeg; return what it writes to standard output."""
    assert FFMPEG
    command = [FFMPEG, "-v", "error", "-y", *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert not done.returncode, done.stderr.decode()
    return done.stdout


def make(path: Path, *words: str, seconds: float = 1.0, filters: str = SOFT) -> Path:
    """Encode the moving pattern."""
    source = "-f", "lavfi", "-i", PATTERN.format(seconds)
    run(*source, "-vf", filters, *words, path)
    return path


def frames(path: Path, size: tuple[int, int], filters: str = "null") -> Pixels:
    """All frames that ffmpeg shows after `filters`: (n, height, width, 3) RGB."""
    timing = "-fps_mode", "passthrough"
    raw = "-vf", f"{filters},format=rgb24", "-f", "rawvideo", "-"
    data = np.frombuffer(run("-i", path, *timing, *raw), np.uint8)
    return data.reshape(-1, *size, 3)
