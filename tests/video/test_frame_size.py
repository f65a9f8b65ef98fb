"""A video that announces huge frames is refused by its header, before any memory is taken."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.errors import SourceError
from faceprep.video import decoder
from faceprep.video.reader import VideoReader

av = pytest.importorskip("av")

HEIGHT, WIDTH = 304, 336


def encode(codec: str, form: str, height: int, width: int) -> Any:
    """Return a packet of a black frame."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = width, height, form
    context.time_base = Fraction(1, 10)
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), "rgb24")
    return [*context.encode(frame), *context.encode(None)][0]


def write(path: Path, codec: str, form: str, heights: Sequence[int]) -> None:
    """Write a video of black frames of these heights; the header states the first."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, heights[0], form
        for number, height in enumerate(heights):
            packet = encode(codec, form, height, WIDTH)
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base = Fraction(1, 10)
            container.mux(packet)


def as_header(height: int, width: int) -> bytes:
    """Return a size as Matroska states it."""
    return b"\xb0\x82" + width.to_bytes(2, "big") + b"\xba\x82" + height.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (16_000, "at most 134,217,728 pixels, found 16,000 × 16,000"),
        (60_000, "missing, or larger than FFmpeg accepts"),
    ],
)
def test_a_header_with_huge_frames_is_refused(side: int, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write(path, "ffv1", "yuv420p", [HEIGHT])
    data, place = path.read_bytes(), as_header(HEIGHT, WIDTH)
    assert data.count(place) == 1
    path.write_bytes(data.replace(place, as_header(side, side)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match=message):
        VideoReader(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (100 << 10)


def test_frames_larger_than_their_header_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mkv"
    write(path, "mjpeg", "yuvj420p", [HEIGHT, 8 * HEIGHT, HEIGHT])
    with VideoReader(path) as video:
        assert len(list(video.frames())) == 3
    monkeypatch.setattr(decoder, "_MOST_PIXELS", 4 * HEIGHT * WIDTH)
    with VideoReader(path) as video:
        assert [frame.number for frame in video.frames()] == [0, 2] and video.missed == [1]
