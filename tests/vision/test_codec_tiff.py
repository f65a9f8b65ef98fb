"""Every kind of TIFF gives the same pixels, or is named with the reason."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from faceprep.core.arrays import Pixels
from faceprep.core.io.image_end import check_image
from faceprep.vision.codec import Undecodable, decode
from tests.encodings import FACE, TURNS, saved

_APART, _FIRST = 256, 768
"""Where the long fields and the first plane of a TIFF begin."""


def tiff(
    pixels: Pixels,
    n_bits: int = 16,
    is_white_0: bool = False,
    are_planes_apart: bool = False,
    tile: int = 0,
    **more: int,
) -> bytes:
    """Write (height, width, channels) uint8 as a TIFF, by `n_bits` of 16 bits or of 8 bits.

    `tile` is the side of its tiles, 0 for one strip. `more` are further tags, as in ``tag_274``.
    """
    height, width, n = pixels.shape
    samples = pixels if n_bits == 8 else pixels.astype("<u2") * 257 >> (16 - n_bits)
    if is_white_0:
        samples = (1 << n_bits) - 1 - samples
    planes = samples.transpose(2, 0, 1)[..., None] if are_planes_apart else samples[None]
    parts = [part for plane in planes for part in _cut(plane, tile)]
    n_bytes = parts[0].nbytes
    columns = {
        256: [width],
        257: [height],
        258: [8 * samples.itemsize] * n,
        262: [0 if is_white_0 else 1 if n == 1 else 2],
        277: [n],
        284: [1 + are_planes_apart],
        **({322: [tile], 323: [tile]} if tile else {}),
        324 if tile else 273: [_FIRST + place * n_bytes for place in range(len(parts))],
        325 if tile else 279: [n_bytes] * len(parts),
    }
    columns |= {int(name[4:]): [value] for name, value in more.items()}
    columns = dict(sorted(columns.items()))
    entries, apart = b"", b""
    for tag, values in columns.items():
        text = struct.pack(f"<{len(values)}I", *values)
        place = text if len(values) == 1 else struct.pack("<I", _APART + len(apart))
        apart += text if len(values) > 1 else b""
        entries += struct.pack("<HHI", tag, 4, len(values)) + place
    head = struct.pack("<2sHIH", b"II", 42, 8, len(columns)) + entries + bytes(4)
    stored = b"".join(part.tobytes() for part in parts)
    return (head.ljust(_APART, b"\0") + apart).ljust(_FIRST, b"\0") + stored


def _cut(plane: npt.NDArray[Any], tile: int) -> list[npt.NDArray[Any]]:
    """Cut (height, width, channels) into full tiles; those at the edges are filled up."""
    if not tile:
        return [plane]
    height, width = plane.shape[:2]
    filled = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
    rows, columns = (range(0, side, tile) for side in filled.shape[:2])
    return [filled[top : top + tile, left : left + tile] for top in rows for left in columns]


@pytest.mark.parametrize(
    ("channels", "is_white_0", "are_planes_apart"),
    [(3, False, False), (3, False, True), (1, False, False), (1, True, False)],
)
def test_every_tiff_of_16_bits_is_decoded(
    channels: int, is_white_0: bool, are_planes_apart: bool
) -> None:
    """OpenCV may leave the memory as it was, with what another image has left there."""
    data = tiff(FACE[..., :channels], 16, is_white_0, are_planes_apart)
    for value in (40, 200):
        other = np.full(FACE.shape, value, np.uint16)
        del other
        pixels = decode(data)
        assert pixels.flags.c_contiguous and (pixels == FACE[..., :channels]).all()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("form", ["B", "H"])
def test_a_big_tiff_is_decoded(order: str, form: str) -> None:
    height, width = FACE.shape[:2]
    depth = struct.calcsize(form)
    fields = {256: (width,), 257: (height,), 258: (8 * depth,) * 3, 262: (2,), 273: (_FIRST,)}
    fields |= {277: (3,), 278: (height,), 279: (FACE.size * depth,)}
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "2s3HQQ", mark, 43, 8, 0, 16, len(fields))
    for tag, values in fields.items():
        packed = struct.pack(f"{order}{len(values)}{'H' if len(values) > 1 else 'Q'}", *values)
        kind = 3 if len(values) > 1 else 16
        head += struct.pack(order + "HHQ8s", tag, kind, len(values), packed)
    pixels = FACE.astype(order + np.dtype(form).str[1:]) * (257 if depth > 1 else 1)
    data = head.ljust(_FIRST, b"\0") + pixels.tobytes()
    assert check_image(data).size == FACE.shape[:2] and (decode(data) == FACE).all()
    for at in (8, 16, 36):
        assert check_image(data[:at] + b"\xff" * 8 + data[at + 8 :]).suffix == ".tiff"
    with pytest.raises(Undecodable):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("tile", [0, 32])
@pytest.mark.parametrize("n_bits", [8, 16])
@pytest.mark.parametrize("are_planes_apart", [False, True])
def test_orientation_turns_the_image_and_not_each_tile(
    orientation: int, tile: int, n_bits: int, are_planes_apart: bool
) -> None:
    stored = (
        np.asarray(Image.fromarray(FACE).transpose(TURNS[orientation])) if orientation > 1 else FACE
    )
    data = tiff(stored, n_bits, False, are_planes_apart, tile, tag_274=orientation)
    assert (decode(data) == FACE).all()


@pytest.mark.parametrize("tile", [0, 32])
@pytest.mark.parametrize("n_bits", [10, 12, 16])
def test_white_stored_as_zero_is_white(n_bits: int, tile: int) -> None:
    """OpenCV damages the tiles at the right edge if it reads 8 of the 16 bits."""
    grey = FACE[..., 1:2].copy()
    grey[0, 0] = 0
    assert (decode(tiff(grey, n_bits, True, tile=tile)) == grey).all()


@pytest.mark.parametrize("n_bits", [10, 12])
def test_planes_with_fewer_bits_are_refused_and_not_dark(n_bits: int) -> None:
    with pytest.raises(Undecodable, match="stores each channel by itself"):
        decode(tiff(FACE, n_bits, are_planes_apart=True))


@pytest.mark.parametrize("tile", [0, 32])
@pytest.mark.parametrize("are_planes_apart", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_tiff_that_is_cut_off_is_named(tile: int, are_planes_apart: bool, share: float) -> None:
    """OpenCV leaves the missing part of a plane black, and reports it only in its log."""
    data = tiff(FACE, 8, False, are_planes_apart, tile)
    with pytest.raises(Undecodable, match="damaged pixels|cannot decode"):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("compression", [34712, 34933, 50000])
def test_an_unknown_compression_is_named(compression: int) -> None:
    """OpenCV leaves such an image black."""
    with pytest.raises(Undecodable, match=r"OpenCV cannot decode it: .*(compression|Compression)"):
        decode(tiff(FACE, 8, tag_259=compression))


@pytest.mark.parametrize("kind", ["tiff_lzw", "jpeg"])
def test_a_damaged_strip_is_named(kind: str) -> None:
    data = bytearray(saved(FACE, "TIFF", compression=kind))
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff" * 400
    with pytest.raises(Undecodable, match="damaged pixels: "):
        decode(bytes(data))


def test_a_later_page_that_is_cut_off_does_no_harm() -> None:
    image = Image.fromarray(FACE)
    data = saved(image, "TIFF", save_all=True, append_images=[image])
    assert (decode(data[: FACE.size + 1000]) == FACE).all()


@pytest.mark.parametrize(
    "tags", [{"tag_274": 0}, {"tag_274": 9}, {"tag_296": 0}, {"tag_296": 4}, {"tag_266": 7}]
)
@pytest.mark.parametrize("tile", [0, 32])
def test_a_bad_tag_that_changes_no_pixel_does_no_harm(tags: dict[str, int], tile: int) -> None:
    """Such as the orientation 0 of some scanners."""
    assert (decode(tiff(FACE, 8, tile=tile, **tags)) == FACE).all()
