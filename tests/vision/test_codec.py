"""Every encoding gives the same pixels. Cut-off and damaged images are refused, and bombs too."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceprep.core.arrays import Pixels
from faceprep.core.io.image_header import check_image, read_header
from faceprep.synthetic import draw_face, encode_face
from faceprep.vision import codec
from faceprep.vision.align import crop
from faceprep.vision.codec import Undecodable, decode, decode_noted, encode
from faceprep.vision.decoder_warnings import catch_warnings
from tests.real import DATA, ROOT, needs_data

FACE = cv2.GaussianBlur(draw_face(2, 1, 160)[0][:, 20:140], (0, 0), 2)
ODD = DATA / "photos" / "odd"
KINDS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "JPEG progressive": {"quality": 95, "progressive": True},
    "PNG": {},
    "GIF": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "PPM": {},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "TIFF jpeg": {"compression": "jpeg", "quality": 95},
    "JPEG2000": {},
}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def saved(pixels: Pixels | Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, kind.partition(" ")[0], **KINDS.get(kind, {}) | options)
    return file.getvalue()


def distance(found: Pixels, expected: Pixels) -> float:
    """Compute the mean difference after a little smoothing, for palettes and JPEG."""
    assert found.shape == expected.shape
    smooth = [cv2.blur(pixels, (5, 5)).astype(float) for pixels in (found, expected)]
    return float(np.abs(smooth[0] - smooth[1]).mean())


# Pixels


@pytest.mark.parametrize("kind", KINDS)
def test_a_red_patch_stays_red(kind: str) -> None:
    red = np.full((64, 64, 3), (250, 10, 10), np.uint8)
    pixels = decode(saved(red, kind))
    assert np.abs(pixels.astype(int) - red).max() <= 3
    cut = crop(pixels, np.array([[1.0, 0, 0], [0, 1, 0]]), (32, 32))
    for suffix in (".png", ".jpg"):
        assert np.abs(decode(encode(cut, suffix)).astype(int) - red[:32, :32]).max() <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(kind: str) -> None:
    data = saved(FACE, kind)
    assert distance(decode(data), FACE) < 1.5
    assert check_image(data).size == FACE.shape[:2] and not check_image(data).damage


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_orientation_is_applied_once_and_none_is_written(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    pixels = decode(saved(Image.fromarray(FACE).transpose(TURNS[orientation]), kind, exif=exif))
    assert distance(pixels, FACE) < 1.5
    for suffix in (".jpg", ".png"):
        again = encode(pixels, suffix)
        assert (
            0x112 not in Image.open(io.BytesIO(again)).getexif()
            and distance(decode(again), FACE) < 1.5
        )


def test_depths_and_colour_spaces() -> None:
    grey = cv2.cvtColor(FACE, cv2.COLOR_RGB2GRAY)
    three = np.repeat(grey[..., None], 3, axis=2)
    deep = grey.astype(np.uint16) * 257
    for data in (saved(grey, "PNG"), saved(grey, "JPEG"), saved(grey, "TIFF"), saved(grey, "PPM")):
        assert distance(decode(data), three) < 1.5
    for suffix in (".png", ".tiff", ".pgm"):
        assert distance(decode(cv2.imencode(suffix, deep)[1].tobytes()), three) < 1
    assert (
        distance(decode(saved(Image.fromarray(FACE).convert("CMYK"), "JPEG", quality=95)), FACE) < 3
    )
    assert distance(decode(saved(Image.fromarray(FACE).quantize(256), "PNG")), FACE) < 3
    assert decode(saved(Image.fromarray(grey).convert("1"), "PNG")).shape == FACE.shape


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_dropped_and_the_colour_under_it_stays(kind: str) -> None:
    alpha = np.tile(np.linspace(0, 255, FACE.shape[1]).astype(np.uint8), (len(FACE), 1))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert (decode(saved(np.dstack([FACE, alpha]), kind, **options)) == FACE).all()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    more = [Image.fromarray(FACE[::-1].copy())]
    assert distance(decode(saved(FACE, kind, save_all=True, append_images=more)), FACE) < 1.5


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_noted(kind: str) -> None:
    more = [Image.fromarray(FACE[::-1].copy())]
    pixels, note = decode_noted(saved(FACE, kind, save_all=True, append_images=more))
    assert note == "an animation, its first frame is taken" and distance(pixels, FACE) < 6
    assert decode_noted(saved(FACE, kind))[1] == ""


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize("n_bits", [8, 10, 12, 14, 16])
def test_the_bits_in_use_become_eight(suffix: str, n_bits: int) -> None:
    grey = cv2.cvtColor(FACE, cv2.COLOR_RGB2GRAY)
    grey[0, 0] = 255
    deep = grey.astype(np.uint16) << (n_bits - 8)
    pixels, note = decode_noted(cv2.imencode(suffix, deep)[1].tobytes())
    assert (pixels == grey[..., None]).all()
    assert note == (
        f"{n_bits} of 16 bits are in use, of which the upper 8 are taken" * (n_bits < 16)
    )


def test_pgm_with_a_comment_and_colours_of_16_bits() -> None:
    deep = FACE.astype(np.uint16) << 4
    head = b"P6 # a camera\n# of 12 bits\n%d %d\n4095\n" % FACE.shape[1::-1]
    assert (decode(head + deep.byteswap().tobytes()) == FACE).all()
    assert (decode(cv2.imencode(".png", deep[..., ::-1])[1].tobytes()) == FACE).all()


# Phones


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    image = Image.fromarray(FACE)
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
    stored = saved(image, "AVIF", quality=95, exif=exif)
    assert distance(decode(stored), FACE) < 3
    with pytest.raises(Undecodable, match=r"AVIF is cut off|cannot decode"):
        decode(stored[: len(stored) // 2])


def test_avif_bombs_are_refused_by_their_header() -> None:
    data = saved(FACE, "AVIF")
    at = data.index(b"ispe") + 8
    with pytest.raises(Undecodable, match="too large"):
        decode(data[:at] + struct.pack(">II", 60_000, 60_000) + data[at + 8 :])


@needs_data
def test_a_heic_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (DATA / "cases/photos/phone/ana/IMG_1.HEIC").read_bytes()
    monkeypatch.setattr(codec, "can_read_heic", lambda: False)
    assert check_image(data) == (".heic", (900, 666), "")
    with pytest.raises(Undecodable, match=r"pip install 'faceprep\[heic\]'"):
        decode(data)


@needs_data
def test_heic_is_like_the_jpeg_beside_it() -> None:
    pytest.importorskip("pillow_heif")
    folder = DATA / "cases/photos/phone"
    for name in ("ana/IMG_1.HEIC", "ana/IMG_3.avif", "bob/IMG_5.heif"):
        data = (folder / name).read_bytes()
        assert decode(data).shape in ((900, 666, 3), (579, 439, 3))
        with pytest.raises(Undecodable):
            decode(data[: len(data) * 2 // 3])
    assert decode((folder / "bob/IMG_7.jfif").read_bytes()).shape == (579, 439, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_upright(orientation: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x112] = orientation
    image = Image.fromarray(FACE)
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=95, exif=exif.tobytes())
    assert distance(decode(file.getvalue()), FACE) < 4


@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 2**32))
def test_png_loses_nothing(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert (decode(encode(pixels, ".png")) == pixels).all()


@pytest.mark.parametrize("kind", KINDS)
def test_any_buffer_will_do(kind: str) -> None:
    data = saved(FACE, kind)
    assert (decode(bytearray(data)) == decode(data)).all() and (
        decode(memoryview(data)) == decode(data)
    ).all()
    with pytest.raises(Undecodable):
        decode(memoryview(data)[:-1])


# Refusals


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
def test_what_is_no_image_is_named(data: bytes, reason: str) -> None:
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

REFUSED = {
    "bomb_60000x60000.png",
    "one_pixel.png",
    "text.jpg",
    "truncated.jpg",
    "very_wide.png",
    "zero_bytes.jpg",
}


@needs_data
def test_the_same_face_from_every_encoding() -> None:
    face = decode((ODD / "UPPER.JPG").read_bytes())
    grey = np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    n = 0
    for path in sorted(ODD.iterdir()):
        if path.name in REFUSED or path.name.startswith("rgba"):
            continue
        expected = grey if path.name.startswith("gray") else face
        assert distance(decode(path.read_bytes()), expected) < 2, path.name
        n += 1
    assert n == 16
    assert decode((ODD / "rgba_32bit.png").read_bytes()).shape == (1200, 626, 3)


@needs_data
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_the_odd_ones_are_refused_quickly(name: str) -> None:
    data = (ODD / name).read_bytes()
    started = perf_counter()
    with pytest.raises(Undecodable):
        decode(data)
    assert perf_counter() - started < 0.05


@needs_data
def test_pgm_of_the_faces_of_cambridge() -> None:
    for path in sorted(DATA.glob("orl/*/1.pgm")):
        data = path.read_bytes()
        pixels = decode(data)
        raw = np.frombuffer(data[-92 * 112 :], np.uint8).reshape(112, 92)
        assert (pixels == raw[..., None]).all() and read_header(data).size == (112, 92)
        with pytest.raises(Undecodable, match="PGM is cut off"):
            decode(data[:-1])
