"""Preparation of crops for a model in a file: size, template, normalisation, colours, layout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.text import parse_whole

_SIDE = 112
ARCFACE_MEAN = ARCFACE_STD = 127.5
KERAS_STD = 128.0
"""Keras_insightface trains with this and a mean of 127.5."""
UNCHANGED = {"mean": "0", "std": "1"}
"""The normalisation of a model that takes pixels as they are."""
COLORS = ("rgb", "bgr")
_CHANNELS = 3
_SIZE_OF_TEMPLATE = re.compile(r"-(\d+)(?:x(\d+))?$", re.ASCII)
_FITTED = ("arcface-", "dlib-")
"""Templates of landmarks, which differ in more than their scale from one size to another."""


class InputOptions(NamedTuple):
    """Options of the caller that describe the input and the output of a model's file.

    `mean` and `std` are one number, or three in the order R, G, B. `size` is (height, width) in
    pixels, and `color` rgb or bgr. `crops` is the template of the crops that the model takes; a box
    template of another size is the same one, scaled. `output` is the name of the output to use.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None
    color: str = ""
    crops: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class Preparation:
    """The normalisation (pixel - mean) / std, in the colour order and layout of a model.

    >>> crops = np.zeros((1, 2, 2, 3), np.uint8)
    >>> Preparation((2, 2), (2.0,), (4.0,), "bgr", channels_last=False).apply(crops).shape
    (1, 3, 2, 2)
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = (ARCFACE_MEAN,)
    std: tuple[float, ...] = (ARCFACE_STD,)
    color: str = "rgb"
    channels_last: bool = False
    template: str = ""
    """Name of the template that crops are aligned to; by default ArcFace's of the size."""

    def __post_init__(self) -> None:
        if not self.template:
            object.__setattr__(self, "template", _arcface(self.size))
        if not all(self.std):
            found = ", ".join(map(str, self.std))
            raise OptionError("--std or std=", expected="numbers other than 0", found=found)

    def apply(self, crops: Pixels) -> Floats:
        """Normalise (n, height, width, 3) RGB crops to float32.

        The result is (n, height, width, 3) if `channels_last`, else (n, 3, height, width).
        """
        values = crops.astype(np.float32)
        values -= np.array(self.mean, np.float32)
        values /= np.array(self.std, np.float32)
        if self.color == "bgr":
            values = values[..., ::-1]
        if not self.channels_last:
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values)

    def __str__(self) -> str:
        mean = ",".join(f"{number:g}" for number in self.mean)
        std = ",".join(f"{number:g}" for number in self.std)
        return f"mean{mean}/std{std}/{self.color}"


def choose_preparation(
    shape: Sequence[Any],
    options: InputOptions,
    metadata: Mapping[str, str],
    std: float = ARCFACE_STD,
) -> Preparation:
    """Choose the preparation for a model whose input has the given `shape`.

    `shape` holds four numbers, with None or a name for a free one. `options` take precedence over
    the file's `metadata`: mean, std, size and color. The defaults are a mean of 127.5 and `std`.
    Raises SourceError, OptionError.

    >>> str(choose_preparation((None, 112, 96, 3), InputOptions(std=(128.0,)), {"color": "bgr"}))
    'mean127.5/std128/bgr'
    """
    height, width, channels_last = _read_shape(shape)
    of_template = _read_template(options.crops)
    wanted = options.size or _read_size(metadata)
    if wanted is None and not (height or width):
        wanted = of_template
    size = _choose_size(height, width, wanted)
    return Preparation(
        size,
        options.mean or _read_numbers(metadata, "mean") or (ARCFACE_MEAN,),
        options.std or _read_numbers(metadata, "std") or (std,),
        options.color or _read_color(metadata),
        channels_last,
        _fit_template(options.crops, of_template, size),
    )


def _arcface(size: tuple[int, int]) -> str:
    return f"arcface-{_show_size(size)}"


def _show_size(size: tuple[int, int]) -> str:
    height, width = size
    return str(height) if height == width else f"{height}x{width}"


def _read_template(template: str) -> tuple[int, int] | None:
    """Return the (height, width) at the end of a template's name, or None without one."""
    match = _SIZE_OF_TEMPLATE.search(template)
    if match is None:
        return None
    return int(match[1]), int(match[2] or match[1])


def _fit_template(template: str, of_template: tuple[int, int] | None, size: tuple[int, int]) -> str:
    """Return `template` at the `size` of the model. Raises OptionError where they disagree."""
    if of_template is None or of_template == size:
        return template
    if template.startswith(_FITTED):
        raise OptionError(
            f"crops of {template}",
            expected=f"the size {_show_size(size)}, which the model takes",
            found=_show_size(of_template),
        )
    return f"{template.rpartition('-')[0]}-{_show_size(size)}"


def _read_shape(shape: Sequence[Any]) -> tuple[int | None, int | None, bool]:
    """Return height, width (None for a free one) and whether the channels come last.

    Raises SourceError.
    """
    sides = [side if isinstance(side, int) and side > 0 else None for side in shape]
    if len(sides) == 4:
        _, first, middle, last = sides
        if first == _CHANNELS or first is last is None:
            return middle, last, False
        if last == _CHANNELS:
            return first, middle, True
    raise SourceError(
        "not a model of face crops",
        expected="one input (n, 3, height, width) or (n, height, width, 3)",
        found=f"{tuple(shape)}",
    )


def _choose_size(
    height: int | None, width: int | None, wanted: tuple[int, int] | None
) -> tuple[int, int]:
    """Return the `wanted` size, or the model's own; a free side equals the other one.

    Raises OptionError if the model's fixed sides differ from `wanted`.
    """
    size = wanted or (height or width or _SIDE, width or height or _SIDE)
    if (height or size[0], width or size[1]) != size:
        raise OptionError(
            "--size or size=",
            expected=f"{height}x{width}, which the model has",
            found="x".join(map(str, size)),
        )
    return size


def _read_numbers(metadata: Mapping[str, str], name: str) -> tuple[float, ...] | None:
    if name not in metadata:
        return None
    try:
        numbers = tuple(float(number) for number in metadata[name].strip("[]() ").split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3):
        raise _bad_metadata(metadata, name, "a number, or three")
    return numbers


def _read_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    if "size" not in metadata:
        return None
    height, _, width = metadata["size"].partition("x")
    size = parse_whole(height), parse_whole(width or height)
    if size[0] is None or size[1] is None:
        raise _bad_metadata(metadata, "size", "such as 112 or 112x96")
    return size[0], size[1]


def _read_color(metadata: Mapping[str, str]) -> str:
    color = metadata.get("color", "rgb").lower()
    if color not in COLORS:
        raise _bad_metadata(metadata, "color", " or ".join(COLORS))
    return color


def _bad_metadata(metadata: Mapping[str, str], name: str, expected: str) -> SourceError:
    return SourceError(
        f"the file's metadata has a bad {name}",
        expected=expected,
        found=repr(metadata[name]),
        remedy=f"Give {name}= in the model spec.",
    )
