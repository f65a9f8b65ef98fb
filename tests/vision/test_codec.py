"""Every encoding gives the same pixels."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceprep.core.io.image_end import check_image
from faceprep.core.io.image_header import read_header
from faceprep.core.io.image_traits import RGB_555, RGB_565, RGB_888
from faceprep.vision import codec
from faceprep.vision.align import crop
from faceprep.vision.codec import Undecodable, decode, decode_noted, encode
from tests.encodings import FACE, KINDS, ODD, REFUSED, TURNS, distance, saved
from tests.real import DATA, needs_data

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
    assert note == "an animation: its first frame is used" and distance(pixels, FACE) < 6
    assert decode_noted(saved(FACE, kind))[1] == ""


def test_pages_are_noted() -> None:
    more = [Image.fromarray(FACE[::-1].copy())]
    pixels, note = decode_noted(saved(FACE, "TIFF", save_all=True, append_images=more))
    assert note == "a TIFF of several pages: the first is used" and (pixels == FACE).all()
    assert decode_noted(saved(FACE, "TIFF"))[1] == ""


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm", ".jp2"])
@pytest.mark.parametrize("n_bits", [8, 10, 12, 14, 16])
def test_the_bits_in_use_become_eight(suffix: str, n_bits: int) -> None:
    grey = cv2.cvtColor(FACE, cv2.COLOR_RGB2GRAY)
    grey[0, 0] = 255
    deep = grey.astype(np.uint16) << (n_bits - 8)
    data = saved(deep, "JPEG2000")
    if suffix != ".jp2":
        data = cv2.imencode(suffix, deep)[1].tobytes()
    pixels, note = decode_noted(data)
    assert (pixels == grey[..., None]).all()
    assert note == (
        f"{n_bits} of 16 bits are in use, and the upper 8 of them are kept" * (n_bits < 16)
    )


def test_pgm_with_a_comment_and_colours_of_16_bits() -> None:
    deep = FACE.astype(np.uint16) << 4
    head = b"P6 # a camera\n# of 12 bits\n%d %d\n4095\n" % FACE.shape[1::-1]
    assert (decode(head + deep.byteswap().tobytes()) == FACE).all()
    assert (decode(cv2.imencode(".png", deep[..., ::-1])[1].tobytes()) == FACE).all()


def bmp(n_bits: int, compression: int, masks: tuple[int, ...], header: int = 40) -> bytes:
    """Return FACE as a BMP of 16 or 32 bits, with the colours where the masks are."""
    height, width = FACE.shape[:2]
    values = np.zeros((height, width), np.uint32)
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        levels = np.rint(FACE[..., channel] / 255 * (mask >> shift)).astype(np.uint32)
        values |= levels << np.uint32(shift)
    rows = values.astype(f"<u{n_bits // 8}").tobytes()
    size = (header, width, -height, 1, n_bits, compression, len(rows), 0, 0, 0, 0)
    head = struct.pack("<IiiHHIIiiII", *size)
    if compression:
        head += struct.pack("<3I", *masks)
    head = head.ljust(header, b"\0")
    return struct.pack("<2sIII", b"BM", 14 + len(head + rows), 0, 14 + len(head)) + head + rows


@pytest.mark.parametrize(
    ("data", "step"),
    [
        (bmp(16, 0, RGB_555), 4.2),
        (bmp(16, 0, RGB_555, header=124), 4.2),
        (bmp(16, 3, RGB_555), 4.2),
        (bmp(16, 3, RGB_565), 4.2),
        (bmp(32, 0, RGB_888), 0),
        (bmp(32, 3, RGB_888), 0),
        (bmp(32, 3, (0xFF, 0xFF00, 0xFF0000), header=124), 0),
    ],
)
def test_a_bmp_of_5_or_6_bits_is_as_bright_as_others(data: bytes, step: float) -> None:
    """The values are multiples of 255 / 31, or 255 / 63 for the green of 6 bits."""
    wrong = decode(data).astype(int) - FACE
    assert np.abs(wrong).max() <= step + 0.5
    assert abs(wrong.mean()) < 0.5


@pytest.mark.parametrize("masks", [(0xFF, 0xFF00, 0xFF0000), (0x3FF00000, 0xFFC00, 0x3FF)])
def test_a_bmp_whose_masks_opencv_ignores_is_named(masks: tuple[int, ...]) -> None:
    with pytest.raises(Undecodable, match="a BMP with an unusual order of colours"):
        decode(bmp(32, 3, masks))


@pytest.mark.parametrize("largest", [1, 15, 100, 254, 255, 256, 300, 1000, 4095, 40000, 65534])
@pytest.mark.parametrize("head", [b"P2", b"P3", b"P5", b"P6"])
def test_values_of_a_pnm_reach_up_to_what_it_announces(head: bytes, largest: int) -> None:
    channels = FACE.copy() if head in (b"P3", b"P6") else FACE[..., :1].copy()
    channels[0, 0] = 255
    values = np.rint(channels / 255 * largest)
    stored = values.astype(np.uint8 if largest < 256 else ">u2")
    size = b" %d %d %d\n" % (*FACE.shape[1::-1], largest)
    is_text = head in (b"P2", b"P3")
    text = b"".join(b"%d\n" % value for value in stored.ravel().tolist())
    pixels, note = decode_noted(head + size + (text if is_text else stored.tobytes()))
    wrong = np.abs(pixels - values * (255 / largest)).max()
    assert wrong <= (0.5 if largest < 256 and not is_text else 1) and not note


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


def test_colours_of_an_avif_with_alpha() -> None:
    alpha = np.full(FACE.shape[:2], 128, np.uint8)
    assert distance(decode(saved(np.dstack([FACE, alpha]), "AVIF", quality=95)), FACE) < 3


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


@pytest.mark.parametrize("primary", [0, 1])
def test_several_images_of_a_heic_are_noted(primary: int) -> None:
    heif = pytest.importorskip("pillow_heif")
    images = [Image.fromarray(FACE), Image.fromarray(FACE[::-1].copy())]
    file, buffer = heif.from_pillow(images[0]), io.BytesIO()
    file.save(buffer, quality=95)
    assert decode_noted(buffer.getvalue())[1] == ""
    file.add_from_pillow(images[1])
    buffer = io.BytesIO()
    file.save(buffer, quality=95, primary_index=primary)
    pixels, note = decode_noted(buffer.getvalue())
    assert note == "a HEIC of several images: the main one is used"
    assert distance(pixels, np.asarray(images[primary])) < 6


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


@pytest.mark.parametrize("n_bits", [10, 12])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_deep_heic_has_eight_bits(mode: str, n_bits: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    stored = FACE if mode == "RGB" else FACE[..., 1]
    deep = np.ascontiguousarray(stored.astype(np.uint16) << (n_bits - 8))
    file = io.BytesIO()
    image = pillow_heif.from_bytes(f"{mode};{n_bits}", FACE.shape[1::-1], deep.tobytes())
    image.save(file, quality=95)
    pixels = decode(file.getvalue())
    expected = np.broadcast_to(stored.reshape(*FACE.shape[:2], -1), FACE.shape)
    assert pixels.dtype == np.uint8 and distance(pixels, expected) < 3


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


# Real files


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
def test_pgm_of_the_faces_of_cambridge() -> None:
    for path in sorted(DATA.glob("orl/*/1.pgm")):
        data = path.read_bytes()
        pixels = decode(data)
        raw = np.frombuffer(data[-92 * 112 :], np.uint8).reshape(112, 92)
        assert (pixels == raw[..., None]).all() and read_header(data).size == (112, 92)
        with pytest.raises(Undecodable, match="PGM is cut off"):
            decode(data[:-1])
