"""Models that are classes of the user's own: `python:MODULE:CLASS`.

Python imports MODULE as it imports any other: from an installed package, from a folder in
PYTHONPATH, or from the current folder. The class is made with a `Runtime` and keeps the Protocol
`Detector`, `Embedder` or `Scorer`. What it returns is checked, because a wrong number of rows or
another dtype would give images the results of others.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.embeddings import Embedder, Model
from faceprep.core.errors import FaceprepError, OptionError
from faceprep.core.faces import Detector, Faces
from faceprep.core.scores import Scorer
from faceprep.models.files.preparation import InputOptions
from faceprep.models.onnx_session import Runtime

PREFIX = "python:"
_IMPORTABLE = "a class that Python can import"
_DETECTOR = ("fingerprint", "provider", "detect")
_EMBEDDER = ("model", "provider", "template", "dim", "embed")
_SCORER = ("fingerprint", "provider", "size", "score")
_ANYTHING = (Exception, SystemExit)
"""What the code of a user may raise besides Ctrl-C."""


def open_detector_class(runtime: Runtime, source: str, **options: float) -> Detector:
    """Open the detector MODULE:CLASS; `options` may hold `min_score`. Raises OptionError."""
    detector = cast(Detector, _open(source, _DETECTOR, runtime, **options))
    return _CheckedDetector(detector, f"{PREFIX}{source}")


def open_embedder_class(runtime: Runtime, source: str, options: InputOptions) -> Embedder:
    """Open the embedder MODULE:CLASS, which prepares its crops itself. Raises OptionError."""
    if any(options):
        raise OptionError(
            f"{PREFIX}{source} prepares its crops itself",
            remedy="Leave out mean, std, size, color, crops and output.",
        )
    return _CheckedEmbedder(cast(Embedder, _open(source, _EMBEDDER, runtime)), f"{PREFIX}{source}")


def open_scorer_class(runtime: Runtime, source: str) -> Scorer:
    """Open the scorer MODULE:CLASS. Raises OptionError."""
    return _CheckedScorer(cast(Scorer, _open(source, _SCORER, runtime)), f"{PREFIX}{source}")


class _CheckedDetector:
    """A detector of the user's own that returns `Faces` for each image, the surest first."""

    def __init__(self, detector: Detector, spec: str) -> None:
        self._detector, self._spec = detector, spec
        self.fingerprint, self.provider = detector.fingerprint, detector.provider

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        """Detect faces. Raises OptionError where the answer is not one `Faces` per image."""
        found = list(self._detector.detect(images))
        kinds = Counter(type(each).__name__ for each in found)
        if kinds != Counter({Faces.__name__: len(images)}):
            raise OptionError(
                f"{self._spec}: wrong result of detect",
                expected=f"one faceprep.Faces per image, {len(images)} in all",
                found=", ".join(f"{n} of {kind}" for kind, n in kinds.items()) or "none",
            )
        return [faces.take(np.argsort(-faces.scores, kind="stable")) for faces in found]


class _CheckedEmbedder:
    """An embedder of the user's own that returns (n, dim) float32."""

    def __init__(self, embedder: Embedder, spec: str) -> None:
        self._embedder, self._spec = embedder, spec
        self.model: Model = embedder.model
        self.provider, self.template, self.dim = embedder.provider, embedder.template, embedder.dim

    def embed(self, crops: Pixels) -> Floats:
        """Compute the vectors. Raises OptionError where their shape is another."""
        vectors = self._embedder.embed(crops)
        return _as_floats(vectors, (len(crops), self.dim), f"{self._spec}: wrong result of embed")


class _CheckedScorer:
    """A scorer of the user's own that returns (n,) float32."""

    def __init__(self, scorer: Scorer, spec: str) -> None:
        self._scorer, self._spec = scorer, spec
        self.fingerprint, self.provider = scorer.fingerprint, scorer.provider
        self.size = scorer.size

    def score(self, crops: Pixels) -> Floats:
        """Compute the numbers. Raises OptionError where their shape is another."""
        numbers = self._scorer.score(crops)
        return _as_floats(numbers, (len(crops),), f"{self._spec}: wrong result of score")


def _as_floats(values: Any, shape: tuple[int, ...], problem: str) -> Floats:
    """Return `values` as float32. Raises OptionError where they have another shape."""
    floats = np.ascontiguousarray(values, np.float32)
    if floats.shape != shape:
        raise OptionError(problem, expected=f"shape {shape}", found=f"shape {floats.shape}")
    return floats


def class_name(spec: str) -> str:
    """Return CLASS of python:MODULE:CLASS.

    >>> class_name("python:my_models:Smile")
    'Smile'
    """
    return spec.rpartition(":")[2]


def _open(source: str, members: tuple[str, ...], runtime: Runtime, **options: float) -> Any:
    spec = f"{PREFIX}{source}"
    kind = _load(spec, source)
    try:
        model = kind(runtime, **options)
    except FaceprepError:
        raise
    except _ANYTHING as error:
        expected = " and ".join(
            ["a class that is made with a Runtime", *map("{}=".format, options)]
        )
        raise OptionError(spec, expected=expected, found=_describe(error)) from error
    missing = [member for member in members if not hasattr(model, member)]
    if missing:
        expected = f"a class with {', '.join(members)}"
        raise OptionError(spec, expected=expected, found=f"no {', '.join(missing)}")
    return model


def _load(spec: str, source: str) -> Any:
    module, _, name = source.partition(":")
    if not module or not name.isidentifier():
        expected = f"{PREFIX}MODULE:CLASS, such as {PREFIX}my_models:MyModel"
        raise OptionError("not the name of a class", expected=expected, found=repr(spec))
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # last, so that a file there hides no installed package
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise OptionError(
            spec,
            expected=_IMPORTABLE,
            found=str(error),
            remedy="Install its package, or add the folder of the module to PYTHONPATH.",
        ) from error
    except _ANYTHING as error:
        raise OptionError(spec, expected=_IMPORTABLE, found=_describe(error)) from error


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")
