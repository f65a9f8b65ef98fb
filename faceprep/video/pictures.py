"""Conversion of decoded pictures to upright RGB, as a player shows them.

Colours: the matrix and the range that the video names; BT.601 and limited range where it names
none, as in FFmpeg and OpenCV. Chroma of 4:2:0 and 4:2:2 is not interpolated: this is three times
as fast, and within 2 of 255 on even colours. Chroma of 4:4:4 is kept. Pixels that are not square
are scaled to square ones, and HLG, PQ and BT.2020 become BT.709.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Pixels
from faceprep.core.errors import SourceError
from faceprep.video import hdr
from faceprep.video.decoder import pyav
from faceprep.video.filters import FilterChain

_FAST = ("FAST_BILINEAR",)
_EXACT = "BICUBIC", "FULL_CHR_H_INT", "ACCURATE_RND"
_MOST_STRETCH = 8
"""An aspect ratio of pixels beyond this, or below its inverse, is a fault of the file."""


class _Kind(NamedTuple):
    """The properties of a picture that decide on its conversion."""

    format: str
    width: int
    height: int
    transfer: int | None
    rotation: int


class _Recipe(NamedTuple):
    """The conversion of one kind of picture: `scaler` or arguments of `reformat`, and the rest.

    `reformatter` keeps FFmpeg's tables, which take longer to make than a small picture to convert.
    """

    reformatter: Any
    options: dict[str, Any]
    scaler: FilterChain | None
    colours: hdr.ColourConverter | None
    matrix: npt.NDArray[np.int32] | None

    def convert(self, picture: Any) -> Any:
        """Return the picture as an array, before `colours` and `matrix` are applied."""
        if self.scaler is not None:
            self.scaler.push(picture)
            picture = self.scaler.pull()
        return self.reformatter.reformat(picture, **self.options).to_ndarray()


class PictureConverter:
    """A converter of the pictures of one video.

    `aspect` is the width of a pixel in heights, None if the file does not state it. `path` is named
    in errors. `notes` are short sentences about what was converted so far, each once.
    """

    def __init__(self, aspect: Fraction | None, path: str | None = None) -> None:
        self._aspect, self._path = aspect, path
        self._recipes: dict[_Kind, _Recipe] = {}
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Add a sentence unless it is there."""
        if text not in self.notes:
            self.notes.append(text)

    def convert(self, picture: Any) -> Pixels:
        """Return the upright RGB pixels (height, width, 3) uint8 of a picture.

        Raises SourceError for colours that FFmpeg does not convert, such as YCgCo and ICtCp.
        """
        kind = _Kind(
            picture.format.name,
            picture.width,
            picture.height,
            hdr.transfer_of(picture),
            picture.rotation,
        )
        recipe = self._recipes.get(kind)
        if recipe is None:  # read side data once: each access makes a reference cycle
            recipe = self._recipes[kind] = self._plan(picture, kind)
        try:
            stored = recipe.convert(picture)
        except pyav().FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            raise SourceError(
                "its colours cannot be converted to RGB",
                path=self._path,
                found=f"{kind.format} with the matrix number {picture.colorspace} of ITU-T H.273",
                remedy="Convert them with ffmpeg's filter zscale=matrix=709.",
            ) from error
        pixels: Pixels = stored if recipe.colours is None else recipe.colours.convert(stored)
        return pixels if recipe.matrix is None else turn_upright(pixels, recipe.matrix)

    def _plan(self, picture: Any, kind: _Kind) -> _Recipe:
        data = picture.side_data.get("DISPLAYMATRIX")
        matrix = None if data is None else np.frombuffer(bytes(data), np.int32)
        height, width = size = self._square_size(kind)
        options: dict[str, Any] = {"format": "rgb24", "threads": 1}
        scaler = colours = None
        is_exact = _has_full_colour(picture.format)
        if kind.transfer is not None:
            options |= {"format": hdr.FORMAT, "width": width, "height": height}
            colours, is_exact = hdr.ColourConverter(kind.transfer, hdr.peak_of(picture)), True
            self.note(f"{hdr.NAMES[kind.transfer]} converted to BT.709")
        elif size != (kind.height, kind.width):
            scaler = FilterChain(
                picture, ("scale", f"{width}:{height}:flags=bicubic"), ("format", "rgb24")
            )
        if size != (kind.height, kind.width):
            self.note(
                f"pixels of {_ratio(self._aspect)} made square, "
                f"{kind.width} × {kind.height} to {width} × {height}"
            )
        options["interpolation"] = _interpolation(_EXACT if is_exact else _FAST)
        return _Recipe(_reformatter(), options, scaler, colours, matrix)

    def _square_size(self, kind: _Kind) -> tuple[int, int]:
        """Return the (height, width) of a picture with square pixels, as it is stored.

        The width that a player shows changes. In a picture stored on its side, that is the height.
        """
        aspect = self._aspect
        if not aspect or aspect == 1:
            return kind.height, kind.width
        if not 1 <= max(aspect, 1 / aspect) <= _MOST_STRETCH:
            self.note(f"pixels of {_ratio(aspect)} treated as square: no camera has them")
            return kind.height, kind.width
        if kind.rotation % 180:
            return max(1, int(kind.height / aspect)), kind.width
        return kind.height, max(1, int(kind.width * aspect))


def _ratio(aspect: Fraction | None) -> str:
    return f"{aspect.numerator}:{aspect.denominator}" if aspect else ""


def _reformatter() -> Any:
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


def _interpolation(names: Sequence[str]) -> Any:
    from av.video.reformatter import Interpolation

    flags = Interpolation[names[0]]
    for name in names[1:]:
        flags |= Interpolation[name]
    return flags


def _has_full_colour(form: Any) -> bool:
    """Return whether the fast conversion would halve the width of colours that are complete.

    FFmpeg copies RGB of 8 bits, but takes deeper RGB through YUV 4:2:2 by default.
    """
    if form.is_rgb:
        return any(component.bits > 8 for component in form.components)  # noqa: PLR2004
    sizes = form.chroma_width(64), form.chroma_height(64)
    return len(form.components) > 2 and sizes == (64, 64)


def turn_upright(pixels: Pixels, matrix: npt.NDArray[np.int32]) -> Pixels:
    """Apply a display matrix: x' = m[0] x + m[3] y, y' = m[1] x + m[4] y, to the nearest quarter
    turn or mirror.
    """
    swapped = abs(int(matrix[1])) > abs(int(matrix[0]))
    turned = pixels.swapaxes(0, 1) if swapped else pixels
    x, y = (matrix[3], matrix[1]) if swapped else (matrix[0], matrix[4])
    step_y, step_x = (-1 if axis < 0 else 1 for axis in (y, x))
    return np.ascontiguousarray(turned[::step_y, ::step_x])
