"""`read=column/N`: one number of the output, as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import OptionError
from faceprep.models.files.open_model import Output
from faceprep.models.files.outputs import one_output
from faceprep.models.scorers.rule import parse_class


class Column:
    """The number in column N of an output (n, k), from 0."""

    rule = "column"

    def __init__(self, argument: str) -> None:
        self._column = parse_class(self.rule, argument)

    def choose(self, outputs: Sequence[Output], wanted: str) -> Sequence[int]:
        return [one_output(outputs, wanted)]

    def check(self, shapes: Sequence[tuple[int, ...]]) -> None:
        n = int(np.prod(shapes[0]))
        if self._column >= n:
            raise OptionError(
                f"read={self.rule}/{self._column}",
                expected=f"a column from 0 to {n - 1}, which the output has",
                found=str(self._column),
            )

    def read(self, outputs: Sequence[npt.NDArray[Any]]) -> Floats:
        return self._rows(outputs)[:, self._column].astype(np.float32)

    def _rows(self, outputs: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        """Return the output as rows (n, k)."""
        return outputs[0].reshape(len(outputs[0]), -1).astype(np.float64)
