"""Headers of encoded images."""

from __future__ import annotations

import struct
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.io.image_end import check_image, check_images
from faceprep.core.io.image_header import find_scan, is_image_name, read_header
from faceprep.synthetic import encode_face
from faceprep.vision import codec
from tests.real import DATA, needs_data

JPEG, PNG = encode_face(1, 1), encode_face(1, 1, ".png")
RUNS = b"BM" + struct.pack("<IIIIiiHHI", 0, 0, 54, 40, 10_000, 10_000, 1, 8, 1) + bytes(20)
"""The header of a BMP whose pixels are in runs."""


@pytest.mark.parametrize(("data", "suffix"), [(JPEG, ".jpg"), (PNG, ".png")])
def test_sound_images(data: bytes, suffix: str) -> None:
    for kind in (bytes, bytearray, memoryview):
        assert read_header(kind(data)) == (suffix, (112, 112), "")
    assert (
        check_image(data) == check_image(data + b"trailing bytes" * 99) == (suffix, (112, 112), "")
    )
    assert "without its" in check_image(data[:-40]).damage


def test_an_image_that_is_not_read_is_named() -> None:
    damage = read_header(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 4 +X 4\n").damage
    assert damage == "a Radiance HDR image, which is not read: convert it to JPEG or PNG"


def test_a_chunk_that_announces_more_bytes_than_there_are() -> None:
    bomb = PNG[:33] + b"\xff\xff\xff\xf0IDAT" + bytes(700) + PNG[-12:]
    assert check_image(bomb).damage == "PNG without its IEND chunk"
    assert check_image(PNG[:33] + PNG[-12:]).damage == ""  # a decoder finds that it has no pixels


@pytest.mark.parametrize(
    ("data", "n_bytes"),
    [(JPEG[:163] + b"\x27\x10\x27\x10" + JPEG[167:], len(JPEG)), (RUNS + bytes(900), 954)],
)
def test_more_pixels_than_the_bytes_can_hold(data: bytes, n_bytes: int) -> None:
    expected = f"of {n_bytes:,} bytes cannot hold 10,000 × 10,000 pixels"
    assert check_image(data).damage.endswith(expected)


def test_flat_images_are_as_small_as_they_can_be() -> None:
    """Flat images have the most pixels per byte, and are not bombs."""
    flat = np.zeros((8000, 8000, 3), np.uint8)
    for suffix in (".jpg", ".png"):
        assert check_image(codec.encode(flat, suffix)).damage == ""


@pytest.mark.parametrize("at", [4, 20, 22, 90])
def test_a_jpeg_with_a_broken_segment(at: int) -> None:
    broken = bytearray(JPEG)
    broken[at : at + 60] = b"\x55" * 60
    assert "JPEG" in read_header(broken).damage


def test_a_sound_head_does_not_hide_a_later_broken_one() -> None:
    assert not read_header(JPEG).damage
    broken = JPEG[:20] + b"\0" + JPEG[21:]
    assert read_header(broken).damage
    assert not read_header(JPEG).damage


@pytest.mark.parametrize("n_more", range(-1, 6))
def test_the_damage_of_an_image_does_not_depend_on_images_before_it(n_more: int) -> None:
    alone = JPEG[:2] + b"\xff\xfe\0\4" + b"%2d" % n_more + JPEG[2:]
    cut = alone[: find_scan(alone) + n_more]
    found = check_image(cut)
    assert found.damage
    assert not check_image(alone).damage
    assert check_image(cut) == check_image(bytearray(cut)) == found


def test_a_thumbnails_end_is_not_the_images() -> None:
    thumbnail = b"\xff\xe1" + (len(JPEG) + 2).to_bytes(2, "big") + JPEG
    assert check_image(JPEG[:2] + thumbnail + JPEG[2:]).damage == ""
    assert "without its end" in check_image(JPEG[:2] + thumbnail + JPEG[2:-30]).damage


def test_cut_off_and_empty() -> None:
    assert "ends before its scan" in read_header(JPEG[:100]).damage
    assert "IHDR" in read_header(PNG[:20]).damage
    assert read_header(b"").damage == "no bytes at all"


@given(st.binary(max_size=100), st.integers(0, len(JPEG)))
def test_any_bytes_get_an_answer(junk: bytes, cut: int) -> None:
    for data in (junk, b"\xff\xd8\xff" + junk, JPEG[:cut] + junk, PNG[: cut % 60] + junk):
        header = read_header(data)
        assert header.suffix or header.damage


def tiff(*tags: tuple[int, int]) -> bytes:
    entries = [(256, 40), (257, 30), *tags]
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + listed + bytes(64)


def test_raw_pictures_are_not_taken_for_their_preview() -> None:
    assert read_header(tiff()) == (".tiff", (30, 40), "")
    assert "a raw (DNG) image" in read_header(tiff((50706, 0x104))).damage
    assert "a raw image" in read_header(tiff((254, 1))).damage
    assert read_header(tiff((254, 0))).damage == ""


@pytest.mark.parametrize(
    "name", ["a.HEIC", "a.heif", "a.avif", "a.jfif", "a.mpo", "a.DNG", "a.tga"]
)
def test_suffixes_of_phones_and_cameras(name: str) -> None:
    assert is_image_name(name)


@needs_data
def test_suffixes_of_real_photos() -> None:
    folder = DATA / "photos" / "odd"
    expected = {
        "jpeg_named.png": ".jpg",
        "webp.webp": ".webp",
        "palette.gif": ".gif",
        "bmp.bmp": ".bmp",
    }
    expected |= {
        "tiff.tiff": ".tiff",
        "gray16.png": ".png",
        "cmyk.jpg": ".jpg",
        "UPPER.JPG": ".jpg",
    }
    found = {name: read_header((folder / name).read_bytes()) for name in expected}
    assert {name: header.suffix for name, header in found.items()} == expected
    assert not any(header.damage for header in found.values())
    assert read_header((folder / "text.jpg").read_bytes()).damage
    assert check_image((folder / "truncated.jpg").read_bytes()).damage
    assert not any(check_image((folder / name).read_bytes()).damage for name in expected)


@given(st.binary(max_size=300), st.sampled_from([b"avif", b"heic", b"avis", b"mif1"]))
def test_any_boxes_get_an_answer(junk: bytes, brand: bytes) -> None:
    for data in (junk, b"\0\0\0\x10meta\0\0\0\0" + junk):
        whole = b"\0\0\0\x14ftyp" + brand + bytes(4) + brand + data
        header = check_image(whole)
        assert header.suffix or header.damage


@given(data=st.data())
def test_many_images_are_checked_as_each_is(data: st.DataObject) -> None:
    """Images shorter than the head of the first, or cut off, are found among sound ones."""
    jpeg = encode_face(0, 0)
    kinds = st.sampled_from([jpeg, encode_face(1, 0), encode_face(0, 0, ".png"), b"", b"text"])
    images = data.draw(
        st.lists(st.one_of(kinds, st.integers(0, len(jpeg)).map(lambda n: jpeg[:n])), min_size=1)
    )
    block = b"".join(images)
    stops = list(accumulate(map(len, images)))
    starts = [stop - len(image) for stop, image in zip(stops, images, strict=True)]
    assert check_images(block, starts, stops) == [check_image(image) for image in images]
