"""Pictures as pixels: a converter gives each picture the pixels that it has alone."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from faceprep.core.errors import SourceError
from faceprep.video.pictures import PictureConverter, _Recipe

BT709, BT601, FULL, LIMITED = 1, 5, 2, 1
YCGCO, CONSTANT_2020, ICTCP = 8, 10, 14


def picture(colorspace: int, color_range: int, side: int) -> Any:
    av = pytest.importorskip("av")
    planes = np.random.default_rng(side).integers(0, 256, (side * 3 // 2, side), np.uint8)
    made = av.VideoFrame.from_ndarray(planes, "yuv420p")
    made.colorspace, made.color_range = colorspace, color_range
    return made


def test_a_picture_does_not_depend_on_those_before_it() -> None:
    converter, seen = PictureConverter(None), set[bytes]()
    kinds = [(BT709, LIMITED), (BT601, LIMITED), (BT709, FULL), (BT601, FULL), (BT709, LIMITED)]
    for colorspace, color_range in kinds:
        for side in (64, 48):
            made = picture(colorspace, color_range, side)
            pixels = converter.convert(made)
            assert np.array_equal(pixels, PictureConverter(None).convert(made))
            seen.add(pixels.tobytes())
    assert len(seen) == 8


@pytest.mark.parametrize("colorspace", [YCGCO, CONSTANT_2020, ICTCP])
@pytest.mark.parametrize("aspect", [None, Fraction(4, 3)])
def test_colours_that_ffmpeg_does_not_convert(colorspace: int, aspect: Fraction | None) -> None:
    expected = f"a.mkv: its colours .* matrix number {colorspace} of ITU-T H.273"
    with pytest.raises(SourceError, match=expected):
        PictureConverter(aspect, "a.mkv").convert(picture(colorspace, LIMITED, 64))


def test_a_lack_of_memory_is_no_fault_of_the_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")

    def fail(*_: object) -> None:
        raise av.error.MemoryError(12, "Cannot allocate memory")

    monkeypatch.setattr(_Recipe, "convert", fail)
    with pytest.raises(MemoryError):
        PictureConverter(None, "a.mkv").convert(picture(1, LIMITED, 64))
