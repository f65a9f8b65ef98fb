"""Embeddings, one vector per face, with facts about their model; the Protocol of embedders."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.errors import OptionError
from faceprep.core.io.json_line import parse_json

COSINE, EUCLIDEAN = "cosine", "euclidean"
_STORED_NAMES = {"merge_from": "surely", "undecided_from": "surely_not"}
"""Fields with another name in files, which keep the names of the first version."""


@dataclass(frozen=True, slots=True)
class Model:
    """Facts about the model that made the vectors, and its thresholds.

    `fingerprint` names weights, preprocessing and template. Vectors with different fingerprints are
    never compared. Similarity is ``1 - |a - b|² / 2`` for either metric. For the metric cosine,
    vectors are scaled to length 1 first, so that similarity is the cosine. `threshold` decides on
    one pair of images. Two identities are merged at a similarity of `merge_from` or above, and not
    considered below `undecided_from`. An image that lies more than `outlier_angle` degrees from the
    centre of its identity is an outlier. `origin` names the source of these numbers. Raises
    OptionError for a value that no similarity or angle can have.
    """

    fingerprint: str = ""
    metric: str = COSINE
    threshold: float = 0.4
    merge_from: float = 0.5
    undecided_from: float = 0.3
    outlier_angle: float = 75.0
    origin: str = ""

    def __post_init__(self) -> None:
        if self.metric not in (COSINE, EUCLIDEAN):
            raise OptionError(
                "unknown metric", expected=f"{COSINE} or {EUCLIDEAN}", found=repr(self.metric)
            )
        for name in ("threshold", "merge_from", "undecided_from"):
            value = getattr(self, name)
            least = -1 if self.metric == COSINE else -sys.float_info.max
            if not least <= value <= 1:
                stored = f" ({_STORED_NAMES[name]} in a file)" if name in _STORED_NAMES else ""
                expected = f"{least:.6g} to 1"
                raise OptionError(f"{name}{stored}", expected=expected, found=str(value))
        if not 0 < self.outlier_angle <= 180:
            expected, found = "more than 0, at most 180", str(self.outlier_angle)
            raise OptionError("outlier_angle", expected=expected, found=found)

    def as_json(self) -> str:
        """Return the line of JSON that is stored beside the vectors in a file."""
        values = {_STORED_NAMES.get(name, name): value for name, value in asdict(self).items()}
        return json.dumps(values, sort_keys=True)


def load_model(text: str) -> Model:
    """Load what `Model.as_json` wrote, ignoring unknown names. Raises ValueError.

    >>> load_model(Model("abc", threshold=0.9).as_json()).threshold
    0.9
    """
    known: dict[str, Any] = parse_json(text)
    if not isinstance(known, dict):
        raise ValueError(f"expected an object, found {text[:20]}")
    given: dict[str, Any] = {}
    for field in fields(Model):
        stored = _STORED_NAMES.get(field.name, field.name)
        if stored not in known:
            continue
        value = known[stored]
        wanted = type(getattr(_DEFAULT, field.name))
        accepted = (int, float) if wanted is float else wanted
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise ValueError(f"{stored}: expected {wanted.__name__}, found {value!r}")
        given[field.name] = value
    return Model(**given)


_DEFAULT = Model()


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of a set: row i belongs to the image `keys[i]` of the identity `identities[i]`.

    `vectors` is (n, d) float32, unscaled as the model returns it; it may be memory-mapped.

    >>> Embeddings(["a/1.png"], ["a"], np.zeros((2, 3), "f4"), Model())
    Traceback (most recent call last):
    ValueError: expected as many keys as identities and vectors, found 1, 1 and 2
    """

    keys: Sequence[str]
    identities: Sequence[str]
    vectors: Floats
    model: Model

    def __post_init__(self) -> None:
        n = len(self.keys), len(self.identities), len(self.vectors)
        if len(set(n)) > 1:
            raise ValueError(
                "expected as many keys as identities and vectors, found {}, {} and {}".format(*n)
            )
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            raise ValueError(
                f"vectors: expected (n, d) float32, found {self.vectors.shape} {self.vectors.dtype}"
            )

    def __len__(self) -> int:
        return len(self.keys)


class Embedder(Protocol):
    """A model that computes one vector per crop.

    A plain function is not accepted, because vectors are compared only if their models match.
    """

    @property
    def model(self) -> Model:
        """Return the facts about the model, which files of its vectors keep."""
        ...

    @property
    def provider(self) -> str:
        """Name the device for display: `CPU`, `CUDA (device 0)`."""
        ...

    @property
    def template(self) -> str:
        """Name the template that crops are aligned to, as `load_template` accepts it."""
        ...

    @property
    def dim(self) -> int:
        """Return the length of a vector."""
        ...

    def embed(self, crops: Pixels) -> npt.NDArray[np.float32]:
        """Compute vectors (n, dim) of crops (n, height, width, 3) RGB of the template's size."""
        ...
