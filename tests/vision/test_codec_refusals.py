"""Cut-off and damaged images are refused, and bombs too, without a word of the decoders."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.synthetic import encode_face
from faceprep.vision.codec import Undecodable, decode, encode
from faceprep.vision.decoder_warnings import catch_warnings
from tests.encodings import FACE, KINDS, ODD, REFUSED, distance, saved
from tests.real import ROOT, needs_data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, "1 byte less"])
def test_what_is_cut_off_is_refused(kind: str, share: float | str) -> None:
    """Refuse it rather than return an image that is half grey."""
    data = saved(FACE, kind)
    end = int(len(data) * share) if isinstance(share, float) else -1
    with pytest.raises(Undecodable):
        decode(data[:end])


@pytest.mark.parametrize("kind", ["JPEG", "JPEG progressive"])
def test_a_jpeg_that_is_cut_off_and_closed_again_is_refused(kind: str) -> None:
    """Refuse an end marker after missing pixels, which libjpeg fills with grey and a warning."""
    data = saved(FACE, kind)
    with pytest.raises(Undecodable, match="damaged pixels: "):
        decode(data[: len(data) // 2] + b"\xff\xd9")


def test_bytes_behind_or_between_that_mean_nothing_do_no_harm() -> None:
    data = saved(FACE, "JPEG")
    for harmless in (data + b"more", data[:-2] + b"\0\0\0\0" + data[-2:]):
        assert distance(decode(harmless), FACE) < 1.5


def bombs() -> dict[str, bytes]:
    """Return headers that claim 60000 × 60000 pixels."""
    side = 60000
    ihdr = struct.pack(">II5B", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + ihdr + struct.pack(">I", zlib.crc32(b"IHDR" + ihdr))
    jpeg = saved(FACE, "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    tiff = struct.pack("<IHHHIIHHII", 8, 2, 256, 4, 1, side, 257, 4, 1, side)
    return {
        "png": b"\x89PNG\r\n\x1a\n" + chunk + b"\0" * 99 + b"IEND",
        "jpeg": jpeg[:at] + struct.pack(">HH", side, side) + jpeg[at + 4 :],
        "gif": b"GIF89a" + struct.pack("<HH", side, side) + b"\0" * 99,
        "bmp": b"BM" + struct.pack("<IIIIiiHHI", 0, 0, 54, 40, side, -side, 1, 24, 1) + b"\0" * 99,
        "webp": b"RIFF"
        + struct.pack("<I", 99)
        + b"WEBPVP8X"
        + struct.pack("<IIHBHB", 10, 0, side, 0, side, 0)
        + b"\0" * 99,
        "tiff": b"II*\0" + tiff + b"\0" * 99,
        "jp2": b"\0\0\0\x0cjP  \r\n\x87\n\xff\x4f\xff\x51"
        + struct.pack(">HHIIII", 47, 0, side, side, 0, 0),
        "pgm": b"P2 # a comment\n60000\n60000 255\n1 2 3 4",
    }


@pytest.mark.parametrize("kind", bombs())
def test_bombs_are_refused_by_their_header_at_once(kind: str) -> None:
    data = bombs()[kind]
    decode(encode_face(1, 1))  # OpenCV is loaded
    tracemalloc.start()
    started = perf_counter()
    with pytest.raises(
        Undecodable,
        match=r"too large: expected at most 178,956,970 pixels, found 60,00\d × 60,00\d$",
    ):
        decode(data)
    seconds, (_, peak) = perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.05 and peak < 1_000_000


def test_the_limit_is_the_callers() -> None:
    data = encode_face(1, 1)
    assert decode(data, max_pixels=112 * 112).shape == (112, 112, 3)
    with pytest.raises(Undecodable, match="expected at most 12,543 pixels, found 112 × 112"):
        decode(data, max_pixels=112 * 112 - 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no bytes at all"),
        (b"just some text", "not an image: it begins with 6a 75 73 74"),
        (encode(np.zeros((1, 1, 3), np.uint8), ".png"), "too small for an image: .* found 1 × 1"),
        (
            encode(np.zeros((3, 20000, 3), np.uint8), ".png"),
            "too small for an image: .* found 3 × 20,000",
        ),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC of 24 bytes does not hold its size"),
        (b"\xff\x0a" + bytes(20), "a JPEG XL image, .* convert it to JPEG or PNG"),
        (bytes(30) + b"TRUEVISION-XFILE.\0", "a TGA image, .* convert it to JPEG or PNG"),
        (b"II*\0\xff\xff\xff\x7f", "TIFF of 8 bytes does not hold its size"),
    ],
)
def test_what_is_not_an_image_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(Undecodable, match=reason) as caught:
        decode(data)
    assert "\n" not in str(caught.value)


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 10**6), st.binary(min_size=1, max_size=40))
def test_damaged_bytes_give_pixels_or_a_refusal(kind: str, place: int, junk: bytes) -> None:
    data = bytearray(saved(FACE[:40, :40], kind))
    at = place % len(data)
    data[at : at + len(junk)] = junk
    try:
        pixels = decode(bytes(data), max_pixels=10**6)
    except Undecodable:
        return
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3


# Silence

_NOISY = """
import sys
from pathlib import Path
from faceprep.vision.codec import Undecodable, decode
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode(path.read_bytes())
    except Undecodable:
        pass
