"""Faces in an image, and the Protocol of detectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats, Pixels

N_LANDMARKS = 5
"""Left eye, right eye, nose, left and right mouth corner, left and right as the viewer sees."""


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces that a detector found in one image; float32, in pixels of that image.

    `boxes` is (n, 4): x1 y1 x2 y2. `landmarks` is (n, 5, 2): x y of left eye, right eye, nose, left
    and right mouth corner, left and right as the viewer sees them. `scores` is (n,) in 0 … 1, in
    descending order.

    >>> Faces(np.zeros((1, 4), "f4"), np.zeros((1, 10), "f4"), np.zeros(1, "f4"))
    Traceback (most recent call last):
    ValueError: landmarks: expected shape (1, 5, 2), found (1, 10)
    """

    boxes: Floats
    landmarks: Floats
    scores: Floats

    def __post_init__(self) -> None:
        n = len(self.boxes)
        for name, shape in (
            ("boxes", (n, 4)),
            ("landmarks", (n, N_LANDMARKS, 2)),
            ("scores", (n,)),
        ):
            array = np.asarray(getattr(self, name), np.float32)
            if array.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, found {array.shape}")
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, rows: npt.ArrayLike) -> Faces:
        """Select the faces of `rows`: indices in the wanted order, or a mask."""
        chosen = np.asarray(rows)
        if not chosen.size:
            chosen = chosen.astype(np.intp)
        return Faces(self.boxes[chosen], self.landmarks[chosen], self.scores[chosen])

    def __getitem__(self, rows: slice) -> Faces:
        """Select the faces of a slice."""
        return Faces(self.boxes[rows], self.landmarks[rows], self.scores[rows])

    def moved(
        self, scale: float | tuple[float, float], shift: tuple[float, float] = (0.0, 0.0)
    ) -> Faces:
        """Return the faces in an image whose x y are `scale` times those of this, plus `shift`."""
        by = np.broadcast_to(np.asarray(scale, np.float64), 2)
        boxes = self.boxes.reshape(-1, 2, 2) * by + shift
        landmarks = self.landmarks * by + shift
        return Faces(
            boxes.reshape(-1, 4).astype(np.float32), landmarks.astype(np.float32), self.scores
        )


def no_faces() -> Faces:
    """Return the faces of an image without any.

    >>> len(no_faces())
    0
    """
    return Faces(
        np.empty((0, 4), np.float32),
        np.empty((0, N_LANDMARKS, 2), np.float32),
        np.empty(0, np.float32),
    )


def concatenate_faces(faces: Sequence[Faces]) -> Faces:
    """Join the faces of several images, in that order."""
    names = ("boxes", "landmarks", "scores")
    return Faces(*(np.concatenate([getattr(each, name) for each in faces]) for name in names))


class Detector(Protocol):
    """A model that finds faces.

    A plain function is not accepted, because a run also needs the fingerprint.
    """

    @property
    def fingerprint(self) -> str:
        """Name the weights and everything else that determines the results."""
        ...

    @property
    def provider(self) -> str:
        """Name the device for display: `CPU`, `CUDA (device 0)`."""
        ...

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        """Detect the faces of each image, in the order of the images.

        The images of a batch are RGB and may differ in size.
        """
        ...
