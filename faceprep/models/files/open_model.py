"""Open models in files, and models that are ready for crops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.errors import OptionError, SourceError, naming
from faceprep.models.files.preparation import (
    ARCFACE_STD,
    InputOptions,
    Preparation,
    choose_preparation,
)
from faceprep.models.files.scaling import Reading

_VERSION = 1
"""Increase it when the same file gives other outputs."""
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Batches that a graph may hold in a Reshape; one that takes both 1 and 2 crops holds none."""


class Output(NamedTuple):
    """An output of a model, as the file declares it.

    `shape` has names or None for free sides. `made_by` is the operator that computes it, where
    that is known.
    """

    name: str
    shape: tuple[Any, ...] = ()
    made_by: str = ""

    def __str__(self) -> str:
        sides = ", ".join(str(side or "n") for side in self.shape)
        return f"{self.name} ({sides})"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """A model loaded from a file.

    `run` takes a prepared batch of at most `batch` crops, or of exactly `batch` if `is_fixed`, and
    returns all `outputs` in their order. `shape` is that of the input: four numbers, with None or
    a name for a free one. `reading` is the preprocessing that the file states or shows.
    `default_std` is used where it has none. A model that `takes_bytes` allows no normalisation.
    """

    path: Path
    name: str
    run: Callable[[Floats], Sequence[npt.NDArray[Any]]]
    outputs: tuple[Output, ...]
    shape: Sequence[Any]
    batch: int
    is_fixed: bool = False
    provider: str = "CPU"
    reading: Reading = Reading()
    default_std: float = ARCFACE_STD
    takes_bytes: bool = False


Choose = Callable[[Sequence[Output]], Sequence[int]]
"""Chooses the outputs to use, by their places. Raises SourceError, OptionError."""


class ReadyModel:
    """An open model with the preparation of its crops and the outputs that are used.

    It is tried out at once, so that a model that cannot run is refused before any crop is read.
    """

    def __init__(self, opened: OpenModel, options: InputOptions, choose: Choose) -> None:
        with naming(opened.path):
            self.preparation = _prepare(opened, options)
            self._places = choose(opened.outputs)
        self._opened = opened
        self.provider, self.template = opened.provider, self.preparation.template
        self.origin = _describe(opened, options, self.preparation)
        self.is_guessed = _is_guessed(opened, options)
        self.fingerprint = f"{opened.name}/v{_VERSION}/{self.template}/{self.preparation}"
        if len(opened.outputs) > 1:
            names = [opened.outputs[place].name for place in self._places]
            self.fingerprint += f"/{'+'.join(names)}"
        with naming(opened.path):
            self._batch, self._is_fixed, self.shapes = self._try_out()

    def run(self, crops: Pixels) -> Iterator[tuple[slice, list[npt.NDArray[Any]]]]:
        """Yield the used outputs (k, …) of each batch, with its place among the `crops`."""
        for start in range(0, len(crops), self._batch):
            rows = slice(start, min(start + self._batch, len(crops)))
            yield rows, self._run_batch(crops[rows])

    def _run_batch(self, crops: Pixels) -> list[npt.NDArray[Any]]:
        values = self.preparation.apply(crops)
        n_missing = self._batch - len(crops)
        if self._is_fixed and n_missing > 0:
            padding = np.zeros((n_missing, *values.shape[1:]), np.float32)
            values = np.concatenate([values, padding])
        outputs = self._opened.run(values)
        return [outputs[place][: len(crops)] for place in self._places]

    def _try_out(self) -> tuple[int, bool, list[tuple[int, ...]]]:
        """Return the batch, whether it is fixed, and the shape per crop of each used output.

        A file may state any batch and hold one of its own, in a Reshape. Raises SourceError.
        """
        opened = self._opened
        if opened.is_fixed:
            return opened.batch, True, self._shapes_per_crop(opened.batch)
        taken: dict[int, list[tuple[int, ...]]] = {}
        problem: SourceError | None = None
        for n in _BATCHES:
            try:
                taken[n] = self._shapes_per_crop(n)
            except SourceError as error:
                problem = problem or error
            if taken and n > 1:
                break
        if problem is None:
            return opened.batch, False, taken[1]
        if not taken:
            raise _add_size_hint(problem)
        ((n, shapes),) = taken.items()
        return n, True, shapes

    def _shapes_per_crop(self, n: int) -> list[tuple[int, ...]]:
        """Run `n` crops and return the shape of each used output per crop. Raises SourceError."""
        shapes = self._shapes_of(n)
        if any(shape[:1] != (n,) for shape in shapes):
            raise _not_per_crop(shapes, n)
        return [shape[1:] for shape in shapes]

    def _shapes_of(self, n: int) -> list[tuple[int, ...]]:
        """Run `n` crops of noise and return the shapes of the used outputs."""
        noise = np.random.default_rng(0).integers(0, 256, (n, *self.preparation.size, 3), np.uint8)
        outputs = self._opened.run(self.preparation.apply(noise))
        return [tuple(outputs[place].shape) for place in self._places]


def _prepare(opened: OpenModel, options: InputOptions) -> Preparation:
    if opened.takes_bytes and (options.mean or options.std):
        raise OptionError(f"{opened.path.name} takes bytes", remedy="Leave out mean and std.")
    if opened.reading.doubt and not (options.mean and options.std):
        raise SourceError(
            "its preprocessing is not known",
            expected="a usual scaling of pixels, or none",
            found=opened.reading.doubt,
            remedy="Give mean= and std= in the model spec, as the model was trained.",
        )
    return choose_preparation(opened.shape, options, opened.reading.stated, opened.default_std)


def _is_guessed(opened: OpenModel, options: InputOptions) -> bool:
    """Return whether neither the caller nor the file states a normalisation."""
    is_given = options.mean is not None and options.std is not None
    return not is_given and not opened.reading.stated.keys() & {"mean", "std"}


def _describe(opened: OpenModel, options: InputOptions, preparation: Preparation) -> str:
    """Describe the normalisation and its source, for people."""
    mean, std = (
        "/".join(f"{number:g}" for number in numbers)
        for numbers in (preparation.mean, preparation.std)
    )
    formula = f"(pixel - {mean}) / {std}, {preparation.color.upper()}"
    if options.mean and options.std:
        return f"{formula}: as given"
    if _is_guessed(opened, options):
        return (
            f"{formula}: the file states none, so the usual one for such a model is assumed; if it "
            "is wrong, give mean= and std="
        )
    return f"{formula}: {opened.reading.origin or 'as the file states'}"


def _add_size_hint(problem: SourceError) -> SourceError:
    return SourceError(
        problem.problem,
        path=problem.path,
        expected=problem.expected,
        found=problem.found,
        remedy=problem.remedy or "If its crops are of another size, give size= in the model spec.",
    )


def _not_per_crop(shapes: Sequence[tuple[int, ...]], n: int) -> SourceError:
    return SourceError(
        "not a model that gives one vector per crop",
        expected="an output (n, d)",
        found=f"{', '.join(map(str, shapes))} for {n} crops",
    )
