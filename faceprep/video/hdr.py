"""Conversion of HDR and wide gamut to BT.709, as by FFmpeg's filters `zscale` and `tonemap`.

The filters are not in PyAV's wheels, so the chain is computed here, with 1.0 at 100 cd/m²:

    zscale=transfer=linear:npl=100, zscale=primaries=bt709, tonemap=hable:desat=0,
    zscale=transfer=bt709

HLG is displayed at 1,000 cd/m² with a gamma of 1.2 in each channel. The brightest value that
`tonemap` keeps is the one that the picture names (MaxCLL, else that of the mastering display), else
1,000 cd/m². BT.2020 of ordinary brightness keeps it and is clipped to the smaller gamut.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Pixels

PQ, HLG = 16, 18
"""Numbers of transfer characteristics, ITU-T H.273."""
BT2020 = 9
"""The number of its primaries, ITU-T H.273."""
SDR = 1
NAMES = {PQ: "PQ", HLG: "HLG", SDR: "BT.2020"}
FORMAT = "gbrp16le"
"""The format of pictures to convert."""
_N_VALUES = 1 << 16
_STRIPE = 32
_DARKEST = np.float32(1e-6)
_DISPLAY_GAMMA = 2.4
_SDR_WHITE, _DEFAULT_PEAK = 100.0, 10.0
_TO_BT709 = np.array(
    [
        [1.660491, -0.124550, -0.018151],
        [-0.587641, 1.132900, -0.100579],
        [-0.072850, -0.008349, 1.118730],
    ],
    np.float32,
)
"""Linear BT.2020 to BT.709, to be multiplied from the right; ITU-R BT.2087."""


def transfer_of(picture: Any) -> int | None:
    """Return PQ, HLG, or SDR for BT.2020 of ordinary brightness; None for a plain picture."""
    if picture.color_trc in (PQ, HLG):
        return int(picture.color_trc)
    return SDR if picture.color_primaries == BT2020 else None


def peak_of(picture: Any) -> float:
    """Return the brightest value that a picture names, in 100 cd/m²; 10 where it names none."""
    light = picture.side_data.get("CONTENT_LIGHT_LEVEL")
    if light is not None and len(bytes(light)) >= 4:
        (brightest,) = struct.unpack_from("=I", bytes(light))
        if brightest:
            return float(brightest) / _SDR_WHITE
    display = picture.side_data.get("MASTERING_DISPLAY_METADATA")
    if display is not None and len(bytes(display)) >= 88:
        above, below, _, has_luminance = struct.unpack_from("=iiii", bytes(display), 72)
        if has_luminance and above > 0 < below:
            return float(above / below / _SDR_WHITE)
    return _DEFAULT_PEAK


class ColourConverter:
    """A converter of pictures with one transfer and one peak, as `transfer_of` and `peak_of`.

    The curves of single channels are tables with an entry for each value of 16 bits.
    """

    def __init__(self, transfer: int, peak: float) -> None:
        coded = np.linspace(0, 1, _N_VALUES)
        self._linear = _DECODERS[transfer](coded).astype(np.float32)
        self._is_mapped, self._peak = transfer != SDR, peak
        self._coded = np.rint(255 * coded ** (2 / _DISPLAY_GAMMA)).astype(np.uint8)

    def convert(self, rgb: npt.NDArray[np.uint16]) -> Pixels:
        """Convert (height, width, 3) of full range to the colours of BT.709, uint8."""
        pixels = np.empty(rgb.shape, np.uint8)
        for top in range(0, len(rgb), _STRIPE):  # a stripe stays in the cache
            pixels[top : top + _STRIPE] = self._convert_stripe(rgb[top : top + _STRIPE])
        return pixels

    def _convert_stripe(self, rgb: npt.NDArray[np.uint16]) -> Pixels:
        linear = self._linear[rgb] @ _TO_BT709
        if self._is_mapped:
            red, green, blue = linear[..., 0], linear[..., 1], linear[..., 2]
            brightest = np.maximum(np.maximum(red, green), np.maximum(blue, _DARKEST))
            share = _hable(brightest) / (_hable(np.float32(self._peak)) * brightest)
            linear *= share[..., None]
        roots = np.sqrt(np.clip(linear, 0, 1, out=linear), out=linear)  # so dark steps stay fine
        roots *= _N_VALUES - 1
        coded: Pixels = self._coded[(roots + np.float32(0.5)).astype(np.uint16)]
        return coded


def _decode_bt1886(coded: Doubles) -> Doubles:
    linear: Doubles = coded**_DISPLAY_GAMMA
    return linear


def _decode_pq(coded: Doubles) -> Doubles:
    """Decode SMPTE ST 2084 to linear light."""
    root = coded ** (1 / 78.84375)
    ratio = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    linear: Doubles = 100 * ratio ** (1 / 0.1593017578125)
    return linear


def _decode_hlg(coded: Doubles) -> Doubles:
    """Decode ARIB STD-B67 to the light of a display of 1,000 cd/m²."""
    high = (np.exp((coded - 0.55991073) / 0.17883277) + 0.28466892) / 12
    scene = np.where(coded <= 0.5, coded * coded / 3, high)
    linear: Doubles = 10 * scene**1.2  # each channel alone, as `zscale` does it
    return linear


def _hable(x: Any) -> Any:
    """Map brightness by the filmic curve of John Hable, with the constants of `tonemap`."""
    return (x * (x * 0.15 + 0.05) + 0.004) / (x * (x * 0.15 + 0.5) + 0.06) - 0.02 / 0.3


_DECODERS: dict[int, Callable[[Doubles], Doubles]] = {
    PQ: _decode_pq,
    HLG: _decode_hlg,
    SDR: _decode_bt1886,
}
