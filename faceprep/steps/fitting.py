"""Crops of one template, converted to the template of a model."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Pixels
from faceprep.core.opencv import opencv
from faceprep.vision import align
from faceprep.vision.templates import Template, load_template, map_template

_OTHER_SHAPE = "not of the template's shape: letterboxed with black"


class Fitter:
    """A conversion of crops from the template `source` to `target`."""

    def __init__(self, source: Template, target: Template) -> None:
        self._source, self._target = source, target
        self._transforms: dict[tuple[int, int], npt.NDArray[np.float64]] = {}

    def fit(self, image: Pixels) -> Pixels:
        """Convert an image.

        One with the source's aspect ratio is scaled; another is letterboxed with black.
        """
        size = image.shape[0], image.shape[1]
        if self._source.name == self._target.name and size == self._target.size:
            return image
        if size not in self._transforms:
            self._transforms[size] = map_template(self._source, self._target, size)
        return align.crop_smooth(image, self._transforms[size], self._target.size)

    def describe_shape(self, image: Pixels) -> str:
        """Describe that an image has another shape than the source; empty if it has the same."""
        return _describe_shape(image, self._source.size)


@functools.cache
def open_fitter(source: str, target: str) -> Fitter:
    """Open the fitter between two named templates. Raises OptionError."""
    return Fitter(load_template(source), load_template(target))


class Scaler:
    """A scaling of crops of any template to a `size` (height, width) in pixels."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size

    def fit(self, image: Pixels) -> Pixels:
        """Scale an image; one of another shape is letterboxed with black."""
        height, width = self._size
        if image.shape[:2] == self._size:
            return image
        scale = min(height / image.shape[0], width / image.shape[1])
        sides = [max(round(side * scale), 1) for side in image.shape[:2]]
        method = opencv().INTER_LINEAR
        if scale < 1:
            method = opencv().INTER_AREA  # every pixel counts
        scaled = opencv().resize(image, (sides[1], sides[0]), interpolation=method)
        top, left = (height - sides[0]) // 2, (width - sides[1]) // 2
        fitted = np.zeros((height, width, 3), np.uint8)
        fitted[top : top + sides[0], left : left + sides[1]] = scaled
        return fitted

    def describe_shape(self, image: Pixels) -> str:
        """Describe that an image has another shape than the size; empty if it has the same."""
        return _describe_shape(image, self._size)


def _describe_shape(image: Pixels, size: tuple[int, int]) -> str:
    if _is_of_shape(image, size):
        return ""
    return f"{image.shape[0]} × {image.shape[1]}, {_OTHER_SHAPE}"


def _is_of_shape(image: Pixels, size: tuple[int, int]) -> bool:
    """Return whether an image has the aspect ratio of `size`, to the pixel."""
    height, width = size
    difference: int = abs(image.shape[0] * width - image.shape[1] * height)
    return difference <= max(height, width)
