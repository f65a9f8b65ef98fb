"""Crops of one template, converted to the template of a model."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Pixels
from faceprep.vision import align
from faceprep.vision.templates import Template, load_template, map_template


class Fitter:
    """A conversion of crops from the template `source` to `target`."""

    def __init__(self, source: Template, target: Template) -> None:
        self._source, self._target = source, target
        self._transforms: dict[tuple[int, int], npt.NDArray[np.float64]] = {}

    def fit(self, image: Pixels) -> Pixels:
        """Convert an image.

        One with the source's aspect ratio is scaled; another is fitted into it on black.
        """
        size = image.shape[0], image.shape[1]
        if self._source.name == self._target.name and size == self._target.size:
            return image
        if size not in self._transforms:
            self._transforms[size] = map_template(self._source, self._target, size)
        return align.crop_smooth(image, self._transforms[size], self._target.size)

    def is_of_shape(self, image: Pixels) -> bool:
        """Return whether an image has the aspect ratio of the source, to the pixel."""
        height, width = self._source.size
        difference: int = abs(image.shape[0] * width - image.shape[1] * height)
        return difference <= max(height, width)


@functools.cache
def open_fitter(source: str, target: str) -> Fitter:
    """Open the fitter between two named templates. Raises OptionError."""
    return Fitter(load_template(source), load_template(target))
