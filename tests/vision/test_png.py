"""A PNG holds the pixels that were given, for every decoder, and is the same at each attempt."""

from __future__ import annotations

import hashlib
import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceprep.core.arrays import Pixels
from faceprep.core.io.image_end import check_image
from faceprep.synthetic import draw_face
from faceprep.vision.codec import decode, encode
from faceprep.vision.png import encode_png
from tests.real import DATA, ROOT, needs_data

KINDS = ("noise", "flat", "ramp", "stripes", "dots")
VIEWS = {
    "mirrored": lambda pixels: pixels[:, ::-1],
    "upside down": lambda pixels: pixels[::-1],
    "turned": lambda pixels: np.rot90(pixels),
    "BGR": lambda pixels: pixels[..., ::-1],
    "every third": lambda pixels: pixels[::3, ::3],
    "part": lambda pixels: pixels[5:40, 7:50],
    "Fortran": np.asfortranarray,
    "colours apart": lambda pixels: np.moveaxis(
        np.ascontiguousarray(np.moveaxis(pixels, 2, 0)), 0, 2
    ),
}
FACE = draw_face(2, 1, 160)[0]


def draw(kind: str, height: int, width: int, seed: int = 0) -> Pixels:
    """Draw (height, width, 3) pixels of a kind."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "noise":
        return noise
    if kind == "ramp":
        return (np.add.outer(np.arange(height), np.arange(width))[..., None] + noise[0, 0]).astype(
            np.uint8
        )
    pixels = np.full((height, width, 3), noise[0, 0], np.uint8)
    if kind == "stripes":
        pixels[::2] = noise[-1, -1]
    if kind == "dots":
        is_dot = rng.random((height, width)) < 0.05
        pixels[is_dot] = noise[is_dot]
    return pixels


def assert_holds(data: bytes, pixels: Pixels) -> None:
    """Check the file strictly, and that every decoder finds the pixels."""
    assert_is_sound(data, *pixels.shape[:2])
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert bgr.dtype == np.uint8 and (bgr[..., ::-1] == pixels).all()
    Image.open(io.BytesIO(data)).verify()
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode, image.info) == ("PNG", "RGB", {})
        assert (np.asarray(image) == pixels).all()
    assert (iio.imread(data, extension=".png") == pixels).all()


def assert_is_sound(data: bytes, height: int, width: int) -> None:
    """Check each chunk, the stream in IDAT, and that nothing follows."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        assert checksum == zlib.crc32(kind + body)
        chunks.append((kind, body))
        at += 12 + length
    assert at == len(data) and [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    assert chunks[0][1] == struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    assert chunks[2][1] == b""
    inflate = zlib.decompressobj()
    rows = inflate.decompress(chunks[1][1])
    assert inflate.eof and not inflate.unused_data and len(rows) == height * (1 + 3 * width)
    header = check_image(data)
    assert (header.suffix, header.size, header.damage) == (".png", (height, width), "")


@given(st.sampled_from(KINDS), st.integers(1, 130), st.integers(1, 130), st.integers(0, 2**32 - 1))
def test_every_decoder_finds_the_pixels(kind: str, height: int, width: int, seed: int) -> None:
    pixels = draw(kind, height, width, seed)
    assert_holds(encode_png(pixels), pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 1), (1, 9000), (9000, 1), (1025, 777)])
@pytest.mark.parametrize("kind", KINDS)
def test_narrow_and_long_images(kind: str, shape: tuple[int, int]) -> None:
    pixels = draw(kind, *shape)
    assert_holds(encode_png(pixels), pixels)


@pytest.mark.parametrize("view", VIEWS)
def test_views_of_other_pixels_are_encoded_and_left_as_they_are(view: str) -> None:
    pixels = VIEWS[view](FACE)
    before = pixels.copy()
    pixels.flags.writeable = False
    assert_holds(encode_png(pixels), before)
    assert encode(pixels, ".png") == encode_png(before)
    assert (pixels == before).all()


@pytest.mark.parametrize("kind", ["noise", "flat"])
def test_a_large_image(kind: str) -> None:
    """Noise takes more than the 64 MiB for which zlib's buffers and chunks are often split."""
    pixels = draw(kind, 4000, 6000)
    data = encode_png(pixels)
    assert check_image(data).damage == "" and (decode(data) == pixels).all()
    assert len(data) < pixels.nbytes * 1.001


@pytest.mark.parametrize("pixels", [FACE[..., 0], np.dstack([FACE, FACE[..., :1]]), FACE[:0]])
def test_other_shapes_are_refused(pixels: Pixels) -> None:
    with pytest.raises((ValueError, IndexError)):
        encode_png(pixels)


# The same bytes


def digest_files(order: int) -> str:
    """Encode images of all kinds in an order, and return the hash of the files by image."""
    images = [(kind, side) for kind in KINDS for side in (1, 30, 112, 256)] * 3
    files = dict.fromkeys(images, b"")
    for kind, side in images[::order]:
        data = encode_png(draw(kind, side, side, side))
        assert files[kind, side] in (b"", data)
        files[kind, side] = data
    return hashlib.sha256(b"".join(files.values())).hexdigest()


def test_bytes_depend_neither_on_threads_nor_on_processes_nor_on_earlier_images() -> None:
    orders = [1, -1] * 4
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(digest_files, orders))
    program = "from tests.vision.test_png import digest_files; print(digest_files(-1))"
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert found == {digest_files(1)} == {other.stdout.strip()}, other.stderr


# Size


def real_crops() -> list[Pixels]:
    """Cut faces, roughly, out of the photos of people."""
    paths = sorted((DATA / "orl").glob("*/1.pgm"))
    paths += sorted((DATA / "photos" / "registration").glob("*/*.jpg"))
    crops = []
    for path in paths:
        pixels = decode(path.read_bytes())
        height, width = pixels.shape[:2]
        middle = pixels[height // 8 : height - height // 8, width // 8 : width - width // 8]
        crops.append(cv2.resize(middle, (112, 112), interpolation=cv2.INTER_AREA))
    return crops


@needs_data
def test_crops_of_photos_are_smaller_than_with_opencv() -> None:
    crops = real_crops()
    assert len(crops) >= 30
    ours = np.array([len(encode_png(crop)) for crop in crops])
    theirs = np.array([len(cv2.imencode(".png", crop[..., ::-1])[1]) for crop in crops])
    assert ours.sum() < 0.85 * theirs.sum() and (ours < 1.1 * theirs).all()
    for crop in crops:
        assert_holds(encode_png(crop), crop)


# Without deflate


def test_without_deflate_the_reason_and_the_remedy_are_named(tmp_path: Path) -> None:
    (tmp_path / "deflate.py").write_text("raise ImportError('No module named deflate')")
    program = (
        "import numpy as np\nfrom faceprep.vision.codec import encode\n"
        "pixels = np.zeros((9, 9, 3), np.uint8)\nencode(pixels, '.jpg')\n"
        "try:\n    encode(pixels, '.png')\nexcept Exception as error:\n    print(repr(error))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    assert "PNG cannot be written (No module named deflate). pip install deflate" in done.stdout
