"""Finds and crops faces in decoded images, for photos, video frames and tables of faces.

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

from faceprep.core.arrays import Floats, Pixels, Rows
from faceprep.core.cpu import my_cores
from faceprep.core.faces import Faces, no_faces
from faceprep.core.landmarks import check_landmarks
from faceprep.core.options import option
from faceprep.core.types import LOW_SCORE, NO_FACE, OK
from faceprep.models.detectors.detector import Detection, DetectorSpec, SizedDetector, open_detector
from faceprep.models.refine.refiner import Refiner, open_refiner
from faceprep.tables.faces import FaceRow
from faceprep.vision.pose import estimate_pose
from faceprep.vision.templates import (
    Template,
    check_faces,
    crop_transforms,
    cut_crop,
    load_template,
)

log = logging.getLogger("faceprep")
DEGENERATE = "degenerate_landmarks"
_BORDERED, _DOUBLED = (
    "found on a border: it fills the image",
    "found at twice the detection size: it is small",
)
_FACELESS = (NO_FACE, LOW_SCORE)
_LOWEST = 0.5
"""Score below which a detector's answers are not even counted as low."""


class Found(NamedTuple):
    """The faces of an image, by score from the highest.

    Without `faces`, `status` and `reason` say why.
    """

    faces: Faces
    status: str = OK
    reason: str = ""
    note: str = ""
    """How the faces were found, where a plain look found none."""
    refiners: tuple[str, ...] | None = None
    """The refiner that placed the landmarks of each face, empty for the detector; None if there
    was no second look."""
    onet_scores: Floats | None = None
    """O-Net's score (n,) of each face, NaN where it did not look."""

    def take(self, rows: Sequence[int]) -> Found:
        """Select the faces of `rows`, in that order."""
        if self.refiners is None or self.onet_scores is None:
            return self._replace(faces=self.faces.take(rows))
        return self._replace(
            faces=self.faces.take(rows),
            refiners=tuple(self.refiners[row] for row in rows),
            onet_scores=self.onet_scores[list(rows)],
        )


class Crop(NamedTuple):
    """The crop of row `face` of a `Faces`, made with `transform` (2, 3)."""

    face: int
    pixels: Pixels
    transform: npt.NDArray[np.float64]


@dataclass(frozen=True)
class FaceOptions:
    """The options of the commands that detect faces."""

    detector: str = option(
        "retinaface",
        "retinaface, mtcnn, centerface, insightface:PACK, or the path of an SCRFD or RetinaFace "
        ".onnx.",
    )
    device: str = option("auto", "Run the detector on auto, cpu, cuda or cuda:N.")
    require_gpu: bool = option(False, "Stop if no GPU can be used.")
    det_size: int = option(
        640,
        "Scale images down to this long side in pixels for detection; above 640, for small faces.",
    )
    small_faces: bool = option(False, "Detect at twice the size as well, for small faces.")
    refine: bool = option(
        True, "Place the landmarks of each face by a second look at the full resolution."
    )
    min_score: float = option(0.8, "Keep faces from this minimum detection score on, 0 to 1.")
    min_face: int = option(0, "Drop faces whose longer side is below N pixels.")
    template: str = option(
        "arcface-112",
        "Align faces to this template: arcface-N, box1.5-256, patch2.7-80 and others.",
    )

    def __post_init__(self) -> None:
        self.spec()
        load_template(self.template)

    def spec(self, detector: str | None = None) -> DetectorSpec:
        """Return the settings of `detector`, or of the first choice. Raises OptionError."""
        spec = DetectorSpec(
            detector or self.detector,
            device=self.device,
            det_size=self.det_size,
            min_score=self.min_score,
            small_faces=self.small_faces,
            min_face=self.min_face,
            require_gpu=self.require_gpu,
        )
        return replace(spec, min_score=min(self.min_score, _LOWEST), sure_score=self.min_score)

    def announce(self, *others: str) -> None:
        """Open the detectors in the driver, so that their names, device and faults are reported
        once.
        """
        for name in (self.detector, *others):
            finder = self.finder(name)
            log.info("%s runs on %s", name, finder.provider)

    def finder(self, detector: str | None = None) -> FaceFinder:
        """Return the face finder on `detector_threads`; it is opened once. Raises FaceprepError."""
        spec = replace(self.spec(detector), threads=self.detector_threads())
        refiner = open_refiner(spec.runtime()) if self.refine else None
        return FaceFinder(open_detector(spec), self.min_score, refiner)

    def finders(self, fallback: str | None = None) -> list[FaceFinder]:
        """Return the face finder, and that of the detector `fallback` if it is given."""
        return [self.finder(), *([self.finder(fallback)] if fallback else [])]

    def warm_up(self) -> None:
        """Open the detector in a worker while the driver still plans."""
        self.finder()

    def detector_threads(self) -> int:
        """Return the cores for one detection: this process's share."""
        return my_cores()

    def cropper(self) -> Cropper:
        return open_cropper(self.template)


