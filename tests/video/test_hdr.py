"""The curves of HLG and PQ at known points, and colours that must return."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faceprep.core.arrays import Doubles, Pixels
from faceprep.video.hdr import (
    _DECODERS,
    _TO_BT709,
    HLG,
    PQ,
    SDR,
    ColourConverter,
    peak_of,
    transfer_of,
)

GREYS = np.repeat(np.linspace(0, 1, 50)[:, None], 3, axis=1)


def convert(rgb: Doubles, transfer: int, peak: float = 10.0) -> Pixels:
    coded = np.rint(rgb * 65535).astype(np.uint16)
    return ColourConverter(transfer, peak).convert(coded[None])[0]


@pytest.mark.parametrize("transfer", [PQ, HLG, SDR])
def test_grey_stays_grey_and_brighter_stays_brighter(transfer: int) -> None:
    found = convert(GREYS, transfer).astype(int)
    assert np.ptp(found, axis=1).max() <= 1
    assert (np.diff(found[:, 0]) >= 0).all() and found[0].max() == 0 and found[-1].min() == 255


def test_known_points() -> None:
    assert np.abs(convert(GREYS, SDR) - 255 * GREYS).max() <= 1
    pq = np.repeat([[0.751827], [0.508078]], 3, axis=1)  # 1,000 and 100 cd/m², SMPTE ST 2084
    assert convert(pq, PQ)[0].tolist() == [255] * 3
    scene = 0.1 ** (1 / 1.2)  # BT.2100: the share of the light that shows as 100 cd/m²
    coded = 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073
    hlg = np.full((1, 3), coded)
    assert np.abs(convert(hlg, HLG)[0].astype(int) - convert(pq, PQ)[1]).max() <= 1


def test_a_lower_peak_is_brighter() -> None:
    grey = np.full((1, 3), 0.5)
    assert convert(grey, PQ, 4.0).min() > convert(grey, PQ, 10.0).max() + 10


@pytest.mark.parametrize("transfer", [PQ, HLG, SDR])
def test_colours_of_the_smaller_gamut_return(transfer: int) -> None:
    """Light of BT.709 encoded in BT.2020 comes back, up to the brightness that is mapped."""
    light = np.random.default_rng(1).random((300, 3)) ** 2 + 0.01
    wide = light @ np.linalg.inv(_TO_BT709.astype(np.float64))
    table = _DECODERS[transfer](np.linspace(0, 1, 65536))
    coded = np.searchsorted(table, wide).clip(0, 65535) / 65535
    linear = (convert(coded, transfer) / 255.0) ** 2.4
    if transfer == SDR:
        inside = light.max(axis=1) < 1
        assert np.abs(linear - light)[inside].max() < 0.01
    else:
        colour = light / light.max(axis=1, keepdims=True)
        assert np.abs(linear / linear.max(axis=1, keepdims=True) - colour).max() < 0.05


def picture(**side: bytes) -> Any:
    return SimpleNamespace(color_trc=PQ, color_primaries=9, side_data=side)


def test_the_brightest_value_is_the_pictures_own() -> None:
    display = np.zeros(22, np.int32)
    display[18:] = 40_000_000, 10_000, 0, 1
    assert peak_of(picture()) == 10
    assert peak_of(picture(CONTENT_LIGHT_LEVEL=bytes(8))) == 10
    assert peak_of(picture(MASTERING_DISPLAY_METADATA=display.tobytes())) == 40
    both = {"MASTERING_DISPLAY_METADATA": display.tobytes()}
    light = np.array([600, 90], np.uint32).tobytes()
    assert peak_of(picture(CONTENT_LIGHT_LEVEL=light, **both)) == 6


def test_plain_pictures_are_left_alone() -> None:
    assert transfer_of(SimpleNamespace(color_trc=1, color_primaries=1)) is None
    assert transfer_of(SimpleNamespace(color_trc=2, color_primaries=2)) is None
    assert transfer_of(SimpleNamespace(color_trc=14, color_primaries=9)) == SDR
    assert transfer_of(SimpleNamespace(color_trc=18, color_primaries=9)) == HLG
