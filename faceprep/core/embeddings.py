"""Embeddings: one vector a face, with what has to be known of the model that made them; the
Protocol of such models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from faceprep.core.errors import OptionError
from faceprep.core.faces import Floats, Pixels

COSINE, EUCLIDEAN = "cosine", "euclidean"


@dataclass(frozen=True, slots=True)
class Model:
    """What made the vectors, and how alike two of them have to be.

    `fingerprint` names weights, preprocessing and template: vectors with different ones are never
    compared. Likeness is ``1 - |a - b|² / 2`` in either metric, higher for more alike: the cosine
    when `metric` is cosine, for which vectors are brought to length 1 first. `threshold` is the
    rule for one pair of images; two identities are merged from `surely` on, and not thought of
    below `surely_not`. `outlier_angle` in degrees: further than this from the centre of an identity
    an image is an outlier. `origin` says where these numbers come from.
    """

    fingerprint: str = ""
    metric: str = COSINE
    threshold: float = 0.4
    surely: float = 0.5
    surely_not: float = 0.3
    outlier_angle: float = 75.0
    origin: str = ""

    def __post_init__(self) -> None:
        if self.metric not in (COSINE, EUCLIDEAN):
            raise OptionError(
                "unknown metric", expected=f"{COSINE} or {EUCLIDEAN}", found=repr(self.metric)
            )

    def as_json(self) -> str:
        """One line, as it lies beside the vectors in a file."""
        return json.dumps(asdict(self), sort_keys=True)


def load_model(text: str) -> Model:
    """From what `Model.as_json` wrote; names that are not known are passed over. Raises ValueError.

    >>> load_model(Model("abc", threshold=0.9).as_json()).threshold
    0.9
    """
    known: dict[str, Any] = json.loads(text)
    if not isinstance(known, dict):
        raise ValueError(f"expected an object, found {text[:20]}")
    given = {field.name: known[field.name] for field in fields(Model) if field.name in known}
    for name, value in given.items():
        wanted = type(getattr(_ANY, name))
        if not isinstance(value, (int, float) if wanted is float else wanted):
            raise ValueError(f"{name}: expected {wanted.__name__}, found {value!r}")
    return Model(**given)


_ANY = Model()


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Row i of `vectors` (n, d) float32 is the image `keys[i]` of the identity `identities[i]`.

    Vectors are as the model gives them, not scaled; they may be memory-mapped.

    >>> Embeddings(["a/1.png"], ["a"], np.zeros((2, 3), "f4"), Model())
    Traceback (most recent call last):
    ValueError: expected as many keys, identities and vectors, found 1, 1 and 2
    """

    keys: Sequence[str]
    identities: Sequence[str]
    vectors: Floats
    model: Model

    def __post_init__(self) -> None:
        n = len(self.keys), len(self.identities), len(self.vectors)
        if len(set(n)) > 1:
            raise ValueError(
                "expected as many keys, identities and vectors, found {}, {} and {}".format(*n)
            )
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            raise ValueError(
                f"vectors: expected (n, d) float32, found {self.vectors.shape} {self.vectors.dtype}"
            )

    def __len__(self) -> int:
        return len(self.keys)


class Embedder(Protocol):
    """Turns crops into vectors."""

    @property
    def model(self) -> Model: ...

    @property
    def provider(self) -> str:
        """What it runs on, for people: `CPU`, `CUDA (device 0)`."""
        ...

    @property
    def template(self) -> str:
        """Name of the template that its crops are aligned to, as `load_template` knows it."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def __call__(self, crops: Pixels) -> npt.NDArray[np.float32]:
        """(n, height, width, 3) RGB of the template's size -> (n, dim)."""
        ...
