"""Crops faces out of decoded images, for photos, video frames and tables of faces.

Cropper      faces -> the places of their crops and what is wrong with them; image, places -> crops
face_rows    crops -> their rows in faces.parquet
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Pixels
from faceprep.core.faces import Faces, concatenate_faces
from faceprep.steps.found import Found
from faceprep.tables.faces import FaceRow
from faceprep.vision.pose import Pose, estimate_pose
from faceprep.vision.templates import (
    Template,
    check_faces,
    crop_transforms,
    cut_crop,
    load_template,
    turn_transforms,
)

DEGENERATE = "degenerate_landmarks"


class Crop(NamedTuple):
    """The crop of row `face` of a `Faces`, made with `transform` (2, 3)."""

    face: int
    pixels: Pixels
    transform: npt.NDArray[np.float64]


class Places(NamedTuple):
    """The places of the crops of an image's n faces, and facts about the faces.

    `transforms` are (n, 2, 3). The fault of a sound face is empty.
    """

    transforms: npt.NDArray[np.float64]
    faults: Sequence[str]
    pose: Pose

    def sound(self) -> list[int]:
        """Return the rows of the sound faces."""
        return [face for face, fault in enumerate(self.faults) if not fault]

    def describe_faults(self) -> str:
        """Join the faults of all faces."""
        return "; ".join(filter(None, self.faults))


class Cropper:
    """A cutter of faces by a template."""

    def __init__(self, template: Template) -> None:
        self._template = template

    def place(
        self, faces: Sequence[Faces], sizes: Sequence[tuple[int, int]], turns: Sequence[int]
    ) -> list[Places]:
        """Place the crops of the faces of several images, of `sizes` (height, width).

        The faces are upright in the images after `turns`. Those of many images at once take about
        as long as those of one.
        """
        counts, joined = [len(each) for each in faces], concatenate_faces(faces)
        each_size = np.repeat(np.array(sizes), counts, axis=0)
        transforms, faults = self.fit(joined, each_size, np.repeat(turns, counts).tolist())
        pose = estimate_pose(joined.landmarks)
        edges = itertools.pairwise([0, *itertools.accumulate(counts)])
        parts = [slice(*each) for each in edges]
        return [Places(transforms[part], faults[part], pose[part]) for part in parts]

    def crop(self, image: Pixels, places: Places, most: int | None = None) -> list[Crop]:
        """Cut the first `most` sound faces out of an image, in order."""
        transforms = places.transforms
        return [
            Crop(face, self.cut(image, transforms[face]), transforms[face])
            for face in places.sound()[:most]
        ]

    def fit(
        self,
        faces: Faces,
        image_sizes: npt.ArrayLike | None = None,
        turns: Sequence[int | None] = (),
    ) -> tuple[npt.NDArray[np.float64], list[str]]:
        """Return transforms (n, 2, 3) and the fault of each face; the text is empty for sound ones.

        `image_sizes` are as in `crop_transforms`. `turns` are those that make the faces upright;
        None stands for 0, and others need `image_sizes`.
        """
        transforms = crop_transforms(faces, self._template, image_sizes)
        turned = np.flatnonzero([bool(turn) for turn in turns])
        if len(turned):
            sizes = np.broadcast_to(np.asarray(image_sizes), (len(faces), 2))[turned]
            own = [turns[row] or 0 for row in turned.tolist()]
            transforms[turned] = turn_transforms(faces.take(turned), self._template, sizes, own)
        return transforms, check_faces(faces, self._template, image_sizes)

    def cut(self, image: Pixels, transform: npt.NDArray[np.float64]) -> Pixels:
        """Cut one face."""
        return cut_crop(image, transform, self._template)


@functools.cache
def open_cropper(template: str) -> Cropper:
    """Open the cropper of the named template. Raises OptionError."""
    return Cropper(load_template(template))


def face_rows(
    found: Found,
    size: tuple[int, int],
    places: Places,
    crops: Sequence[Crop],
    outputs: Sequence[str],
    **known: Any,
) -> Iterator[FaceRow]:
    """Return the table rows of `crops` of an image of `size` (height, width).

    They are written as `outputs`; `known` are the values that they share.
    """
    faces, pose = found.faces, places.pose
    refiners = found.refiners or ("",) * len(faces)
    for crop, output in zip(crops, outputs, strict=True):
        face = crop.face
        yield FaceRow(
            key=output.rpartition(".")[0],
            image_size=size,
            box=faces.boxes[face],
            landmarks=faces.landmarks[face],
            score=float(faces.scores[face]),
            transform=crop.transform,
            output=output,
            roll=float(pose.roll[face]),
            lean=float(pose.lean[face]),
            yaw=float(pose.yaw[face]),
            refiner=refiners[face],
            turn=found.turn,
            followed=found.is_followed,
            **known,
        )
