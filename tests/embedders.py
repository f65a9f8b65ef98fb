"""Embedders without weights: colours of a grid of patches, in which drawn faces differ."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core import registry
from faceprep.core.embeddings import EUCLIDEAN, Model
from faceprep.core.registry import Entry
from faceprep.jobs.verify.job import Verification, Verify
from faceprep.synthetic import encode_face
from faceprep.tables.embeddings import SUFFIXES
from faceprep.vision.codec import decode
from tests.bins import write_bin

_GRID = 7


class Colours:
    """The mean colours of 7 × 7 patches, less grey; all zeros for an image of one grey, not a
    number for a red one.
    """

    provider = "CPU"
    template = "arcface-112"
    dim = 3 * _GRID * _GRID
    model = Model("colours", threshold=0.9)
    calls: list[int] = []  # noqa: RUF012

    def __init__(self, runtime: object) -> None:
        del runtime

    def embed(self, crops: np.ndarray) -> np.ndarray:
        self.calls.append(len(crops))
        side = crops.shape[1] // _GRID
        patches = (
            crops.reshape(len(crops), _GRID, side, _GRID, side, 3)
            .astype(np.float32)
            .mean(axis=(2, 4))
        )
        vectors = ((patches - 128) / 128).reshape(len(crops), -1)
        vectors[(crops == (250, 0, 0)).all(axis=(1, 2, 3))] = np.nan
        return np.ascontiguousarray(vectors)


class Distances(Colours):
    """The same, compared by distance."""

    model = Model("distances", metric=EUCLIDEAN, threshold=0.5)


@pytest.fixture
def drawn_embedders(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--embedder colours` and `distances`, in this process."""
    monkeypatch.setitem(registry.EMBEDDERS, "colours", Entry("tests.embedders:Colours"))
    monkeypatch.setitem(registry.EMBEDDERS, "distances", Entry("tests.embedders:Distances"))
    monkeypatch.setattr(Colours, "calls", [])


# What the tests of judging share


def verify(*paths: Path, **options: Any) -> Verification:
    if not all(path.suffix in SUFFIXES for path in paths):
        options = {"embedder": "colours"} | options
    return Verify(**options).look(paths)


drawn = functools.cache(functools.partial(encode_face, suffix=".png"))


def drawn_pairs(n: int = 60) -> tuple[list[bytes], list[bool]]:
    images, same = [], []
    for pair in range(n):
        same.append(pair % 2 == 0)
        people = (pair % 7, pair % 7 if same[-1] else (pair + 3) % 7)
        images += [drawn(person, (5 * pair + i) % 11) for i, person in enumerate(people)]
    return images, same


@pytest.fixture(scope="session")
def drawn_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pairs of drawn faces."""
    return write_bin(tmp_path_factory.mktemp("bins") / "drawn.bin", *drawn_pairs())


def plain_vectors(images: list[Any], flip: bool = True) -> np.ndarray:
    embedder = Colours(None)
    pixels = [image if isinstance(image, np.ndarray) else decode(image) for image in images]
    vectors = np.stack([embedder.embed(each[None])[0] for each in pixels]).astype(np.float64)
    return (
        vectors + np.stack([embedder.embed(each[None, :, ::-1])[0] for each in pixels])
        if flip
        else vectors
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
