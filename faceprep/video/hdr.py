"""High dynamic range and wide gamut to BT.709, as FFmpeg's filters `zscale` and `tonemap` do it.

The colours of a picture are looked up in a cube that FFmpeg's filter `haldclut` interpolates. The
cube holds the result of this chain, with 1.0 at 100 cd/m²:

    zscale=transfer=linear:npl=100, zscale=primaries=bt709, tonemap=hable:desat=0,
    zscale=transfer=bt709

HLG is displayed at 1,000 cd/m² with a gamma of 1.2 in each channel. The brightest value that
`tonemap` keeps is the one that the picture names (MaxCLL, else that of the mastering display), else
1,000 cd/m². BT.2020 of ordinary brightness keeps it and is clipped to the smaller gamut.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles
from faceprep.video.decoder import pyav

PQ, HLG = 16, 18
"""Numbers of transfer characteristics, ITU-T H.273."""
BT2020 = 9
"""The number of its primaries, ITU-T H.273."""
SDR = 1
NAMES = {PQ: "PQ", HLG: "HLG", SDR: "BT.2020"}
FLOATS = "gbrpf32le"
"""The format of pictures that `haldclut` looks up fast and in the right order of channels."""
_LEVEL = 8
"""A cube of 64 steps a side, held as a picture of 512 × 512."""
_TICK = Fraction(1, 25)
_SDR_WHITE, _DEFAULT_PEAK = 100.0, 10.0
_TO_BT709 = np.array(
    [
        [1.660491, -0.587641, -0.072850],
        [-0.124550, 1.132900, -0.008349],
        [-0.018151, -0.100579, 1.118730],
    ]
)


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


def convert_colours(rgb: Doubles, transfer: int, peak: float) -> Doubles:
    """Convert coded RGB (…, 3) of BT.2020, 0 to 1, to coded RGB of BT.709, 0 to 1."""
    if transfer == PQ:
        linear = _decode_pq(rgb)
    elif transfer == HLG:
        linear = _decode_hlg(rgb)
    else:
        linear = rgb**2.4  # BT.1886
    linear = np.einsum("...i,ji->...j", linear, _TO_BT709)
    if transfer != SDR:
        brightest = np.maximum(linear.max(axis=-1, keepdims=True), 1e-6)
        linear = linear * (_hable(brightest) / _hable(np.array(peak)) / brightest)
    coded: Doubles = np.clip(linear, 0, 1) ** (1 / 2.4)
    return coded


def _decode_pq(coded: Doubles) -> Doubles:
    """Decode SMPTE ST 2084 to linear light, 1.0 at 100 cd/m²."""
    root = coded ** (1 / 78.84375)
    ratio = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    linear: Doubles = 100 * ratio ** (1 / 0.1593017578125)
    return linear


def _decode_hlg(coded: Doubles) -> Doubles:
    """Decode ARIB STD-B67 to the light of a display of 1,000 cd/m², 1.0 at 100 cd/m²."""
    high = (np.exp((coded - 0.55991073) / 0.17883277) + 0.28466892) / 12
    scene = np.where(coded <= 0.5, coded * coded / 3, high)
    return 10 * scene**1.2  # each channel alone, as `zscale` does it


def _hable(x: Doubles) -> Doubles:
    """Map brightness by the filmic curve of John Hable, with the constants of `tonemap`."""
    return (x * (x * 0.15 + 0.05) + 0.004) / (x * (x * 0.15 + 0.5) + 0.06) - 0.02 / 0.3


@lru_cache(maxsize=4)
def build_cube(transfer: int, peak: float) -> npt.NDArray[np.uint16]:
    """Build the picture that `haldclut` takes: (512, 512, 3) uint16, red runs fastest."""
    steps = np.linspace(0, 1, _LEVEL**2)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    rgb = convert_colours(np.stack([red, green, blue], axis=-1), transfer, peak)
    side = _LEVEL**3
    return np.rint(rgb * 65535).astype(np.uint16).reshape(side, side, 3)


class ColourLookup:
    """FFmpeg's filter `haldclut` with the cube of one kind of picture.

    `transfer` is that of `transfer_of`, `peak` that of `peak_of`. All pictures have one size.
    """

    def __init__(self, transfer: int, peak: float, size: tuple[int, int]) -> None:
        av = pyav()
        cube = av.VideoFrame.from_ndarray(build_cube(transfer, peak), format="rgb48le")
        cube = cube.reformat(format=FLOATS)
        graph = av.filter.Graph()
        height, width = size
        self._source = graph.add_buffer(
            width=width, height=height, format=FLOATS, time_base=_TICK, name="pictures"
        )
        colours = graph.add_buffer(
            width=cube.width, height=cube.height, format=FLOATS, time_base=_TICK, name="cube"
        )
        lookup, self._sink = graph.add("haldclut", "clut=first"), graph.add("buffersink")
        self._source.link_to(lookup, 0, 0)
        colours.link_to(lookup, 0, 1)
        lookup.link_to(self._sink)
        graph.configure()
        self._graph, self._n = graph, 0
        cube.pts, cube.time_base = 0, _TICK
        colours.push(cube)
        colours.push(None)

    def convert(self, picture: Any) -> Any:
        """Return the picture, of the format FLOATS, in the colours of BT.709."""
        picture.pts, picture.time_base = self._n, _TICK
        self._n += 1
        self._source.push(picture)
        return self._sink.pull()
