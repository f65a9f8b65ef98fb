"""Embedders without weights: colours of a grid of patches, in which drawn faces differ."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep import registry
from faceprep.embeddings import EUCLIDEAN, Model
from faceprep.registry import Entry

_GRID = 7


class Colours:
    """The mean colours of 7 × 7 patches, less grey; all zeros for an image of one grey, not a number for a red one."""

    provider = "CPU"
    template = "arcface-112"
    dim = 3 * _GRID * _GRID
    model = Model("colours", threshold=0.9)
    calls: list[int] = []  # noqa: RUF012

    def __init__(self, runtime: object) -> None:
        del runtime

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        self.calls.append(len(crops))
        side = crops.shape[1] // _GRID
        patches = crops.reshape(len(crops), _GRID, side, _GRID, side, 3).astype(np.float32).mean(axis=(2, 4))
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
