"""The contract of a rule that reads one number per crop from the outputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import OptionError
from faceprep.core.text import parse_whole
from faceprep.models.files.open_model import Output


class Rule(Protocol):
    """A rule such as `softmax/1`, made from the text after the slash, which may be empty."""

    def choose(self, outputs: Sequence[Output], wanted: str) -> Sequence[int]:
        """Return the places of the outputs to read; `wanted` is a name that the user gives.

        Raises SourceError, OptionError.
        """
        ...

    def check(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Raise SourceError or OptionError for outputs of these shapes per crop."""
        ...

    def read(self, outputs: Sequence[npt.NDArray[Any]]) -> Floats:
        """Compute the numbers (n,) from the chosen outputs (n, …)."""
        ...


def parse_class(rule: str, argument: str) -> int:
    """Parse the number of a column, from 0. Raises OptionError.

    >>> parse_class("column", "2")
    2
    """
    number = parse_whole(argument)
    if number is None:
        found = f"read={rule}/{argument}" if argument else f"read={rule}"
        raise OptionError("model spec", expected=f"a column, as in read={rule}/0", found=found)
    return number
