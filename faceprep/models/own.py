"""Models that are classes of the user's own: `python:MODULE:CLASS`.

Python imports MODULE as it imports any other: from an installed package, from a folder in
PYTHONPATH, or from the current folder. The class is made with a `Runtime` and keeps the Protocol
`Detector`, `Embedder` or `Scorer`.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, cast

from faceprep.core.embeddings import Embedder
from faceprep.core.errors import FaceprepError, OptionError
from faceprep.core.faces import Detector
from faceprep.core.scores import Scorer
from faceprep.models.files.preparation import InputOptions
from faceprep.models.onnx_session import Runtime

PREFIX = "python:"
_DETECTOR = ("fingerprint", "provider", "detect")
_EMBEDDER = ("model", "provider", "template", "dim", "embed")
_SCORER = ("fingerprint", "provider", "size", "score")
_WHAT_CLASSES_RAISE = (ArithmeticError, AttributeError, ImportError, LookupError, OSError) + (
    RuntimeError,
    TypeError,
    ValueError,
)


def open_detector_class(runtime: Runtime, source: str, **options: float) -> Detector:
    """Open the detector MODULE:CLASS; `options` may hold `min_score`. Raises OptionError."""
    return cast(Detector, _open(source, _DETECTOR, runtime, **options))


def open_embedder_class(runtime: Runtime, source: str, options: InputOptions) -> Embedder:
    """Open the embedder MODULE:CLASS, which prepares its crops itself. Raises OptionError."""
    if any(options):
        raise OptionError(
            f"{PREFIX}{source} prepares its crops itself",
            remedy="Leave out mean, std, size, color, crops and output.",
        )
    return cast(Embedder, _open(source, _EMBEDDER, runtime))


def open_scorer_class(runtime: Runtime, source: str) -> Scorer:
    """Open the scorer MODULE:CLASS. Raises OptionError."""
    return cast(Scorer, _open(source, _SCORER, runtime))


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
    except _WHAT_CLASSES_RAISE as error:
        found = f"{type(error).__name__}: {error}"
        raise OptionError(
            spec, expected="a class that is made with a Runtime", found=found
        ) from error
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
        sys.path.append(here)  # last, so that a file there stands in for no installed package
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise OptionError(
            spec,
            expected="a class that Python can import",
            found=str(error),
            remedy="Install its package, or add the folder of the module to PYTHONPATH.",
        ) from error
