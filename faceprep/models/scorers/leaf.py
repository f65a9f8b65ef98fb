"""`read=leaf`: the rule of tree networks against spoofing, such as FaceAntiSpoofing.tflite.

The first output (n, k) holds what each leaf predicts, the second (n, k) the share of each leaf. The
number is the sum of |prediction| × share; the authors call it an attack above 0.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import OptionError, SourceError
from faceprep.models.files.open_model import Output

_N_OUTPUTS = 2


class Leaf:
    """The sum of |first output| × second output over their columns."""

    def __init__(self, argument: str) -> None:
        if argument:
            raise OptionError("model spec", expected="read=leaf", found=f"read=leaf/{argument}")

    def choose(self, outputs: Sequence[Output], wanted: str) -> Sequence[int]:
        if wanted:
            raise OptionError("output=", expected="none, as read=leaf takes both", found=wanted)
        if len(outputs) != _N_OUTPUTS:
            raise SourceError(
                "not a model for read=leaf",
                expected="two outputs: the predictions of the leaves, and their shares",
                found=", ".join(map(str, outputs)),
            )
        return range(_N_OUTPUTS)

    def check(self, shapes: Sequence[tuple[int, ...]]) -> None:
        first, second = shapes
        if first != second:
            raise SourceError(
                "not a model for read=leaf",
                expected="two outputs of one shape",
                found=f"{first} and {second} per crop",
            )

    def read(self, outputs: Sequence[npt.NDArray[Any]]) -> Floats:
        predictions, shares = (each.reshape(len(each), -1).astype(np.float64) for each in outputs)
        sums: Floats = (np.abs(predictions) * shares).sum(axis=1).astype(np.float32)
        return sums