class FaceFinder:
    """A detector with its minimum score, and a refiner of its landmarks if there is one."""

    def __init__(
        self, detector: SizedDetector, min_score: float, refiner: Refiner | None = None
    ) -> None:
        self._detector, self._min_score, self._refiner = detector, min_score, refiner
        self.fingerprint, self.provider = detector.fingerprint, detector.provider
        if refiner is not None:
            self.fingerprint += f"/{refiner.fingerprint}"
        self._no_face = "no face found"
        if detector.min_face:
            self._no_face = f"no face of {detector.min_face} pixels or more found"

    def find(self, images: Sequence[Pixels], most: int | None = None) -> list[Found]:
        """Find the faces of each image that are sure enough, or the reason why there is none.

        Faces with sound landmarks are refined: the first `most` of an image, or all. The others
        keep the detector's. Exchanged landmarks are often those of a head upside down, where a
        refiner sees a face that is not there.
        """
        found = [self._judge(answer) for answer in self._detector.detect_noted(images)]
        if self._refiner is None:
            return found
        return _refine(self._refiner, images, found, most)

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
        return Found(sure, NO_FACE, self._no_face)


def find_with(
    finders: Sequence[FaceFinder], images: Sequence[Pixels], most: int | None = None
) -> list[tuple[Found, str]]:
    """Return what was found in each image, and the fingerprint of the detector that found it.

    Each finder looks only at the images in which those before it found no sure face. The first
    `most` sound faces of an image are refined.
    """
    first = finders[0]
    found = [(each, first.fingerprint) for each in first.find(images, most)]
    for finder in finders[1:]:
        missing = [row for row, (each, _) in enumerate(found) if each.status in _FACELESS]
        again = finder.find([images[row] for row in missing], most)
        for row, each in zip(missing, again, strict=True):
            if len(each.faces):
                found[row] = each, finder.fingerprint
    return found


def _refine(
    refiner: Refiner, images: Sequence[Pixels], found: Sequence[Found], most: int | None
) -> list[Found]:
    """Return what was found with the landmarks of `most` faces of each image refined."""
    rows = [_first_sound(each.faces, most) for each in found]
    seen = [row for row, faces in enumerate(rows) if len(faces)]
    chosen = [found[row].faces.take(rows[row]) for row in seen]
    results = list(found)
    for row, refined in zip(
        seen, refiner.refine([images[row] for row in seen], chosen), strict=True
    ):
        faces, places = found[row].faces, rows[row]
        landmarks, scores = faces.landmarks.copy(), np.full(len(faces), np.nan, np.float32)
        names = np.full(len(faces), "", object)
        landmarks[places], scores[places] = refined.faces.landmarks, refined.onet_scores
        names[places] = refined.refiners
        results[row] = found[row]._replace(
            faces=Faces(faces.boxes, landmarks, faces.scores),
            refiners=tuple(names.tolist()),
            onet_scores=scores,
        )
    return results


def _first_sound(faces: Faces, most: int | None) -> Rows:
    """Return the rows of the first `most` faces with sound landmarks."""
    return np.flatnonzero([not fault for fault in check_landmarks(faces.landmarks)])[:most]


class Cropper:
    """A cutter of faces by a template."""

    def __init__(self, template: Template) -> None:
        self._template = template

    def crop(
        self, image: Pixels, faces: Faces, most: int | None = None
    ) -> tuple[list[Crop], list[str]]:
        """Return the crops of the first `most` sound faces in order, and the faults of the
        others.
        """
        transforms, faults = self.fit(faces, image.shape[:2])
        sound = [face for face, fault in enumerate(faults) if not fault][:most]
        crops = [Crop(face, self.cut(image, transforms[face]), transforms[face]) for face in sound]
        return crops, [fault for fault in faults if fault]

    def fit(
        self, faces: Faces, image_sizes: npt.ArrayLike | None = None
    ) -> tuple[npt.NDArray[np.float64], list[str]]:
        """Return transforms (n, 2, 3) and the fault of each face; the text is empty for sound ones.

        `image_sizes` are as in `crop_transforms`. Faces of many images at once take about as long
        as those of one.
        """
        transforms = crop_transforms(faces, self._template, image_sizes)
        return transforms, check_faces(faces, self._template)

    def cut(self, image: Pixels, transform: npt.NDArray[np.float64]) -> Pixels:
        """Cut one face."""
        return cut_crop(image, transform, self._template)


@functools.cache
def open_cropper(template: str) -> Cropper:
    """Open the cropper of the named template. Raises OptionError."""
    return Cropper(load_template(template))


def face_rows(
    image: Pixels, found: Found, crops: Sequence[Crop], outputs: Sequence[str], **known: Any
) -> Iterator[FaceRow]:
    """Return the table rows of `crops`, written as `outputs`; `known` are the values they share."""
    faces = found.faces
    refiners = found.refiners or ("",) * len(faces)
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
            refiner=refiners[face],
            **known,
        )
