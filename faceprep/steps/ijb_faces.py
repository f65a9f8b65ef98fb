"""Faces of IJB-B and IJB-C, aligned by the points of its lists, for embed and verify."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceprep.core.faces import Faces
from faceprep.core.types import Outcome
from faceprep.core.urls import url_of
from faceprep.sets.ijb import Ijb, load_ijb
from faceprep.steps.crop_faces import DEGENERATE, Cropper
from faceprep.steps.embed_crops import FittedCrop, Load, pass_on
from faceprep.vision.load_image import load_image


@lru_cache(maxsize=1)
def open_lists(root: Path) -> Ijb:
    """Load the lists of a set; a process does so once. Raises SourceError."""
    return load_ijb(root)


def key_of(data: Ijb, file: str) -> str:
    """Return the path of an image below the folder of the set."""
    return f"{data.images.name}/{file}"


def ijb_loads(data: Ijb, cropper: Cropper, start: int, stop: int) -> Iterator[Load]:
    """Yield what reads the images [start, stop); the identity of each is its template."""
    rows = slice(start, stop)
    files, landmarks = data.files[rows], data.landmarks[rows]
    faces = Faces(np.zeros((len(files), 4), np.float32), landmarks, data.scores[rows])
    transforms, faults = cropper.fit(faces)
    templates = data.templates[rows].tolist()
    for file, template, transform, fault in zip(files, templates, transforms, faults, strict=True):
        path = data.images / file
        if fault:
            yield pass_on(Outcome(key_of(data, file), DEGENERATE, f"{url_of(path)}: {fault}"))
        else:
            named = key_of(data, file), str(template)
            yield partial(_load_face, path, named, cropper, transform)


def _load_face(
    path: Path, named: tuple[str, str], cropper: Cropper, transform: npt.NDArray[np.float64]
) -> list[FittedCrop | Outcome]:
    """Load one image, aligned by its landmarks; `named` is its key and its identity."""
    pixels = load_image(path, str(path))
    if isinstance(pixels, Outcome):
        return [pixels._replace(key=named[0])]
    return [FittedCrop(named[0], cropper.cut(pixels, transform), identity=named[1])]
