"""Faces out of decoded images: what photos, frames and tables of faces have in common.

FaceFinder   images -> the faces that are sure enough, or why there is none
Cropper      image, faces -> crops with their 2×3 transforms, and what is wrong with the others
face_rows    crops -> their rows in faces.parquet
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.cpu import my_cores
from faceprep.core.faces import Faces, Pixels, no_faces
from faceprep.core.options import option
from faceprep.core.types import LOW_SCORE, NO_FACE, OK
from faceprep.models.detectors.detector import Detection, DetectorSpec, SizedDetector, open_detector
from faceprep.tables.faces import FaceRow
from faceprep.vision import align
from faceprep.vision.pose import estimate_pose
from faceprep.vision.templates import Template, check_faces, crop_transforms, load_template

log = logging.getLogger("faceprep")
DEGENERATE = "degenerate_landmarks"
_BORDERED, _DOUBLED = (
    "found on a border: it fills the image",
    "found at twice the detection size: it is small",
)
_LOWEST = 0.5
"""Score below which a detector's answers are not even counted as low."""


class Found(NamedTuple):
    """What is in one image: the sure `faces`, surest first; without any, `status` and `reason`
    say why.
    """

    faces: Faces
    status: str = OK
    reason: str = ""
    note: str = ""
    """How the faces were found, where a plain look found none."""


class Crop(NamedTuple):
    """The face in row `face` of a `Faces`, cut out by `transform` (2, 3)."""

    face: int
    pixels: Pixels
    transform: npt.NDArray[np.float64]


@dataclass(frozen=True)
class FaceOptions:
    """The options of the commands that look for faces."""

    detector: str = option(
        "retinaface",
        "retinaface, mtcnn, centerface, insightface:PACK, or the path of an SCRFD or RetinaFace "
        ".onnx.",
    )
    device: str = option("auto", "Run the detector on auto, cpu, cuda or cuda:N.")
    require_gpu: bool = option(False, "Stop if no GPU can be used.")
    det_size: int = option(640, "Scale images down to this long side, in pixels, for detection.")
    small_faces: bool = option(False, "Detect at twice the size as well, for small faces.")
    min_score: float = option(0.8, "Keep faces from this minimum detection score on, 0 to 1.")
    template: str = option(
        "arcface-112",
        "Align faces to this template: arcface-112, arcface-224, box1.5-256 and others.",
    )

    def __post_init__(self) -> None:
        self.spec()
        load_template(self.template)

    def spec(self, detector: str | None = None) -> DetectorSpec:
        """The detector `detector`, or the first choice, as it is to look. Raises OptionError."""
        spec = DetectorSpec(
            detector or self.detector,
            device=self.device,
            det_size=self.det_size,
            min_score=self.min_score,
            small_faces=self.small_faces,
            require_gpu=self.require_gpu,
        )
        return replace(spec, min_score=min(self.min_score, _LOWEST), sure_score=self.min_score)

    def announce(self, *others: str) -> None:
        """Open the detectors in the driver: a missing one is told once, and so is what they run
        on.
        """
        for name in (self.detector, *others):
            finder = self.finder(name)
            log.info("%s runs on %s", name, finder.provider)

    def finder(self, detector: str | None = None) -> FaceFinder:
        """What finds faces, on `detector_threads`; opened once. Raises FaceprepError."""
        spec = replace(self.spec(detector), threads=self.detector_threads())
        return FaceFinder(open_detector(spec), self.min_score)

    def warm_up(self) -> None:
        """Open the detector; a worker does it while the driver still plans."""
        self.finder()

    def detector_threads(self) -> int:
        """Cores for one detection: this process's share of them."""
        return my_cores()

    def cropper(self) -> Cropper:
        return open_cropper(self.template)


class FaceFinder:
    """A detector and the score from which on a face is sure."""

    def __init__(self, detector: SizedDetector, min_score: float) -> None:
        self._detector, self._min_score = detector, min_score
        self.fingerprint, self.provider = detector.fingerprint, detector.provider

    def find(self, images: Sequence[Pixels]) -> list[Found]:
        """Find the faces of each image that are sure enough, or the reason why there is none."""
        return [self._judge(answer) for answer in self._detector.detect_noted(images)]

    def _judge(self, answer: Detection) -> Found:
        faces = answer.faces
        if answer.problem:
            return Found(no_faces(), "undecodable", answer.problem)
        sure = faces.take(faces.scores >= self._min_score)
        if len(sure):
            return Found(
                sure,
                note=_BORDERED if answer.is_bordered else _DOUBLED if answer.is_doubled else "",
            )
        if len(faces):
            return Found(
                sure,
                LOW_SCORE,
                f"the surest face has {faces.scores[0]:.2f}, below {self._min_score:g}",
            )
        return Found(sure, NO_FACE, "no face found")


class Cropper:
    """Cuts faces out of images as a template has them."""

    def __init__(self, template: Template) -> None:
        self._template = template

    def crop(
        self, image: Pixels, faces: Faces, most: int | None = None
    ) -> tuple[list[Crop], list[str]]:
        """The crops in the order of the faces, of the first `most` sound ones, and what is
        wrong with the others.
        """
        transforms, faults = self.fit(faces)
        sound = [face for face, fault in enumerate(faults) if not fault][:most]
        crops = [Crop(face, self.cut(image, transforms[face]), transforms[face]) for face in sound]
        return crops, [fault for fault in faults if fault]

    def fit(self, faces: Faces) -> tuple[npt.NDArray[np.float64], list[str]]:
        """(n, 2, 3) transforms, and what is wrong with each face; an empty text for sound ones.

        Faces of many images at once take hardly longer than those of one.
        """
        return crop_transforms(faces, self._template), check_faces(faces, self._template)

    def cut(self, image: Pixels, transform: npt.NDArray[np.float64]) -> Pixels:
        """The crop of one face."""
        return align.crop(image, transform, self._template.size)


@functools.cache
def open_cropper(template: str) -> Cropper:
    """What cuts faces out as the named template has them. Raises OptionError."""
    return Cropper(load_template(template))


def face_rows(
    image: Pixels, faces: Faces, crops: Sequence[Crop], outputs: Sequence[str], **known: Any
) -> Iterator[FaceRow]:
    """The table's rows of `crops`, written as `outputs`; `known` is what they have in common."""
    pose = estimate_pose(faces.landmarks)
    for crop, output in zip(crops, outputs, strict=True):
        face = crop.face
        yield FaceRow(
            key=output.rpartition(".")[0],
            image_size=(image.shape[0], image.shape[1]),
            box=faces.boxes[face],
            landmarks=faces.landmarks[face],
            score=float(faces.scores[face]),
            transform=crop.transform,
            output=output,
            roll=float(pose.roll[face]),
            lean=float(pose.lean[face]),
            yaw=float(pose.yaw[face]),
            **known,
        )