sys.stderr.write("the end")
"""


def test_nothing_of_the_decoders_reaches_the_terminal(tmp_path: Path) -> None:
    for kind in KINDS:
        data = saved(FACE, kind)
        (tmp_path / f"{kind} whole").write_bytes(data)
        (tmp_path / f"{kind} cut").write_bytes(data[: len(data) // 2])
        (tmp_path / f"{kind} damaged").write_bytes(
            data[: len(data) // 2] + b"\x55" * 40 + data[len(data) // 2 + 40 :]
        )
    profile = (
        struct.pack(">I", 20) + b"iCCP" + b"x\0\0" + zlib.compress(b"bad", 0)[:17].ljust(17, b"\0")
    )
    png = saved(FACE, "PNG")
    (tmp_path / "profile.png").write_bytes(
        png[:33] + profile + struct.pack(">I", zlib.crc32(profile[4:])) + png[33:]
    )
    done = subprocess.run(
        [sys.executable, "-c", _NOISY, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "the end" and done.stdout == ""


def test_what_others_print_meanwhile_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    printed = b"12 of 20\nlibpng warning: iCCP: bad\nCorrupt JPEG data: bad Huffman code\n"
    _, messages = catch_warnings(lambda: os.write(2, printed))
    assert messages == ["libpng warning: iCCP: bad", "Corrupt JPEG data: bad Huffman code"]
    assert capfd.readouterr().err == "12 of 20\n"


def test_all_that_opencv_logs_is_caught(capfd: pytest.CaptureFixture[str]) -> None:
    entry = b"[ERROR:0@1.05] global x.cpp:1 f in function 'g'\n> expected 'x'\n>     is 1\n\n"
    _, messages = catch_warnings(lambda: os.write(2, entry * 5000 + b"12 of 20\n"))
    assert messages == [entry.split(b"\n")[0].decode()] * 5000
    assert capfd.readouterr().err == "12 of 20\n"


def test_threads_get_their_own_damage() -> None:
    sound, damaged = saved(FACE, "JPEG"), saved(FACE, "JPEG")[:2000] + b"\xff\xd9"
    wrong: list[str] = []

    def work(data: bytes, is_sound: bool) -> None:
        for _ in range(40):
            try:
                decode(data)
                found = True
            except Undecodable:
                found = False
            if found is not is_sound:
                wrong.append(f"{is_sound} expected")

    threads = [
        threading.Thread(target=work, args=(data, data is sound)) for data in (sound, damaged) * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_threads_decode_at_the_same_time() -> None:
    """Let two decoders meet inside: one at a time, neither would see the other."""
    meeting = threading.Barrier(2, timeout=20)
    threads = [threading.Thread(target=catch_warnings, args=(meeting.wait,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not meeting.broken


def test_an_error_inside_leaves_standard_error_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        catch_warnings(lambda: 1 / 0)
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_without_a_standard_error_it_works_too() -> None:
    program = (
        "import os; os.close(2)\nfrom faceprep.vision.codec import decode\nfrom "
        "faceprep.synthetic import encode_face"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\ndecode(encode_face(1, 1)); print('done')"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert done.stdout == b"done\n"


# Real files


@needs_data
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_the_odd_ones_are_refused_quickly(name: str) -> None:
    data = (ODD / name).read_bytes()
    started = perf_counter()
    with pytest.raises(Undecodable):
        decode(data)
    assert perf_counter() - started < 1
