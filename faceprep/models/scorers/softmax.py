"""`read=softmax/N`: the probability of class N, from the logits of all classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import SourceError
from faceprep.models.files.open_model import Output
from faceprep.models.scorers.column import Column


class Softmax(Column):
    """The probability of class N among the k logits of an output (n, k), from 0."""

    rule = "softmax"

    def choose(self, outputs: Sequence[Output], wanted: str) -> Sequence[int]:
        (place,) = super().choose(outputs, wanted)
        if outputs[place].made_by == "Softmax":
            raise SourceError(
                "gives probabilities already, by its own Softmax",
                expected="logits for read=softmax",
                remedy=f"Take read=column/{self._column}.",
            )
        return [place]

    def read(self, outputs: Sequence[npt.NDArray[Any]]) -> Floats:
        logits = self._rows(outputs)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: Floats = (powers[:, self._column] / powers.sum(axis=1)).astype(np.float32)
        return shares
