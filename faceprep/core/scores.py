"""The Protocol of scorers: models that give one number per crop."""

from __future__ import annotations

from typing import Protocol

from faceprep.core.arrays import Floats, Pixels


class Scorer(Protocol):
    """A model that computes one number per crop, such as a probability or a quality."""

    @property
    def fingerprint(self) -> str:
        """Name weights, preprocessing and the rule that reads the output."""
        ...

    @property
    def provider(self) -> str:
        """Name the device for display: `CPU`, `CUDA (device 0)`."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width) of the crops in pixels."""
        ...

    def score(self, crops: Pixels) -> Floats:
        """Compute the numbers (n,) of crops (n, height, width, 3) RGB."""
        ...
