"""A drawn face in every encoding, and the distance of decoded pixels from it."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from PIL import Image

from faceprep.core.arrays import Pixels
from faceprep.synthetic import draw_face
from tests.real import DATA

ODD = DATA / "photos" / "odd"
REFUSED = {
    "bomb_60000x60000.png",
    "one_pixel.png",
    "text.jpg",
    "truncated.jpg",
    "very_wide.png",
    "zero_bytes.jpg",
}
FACE = cv2.GaussianBlur(draw_face(2, 1, 160)[0][:, 20:140], (0, 0), 2)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What Pillow does to an upright image so that it has an EXIF orientation."""
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
