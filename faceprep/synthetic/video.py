"""Draws videos in which a face moves and every frame shows its own number: for tests, examples
and a first try.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Pixels
from faceprep.synthetic.images import draw_face
from faceprep.video.decoder import pyav
from faceprep.video.siw_boxes import face_lines

_N_BITS = 12
_TICK = Fraction(1, 12_000)
_CODECS = {".webm": "libvpx", ".avi": "mpeg4"}
_QUARTER_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
_MATRIX_IN_TKHD = 44
"""Bytes from the box's name to its matrix (ISO/IEC 14496-12, 8.3.2, version 0)."""


@dataclass(frozen=True, slots=True)
class VideoStyle:
    """The format of a video.

    `rotation` is the clockwise turn in degrees that a player applies (.mp4, .mov): 0, 90, 180, 270.
    `varies` makes every third frame last three times as long as the others.
    """

    fps: int = 30
    b_frames: int = 0
    key_every: int = 12
    varies: bool = False
    rotation: int = 0


PLAIN = VideoStyle()


def frame_times(n_frames: int, style: VideoStyle = PLAIN) -> list[Fraction]:
    """Return the seconds of each frame from the first one.

    >>> [float(time) for time in frame_times(5, VideoStyle(fps=10, varies=True))]
    [0.0, 0.1, 0.2, 0.5, 0.6]
    """
    step = Fraction(1, style.fps)
    return [(number + 2 * (number // 3) * style.varies) * step for number in range(n_frames)]


def face_box(
    number: int, size: tuple[int, int], face_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the box x1 y1 x2 y2 of the face.

    It circles in the (height, width) of the video, below its number.

    >>> face_box(0, (180, 320), (96, 96))
    (208, 66, 304, 162)
    """
    (height, width), top = size, size[0] // 10
    room_y, room_x = height - top - face_size[0], width - face_size[1]
    x1 = round(room_x * (0.5 + 0.43 * np.cos(number / 9)))
    y1 = top + round(room_y * (0.73 + 0.25 * np.sin(number / 7)))
    return x1, y1, x1 + face_size[1], y1 + face_size[0]


def draw_frame(number: int, size: tuple[int, int], face: Pixels) -> Pixels:
    """Draw a frame (height, width, 3) RGB: blocks in black and white that encode `number`, and
    `face` at its `face_box`.
    """
    height, width = size
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = (60, 90, 120)
    block = width // _N_BITS
    for bit in range(_N_BITS):
        pixels[: height // 10, bit * block : (bit + 1) * block] = 255 * (number >> bit & 1)
    x1, y1, x2, y2 = face_box(number, size, face.shape[:2])
    pixels[y1:y2, x1:x2] = face
    return pixels


def read_number(pixels: Pixels) -> int:
    """Read the number that a frame shows.

    >>> read_number(draw_frame(1234, (180, 320), draw_face(0, 0, 96)[0]))
    1234
    """
    height, width = pixels.shape[:2]
    block = width // _N_BITS
    y = height // 20
    return sum(
        int(pixels[y, bit * block + block // 2].mean() > 127) << bit for bit in range(_N_BITS)
    )


def write_video(
    path: Path,
    n_frames: int = 30,
    size: tuple[int, int] = (180, 320),
    style: VideoStyle = PLAIN,
    face: Pixels | None = None,
) -> list[tuple[int, int, int, int]]:
    """Write a video of up to 4096 frames in the format of the suffix; return the box of each frame.

    `size` (height, width) is as displayed. `face` is any picture of a face smaller than the video;
    without it one is drawn.
    """
    picture = draw_face(1, 0, size[0] // 2)[0] if face is None else face
    frames = (draw_frame(number, size, picture) for number in range(n_frames))
    storage.write_file(
        path, encode_video(path.suffix, frames, frame_times(n_frames, style), style), durable=False
    )
    return [face_box(number, size, picture.shape[:2]) for number in range(n_frames)]


def encode_video(
    suffix: str, frames: Iterator[Pixels], times: Sequence[Fraction], style: VideoStyle = PLAIN
) -> bytes:
    """Encode upright RGB `frames`, all of one size with even sides; .mp4 .mov .mkv .webm .avi."""
    av = pyav()
    file = io.BytesIO()
    file.name = f"video{suffix}"  # PyAV chooses the container by this name
    with av.open(file, "w") as container:
        stream: Any = None
        for pixels, time in zip(frames, times, strict=True):
            stored = np.ascontiguousarray(np.rot90(pixels, style.rotation // 90))
            stream = stream or _add_stream(container, suffix, stored.shape[:2], style)
            frame = av.VideoFrame.from_ndarray(stored, "rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(time / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = file.getvalue()
    if style.rotation:
        return _turned(data, _QUARTER_TURNS[style.rotation])
    return data


def _add_stream(container: Any, suffix: str, size: tuple[int, ...], style: VideoStyle) -> Any:
    stream = container.add_stream(_CODECS.get(suffix, "libx264"), rate=style.fps)
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.gop_size, context.thread_count = style.key_every, 1
    context.max_b_frames = 0 if suffix == ".webm" else style.b_frames
    context.bit_rate = 4_000_000
    context.time_base = Fraction(1, style.fps) if suffix == ".avi" else _TICK
    return stream


def _turned(data: bytes, turn: tuple[int, int, int, int]) -> bytes:
    a, b, c, d = (value << 16 for value in turn)
    place = data.index(b"tkhd") + _MATRIX_IN_TKHD
    return data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :]


# A tree in the layout of SiW

SIW_SOUND = "Train/live/003/003-1-1-1-1"
SIW_MISSING_VALUES = "Train/spoof/006/006-2-3-4-1"
SIW_NO_FACE = "Train/spoof/121/121-2-3-2-1"
SIW_DOUBLE_SUFFIX = "Test/live/009/009-1-1-1-1"
SIW_FEW_ROWS = "Test/spoof/032/032-2-3-4-1"
SIW_CUT_OFF = "Test/spoof/032/032-2-3-4-2"


def write_siw_like(root: Path, n_frames: int = 24, face: Pixels | None = None) -> None:
    """Write videos beside .face files with the known defects of SiW.

    The names SIW_… identify them.
    """
    names = (
        SIW_SOUND,
        SIW_MISSING_VALUES,
        SIW_NO_FACE,
        SIW_DOUBLE_SUFFIX,
        SIW_FEW_ROWS,
        SIW_CUT_OFF,
    )
    for name in names:
        video = root / f"{name}{'.m' if name == SIW_DOUBLE_SUFFIX else ''}.mov"
        lines = face_lines(write_video(video, n_frames, face=face)).splitlines(keepends=True)
        if name == SIW_MISSING_VALUES:
            lines[3::5] = [_without(line, 1) for line in lines[3::5]]
        if name == SIW_NO_FACE:
            lines = [b"0 0 0 0\n"] * n_frames
        if name == SIW_FEW_ROWS:
            lines = [*lines[: n_frames - 6], b"garbage\n"]
        if name == SIW_CUT_OFF:
            storage.write_file(video, storage.read_bytes(video, limit=4000), durable=False)
        else:
            storage.write_file(root / f"{name}.face", b"".join(lines), durable=False)


def _without(line: bytes, column: int) -> bytes:
    values = line.split(b" ")
    values[column] = b""
    return b" ".join(values)
