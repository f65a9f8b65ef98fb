"""Preprocessing of crops for a model in a file, and the embedder around such a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Floats, Pixels
from faceprep.core.embeddings import Model
from faceprep.core.errors import OptionError, SourceError

_VERSION = 1
"""Increase it when the same file gives other vectors."""
_SIDE = 112
ARCFACE_MEAN = ARCFACE_STD = 127.5
_ORIGIN = (
    "usual for models of ArcFace's kind, whose pairs part near 0.3 to 0.5; not measured for this "
    "one: verify it on a"
    " set of your own"
)
_PIECE = 1 << 22
_CHANNELS = 3


class InputOptions(NamedTuple):
    """Options of the caller that describe the input of a model's file.

    `mean` and `std` are one number, or three in the order R, G, B. `size` is (height, width).
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None
    color: str = ""


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

    def __post_init__(self) -> None:
        if not all(self.std):
            raise OptionError(
                "--std", expected="numbers other than 0", found=", ".join(map(str, self.std))
            )

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

    @property
    def template(self) -> str:
        """Return the name of the template that crops are aligned to."""
        height, width = self.size
        if height == width:
            return f"arcface-{height}"
        return f"arcface-{height}x{width}"


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

    >>> choose_preparation((None, 112, 96, 3), InputOptions(std=(128.0,)), {"color": "bgr"})
    Preparation(size=(112, 96), mean=(127.5,), std=(128.0,), color='bgr', channels_last=True)
    """
    height, width, channels_last = _read_shape(shape)
    size = _choose_size(height, width, options.size or _read_size(metadata))
    return Preparation(
        size,
        options.mean or _read_numbers(metadata, "mean") or (ARCFACE_MEAN,),
        options.std or _read_numbers(metadata, "std") or (std,),
        options.color or _read_color(metadata),
        channels_last,
    )


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
            "--size",
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
    if not height.isdecimal() or not (width or height).isdecimal():
        raise _bad_metadata(metadata, "size", "such as 112 or 112x96")
    return int(height), int(width or height)


def _read_color(metadata: Mapping[str, str]) -> str:
    color = metadata.get("color", "rgb").lower()
    if color not in ("rgb", "bgr"):
        raise _bad_metadata(metadata, "color", "rgb or bgr")
    return color


def _bad_metadata(metadata: Mapping[str, str], name: str, expected: str) -> SourceError:
    return SourceError(
        f"the file's metadata have a bad {name}",
        expected=expected,
        found=repr(metadata[name]),
        remedy=f"Give --{name}.",
    )


class OpenModel(NamedTuple):
    """A model loaded from a file.

    `run` takes prepared batches of at most `batch` crops, or of exactly `batch` if `is_fixed`.
    """

    name: str
    run: Callable[[Floats], npt.NDArray[Any]]
    batch: int
    is_fixed: bool = False
    provider: str = "CPU"


class FileEmbedder:
    """A model of ArcFace's kind with the preparation of its crops."""

    def __init__(self, opened: OpenModel, preparation: Preparation) -> None:
        self._opened, self._preparation = opened, preparation
        self.provider, self.template = opened.provider, preparation.template
        black_crop = np.zeros((1, *preparation.size, 3), np.uint8)
        self.dim = self._embed_batch(black_crop).shape[1]
        fingerprint = f"{opened.name}/v{_VERSION}/{self.template}/{preparation}"
        self.model = Model(fingerprint, origin=_ORIGIN)

    def embed(self, crops: Pixels) -> Floats:
        vectors = np.empty((len(crops), self.dim), np.float32)
        n = self._opened.batch
        for start in range(0, len(crops), n):
            vectors[start : start + n] = self._embed_batch(crops[start : start + n])
        return vectors

    def _embed_batch(self, crops: Pixels) -> npt.NDArray[Any]:
        """Compute the (n, d) vectors of at most one batch. Raises SourceError for other shapes."""
        values = self._preparation.apply(crops)
        n_missing = self._opened.batch - len(crops)
        if self._opened.is_fixed and n_missing > 0:
            padding = np.zeros((n_missing, *values.shape[1:]), np.float32)
            values = np.concatenate([values, padding])
        vectors = self._opened.run(values)
        if not _is_vector_per_crop(vectors.shape, len(values)):
            raise SourceError(
                "not a model that gives one vector per crop",
                expected="an output (n, d)",
                found=f"{vectors.shape} for {len(values)} crops",
            )
        return vectors.reshape(len(vectors), -1)[: len(crops)]


def _is_vector_per_crop(shape: tuple[int, ...], n: int) -> bool:
    """Return whether `shape` is (n, d), or (n, d, 1, …)."""
    if len(shape) < 2:
        return False
    return shape[0] == n and all(side == 1 for side in shape[2:])


def fingerprint_of(path: Path) -> str:
    """Return the first 12 digits of the sha256 of a file.

    For a folder, the names and bytes of all files below it are hashed.
    """
    digest = hashlib.sha256()
    files = [path]
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with storage.ByteSource(file) as source:
            for offset in range(0, source.size, _PIECE):
                digest.update(source.read_at(offset, _PIECE))
    return digest.hexdigest()[:12]
