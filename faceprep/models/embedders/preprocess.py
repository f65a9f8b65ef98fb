"""What is done to crops before a model of a file sees them, and the embedder around such a
model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.embeddings import Model
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.faces import Floats, Pixels

_VERSION = 1
"""To be raised when the same file gives other answers."""
_SIDE = 112
ARCFACE_MEAN = ARCFACE_STD = 127.5
_ORIGIN = (
    "usual for models of ArcFace's kind, whose pairs part near 0.3 to 0.5; not measured for this "
    "one: verify it on a"
    " set of your own"
)
_PIECE = 1 << 22


class Given(NamedTuple):
    """What the caller says of a model's file: `mean` and `std` of one number or R, G, B; `size`
    height, width.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None
    color: str = ""


@dataclass(frozen=True, slots=True)
class Preparation:
    """(pixel - mean) / std, in the colours' order and the layout that the model takes.

    >>> crops = np.zeros((1, 2, 2, 3), np.uint8)
    >>> Preparation((2, 2), (2.0,), (4.0,), "bgr", channels_last=False)(crops).shape
    (1, 3, 2, 2)
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = (ARCFACE_MEAN,)
    std: tuple[float, ...] = (ARCFACE_STD,)
    color: str = "rgb"
    channels_last: bool = False

    def __post_init__(self) -> None:
        if not all(self.std):
            raise OptionError(
                "--std", expected="numbers other than 0", found=", ".join(map(str, self.std))
            )

    def __call__(self, crops: Pixels) -> Floats:
        """(n, height, width, 3) RGB to float32, (n, 3, height, width) or as it comes."""
        values = crops.astype(np.float32)
        values -= np.array(self.mean, np.float32)
        values /= np.array(self.std, np.float32)
        if self.color == "bgr":
            values = values[..., ::-1]
        if not self.channels_last:
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values)

    def __str__(self) -> str:
        mean, std = (
            ",".join(f"{number:g}" for number in numbers) for numbers in (self.mean, self.std)
        )
        return f"mean{mean}/std{std}/{self.color}"

    @property
    def template(self) -> str:
        """What crops are to be aligned to."""
        height, width = self.size
        return f"arcface-{height}" if height == width else f"arcface-{height}x{width}"


def prepare(
    shape: Sequence[Any], given: Given, told: Mapping[str, str], std: float = ARCFACE_STD
) -> Preparation:
    """For an input of `shape`: four numbers, None (or a name) where it is open.

    What is `given` counts before what the file has `told` of itself: mean, std, size, color;
    without either it is 127.5 and `std`. Raises SourceError, OptionError.

    >>> prepare((None, 112, 96, 3), Given(std=(128.0,)), {"color": "bgr"})
    Preparation(size=(112, 96), mean=(127.5,), std=(128.0,), color='bgr', channels_last=True)
    """
    sides = [side if isinstance(side, int) and side > 0 else None for side in shape]
    if len(sides) != 4 or 3 not in (
        sides[1],
        sides[3],
        *([3] if sides[1] is sides[3] is None else []),
    ):
        expected = "(n, 3, height, width) or (n, height, width, 3)"
        raise SourceError(
            "no model of face crops", expected=f"one input {expected}", found=f"{tuple(shape)}"
        )
    channels_last = sides[3] == 3 and sides[1] != 3
    height, width = sides[1:3] if channels_last else sides[2:4]
    asked = given.size or _told_size(told)
    size = asked or (height or width or _SIDE, width or height or _SIDE)
    if (height or size[0], width or size[1]) != size:
        raise OptionError(
            "--size",
            expected=f"{height}x{width}, which the model has",
            found="x".join(map(str, size)),
        )
    return Preparation(
        size,
        given.mean or _told_numbers(told, "mean") or (ARCFACE_MEAN,),
        given.std or _told_numbers(told, "std") or (std,),
        given.color or _told_color(told),
        channels_last,
    )


def _told_numbers(told: Mapping[str, str], name: str) -> tuple[float, ...] | None:
    if name not in told:
        return None
    try:
        numbers = tuple(float(number) for number in told[name].strip("[]() ").split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3):
        raise _bad_metadata(told, name, "a number, or three")
    return numbers


def _told_size(told: Mapping[str, str]) -> tuple[int, int] | None:
    if "size" not in told:
        return None
    height, _, width = told["size"].partition("x")
    if not height.isdecimal() or not (width or height).isdecimal():
        raise _bad_metadata(told, "size", "such as 112 or 112x96")
    return int(height), int(width or height)


def _told_color(told: Mapping[str, str]) -> str:
    color = told.get("color", "rgb").lower()
    if color not in ("rgb", "bgr"):
        raise _bad_metadata(told, "color", "rgb or bgr")
    return color


def _bad_metadata(told: Mapping[str, str], name: str, expected: str) -> SourceError:
    remedy = f"Give --{name}."
    return SourceError(
        f"the file's metadata have a bad {name}",
        expected=expected,
        found=repr(told[name]),
        remedy=remedy,
    )


class Body(NamedTuple):
    """A model's file, open: `run` takes prepared batches of `batch` crops at most, exactly so
    many if `is_fixed`.
    """

    name: str
    run: Callable[[Floats], npt.NDArray[Any]]
    batch: int
    is_fixed: bool = False
    provider: str = "CPU"


class FileEmbedder:
    """A model of ArcFace's kind behind its preparation."""

    def __init__(self, body: Body, preparation: Preparation) -> None:
        self._body, self._prepare = body, preparation
        self.provider, self.template = body.provider, preparation.template
        self.dim = self._vectors(np.zeros((1, *preparation.size, 3), np.uint8)).shape[1]
        self.model = Model(f"{body.name}/v{_VERSION}/{self.template}/{preparation}", origin=_ORIGIN)

    def __call__(self, crops: Pixels) -> Floats:
        vectors = np.empty((len(crops), self.dim), np.float32)
        n = self._body.batch
        for start in range(0, len(crops), n):
            vectors[start : start + n] = self._vectors(crops[start : start + n])
        return vectors

    def _vectors(self, crops: Pixels) -> npt.NDArray[Any]:
        n = len(crops)
        values = self._prepare(crops)
        if self._body.is_fixed and n < self._body.batch:
            values = np.concatenate(
                [values, np.zeros((self._body.batch - n, *values.shape[1:]), np.float32)]
            )
        vectors = self._body.run(values)
        flat = vectors.reshape(len(vectors), -1) if vectors.ndim > 1 else vectors
        if (
            flat.ndim != 2
            or len(flat) != len(values)
            or flat.size != vectors.shape[0] * vectors.shape[1]
        ):
            found = f"{vectors.shape} for {len(values)} crops"
            raise SourceError(
                "no model that gives a vector a crop", expected="an output (n, d)", found=found
            )
        return flat[:n]


def fingerprint_of(path: Path) -> str:
    """The first 12 digits of the sha256 of a file, or of the names and bytes of all files below
    a folder.
    """
    digest = hashlib.sha256()
    for file in (
        sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    ):
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with storage.ByteSource(file) as source:
            for offset in range(0, source.size, _PIECE):
                digest.update(source.read_at(offset, _PIECE))
    return digest.hexdigest()[:12]
