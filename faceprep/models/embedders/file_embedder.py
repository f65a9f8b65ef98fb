"""Embedders in files: any model that gives one vector per crop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.embeddings import Model
from faceprep.core.errors import SourceError, naming
from faceprep.models.files.open_model import OpenModel, Output, ReadyModel
from faceprep.models.files.outputs import one_output
from faceprep.models.files.preparation import InputOptions

_ORIGIN = (
    "usual for ArcFace-style models, which separate people near 0.3 to 0.5; not measured for "
    "this model: check them with verify on a set of your own"
)
_NAMES = ("embedding", "embeddings", "fc1")
"""Names of the output with the vectors, where there are several outputs."""
_LEAST = 16
"""The shortest vector of an embedder; models of age, sex or liveness give fewer numbers."""
_FOR_CLASSIFIERS = "Use score --model for a classifier."


class FileEmbedder:
    """A model of ArcFace's kind with the preparation of its crops."""

    def __init__(self, opened: OpenModel, options: InputOptions) -> None:
        self._ready = ReadyModel(opened, options, partial(_choose, options.output))
        self.provider, self.template = self._ready.provider, self._ready.template
        self.preprocessing = self._ready.origin
        with naming(opened.path):
            self.dim = _vector_length(*self._ready.shapes)
        self.model = Model(self._ready.fingerprint, origin=_ORIGIN)

    def embed(self, crops: Pixels) -> Floats:
        vectors = np.empty((len(crops), self.dim), np.float32)
        for rows, (values,) in self._ready.run(crops):
            vectors[rows] = values.reshape(-1, self.dim)
        return vectors


def _choose(wanted: str, outputs: Sequence[Output]) -> list[int]:
    """Return the place of the output with the vectors. Raises SourceError, OptionError."""
    if not wanted and len(outputs) > 1 and not any(map(_may_hold_vectors, outputs)):
        raise SourceError(
            "not an embedder",
            expected=f"an output (n, d) of {_LEAST} numbers or more",
            found=", ".join(map(str, outputs)),
            remedy=f"{_FOR_CLASSIFIERS} Give a detector to --detector of an extract command.",
        )
    place = one_output(outputs, wanted, _NAMES)
    if outputs[place].made_by == "Softmax" and not wanted:
        raise SourceError(
            "not an embedder",
            expected="an output of vectors",
            found=f"probabilities, the Softmax {outputs[place].name}",
            remedy=_FOR_CLASSIFIERS,
        )
    return [place]


def _may_hold_vectors(output: Output) -> bool:
    """Return whether the declared sides allow vectors; free sides and unknown shapes do."""
    declared = [side for side in output.shape[1:2] if isinstance(side, int) and side > 0]
    return all(side >= _LEAST for side in declared)


def _vector_length(shape: tuple[int, ...]) -> int:
    """Return the length of the vectors of an output (n, d) or (n, d, 1, …). Raises SourceError."""
    if not shape or any(side != 1 for side in shape[1:]):
        raise SourceError(
            "not a model that gives one vector per crop",
            expected="an output (n, d)",
            found=f"({', '.join(map(str, ('n', *shape)))})",
        )
    if shape[0] < _LEAST:
        raise SourceError(
            "not an embedder",
            expected=f"vectors of {_LEAST} numbers or more",
            found=f"{shape[0]}",
            remedy=_FOR_CLASSIFIERS,
        )
    return shape[0]
