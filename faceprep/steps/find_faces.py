"""Finds faces in decoded images: those above the minimum score, or the reason for none."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from faceprep.core.arrays import Bools, Pixels, Rows
from faceprep.core.cpu import my_cores
from faceprep.core.faces import Faces, no_faces
from faceprep.core.io.image_bytes import UNDECODABLE
from faceprep.core.options import Values, check_ranges, option
from faceprep.core.turns import turn_image
from faceprep.core.types import LOW_SCORE, NO_FACE
from faceprep.models.detectors.detector import Detection, DetectorSpec, SizedDetector, open_detector
from faceprep.models.detectors.insightface import download_pack
from faceprep.models.refine.refiner import Refined, Refiner, open_refiner
from faceprep.models.refine.turns import LOOK_SIZE, TurnChooser
from faceprep.steps.crop_faces import Cropper, open_cropper
from faceprep.steps.device_options import (
    UsesDevice,
    device_option,
    download_option,
    require_gpu_option,
)
from faceprep.steps.found import Found, first_sound, turn_back
from faceprep.steps.model_names import DETECTORS, NAMED_TEMPLATES, TEMPLATES
from faceprep.vision.templates import load_template

log = logging.getLogger("faceprep")
_BORDERED = "found only with a border: the face fills the image"
_DOUBLED = "found only at twice the detection size: the face is small"
_LOWEST = 0.5
"""Score below which a detector's answers are not even counted as low."""
_MANY = 0.01
"""Minimum score below which hundreds of places in a photo without people are faces."""


@dataclass(frozen=True)
class FaceOptions(UsesDevice):
    """The options of the commands that detect faces."""

    heading: ClassVar[str] = "Face options"

    detector: str = option(
        "retinaface",
        "Detect faces with retinaface, mtcnn, centerface, insightface:PACK, the path of an SCRFD "
        "or RetinaFace .onnx, or RetinaFace as an MXNet checkpoint: PREFIX,EPOCH.",
        values=DETECTORS,
    )
    device: str = device_option("the detector")
    require_gpu: bool = require_gpu_option()
    download: bool = download_option()
    det_size: int = option(
        640,
        "Scale images down to a long side of N pixels for detection; more than 640 finds small "
        "faces.",
        values=Values(least=32),
    )
    small_faces: bool = option(False, "Detect at twice the size as well, for small faces.")
    refine: bool = option(True, "Place the landmarks of each face again at full resolution.")
    turns: str = option(
        "auto",
        "Detect faces in the image turned by 90, 180 and 270 degrees as well: if the first result "
        "is in doubt (auto), never (0), or always (all).",
        choices=("auto", "0", "all"),
    )
    min_score: float = option(
        0.8, "Keep faces with at least this detection score.", values=Values(least=0, most=1)
    )
    min_face: int = option(
        0, "Drop faces whose longer side is below N pixels.", values=Values(least=0)
    )
    template: str = option(
        "arcface-112",
        f"Align faces to this template, at any size: {NAMED_TEMPLATES}.",
        values=TEMPLATES,
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        load_template(self.template)

    def spec(self, detector: str | None = None) -> DetectorSpec:
        """Return the settings of `detector`, by default of --detector."""
        return DetectorSpec(
            detector or self.detector,
            device=self.device,
            det_size=self.det_size,
            min_score=min(self.min_score, _LOWEST),
            small_faces=self.small_faces,
            require_gpu=self.require_gpu,
            sure_score=self.min_score,
            min_face=self.min_face,
        )

    def announce(self, *others: str) -> None:
        """Open the detectors in the driver, so that their names, device and faults are reported
        once. With --download, packs that are missing are downloaded before.
        """
        if self.min_score < _MANY:
            log.warning(
                "--min-score %g may take hundreds of places in an image for faces, and minutes for "
                "each image: %g is low enough for any face",
                self.min_score,
                _MANY,
            )
        for name in (self.detector, *others):
            if self.download:
                download_pack(name)
            finder = self.finder(name)
            log.info("%s runs on %s", name, finder.provider)

    def finder(self, detector: str | None = None) -> FaceFinder:
        """Return the face finder on `detector_threads`; it is opened once. Raises FaceprepError."""
        spec = replace(self.spec(detector), threads=self.detector_threads())
        refiner = open_refiner(spec.runtime()) if self.refine else None
        return FaceFinder(open_detector(spec), self.min_score, refiner, self._chooser(spec))

    def _chooser(self, spec: DetectorSpec) -> TurnChooser | None:
        """Return the judge of turns, which detects at a small size, or None with --turns 0."""
        if self.turns == "0":
            return None
        small = replace(
            spec, det_size=min(spec.det_size, LOOK_SIZE), small_faces=False, sure_score=0.0
        )
        is_always = self.turns == "all"
        return TurnChooser(open_detector(small), open_refiner(spec.runtime()), is_always)

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
    """A detector with its minimum score, a refiner of its landmarks, and a judge of turns.

    Without a refiner, landmarks are the detector's; without a judge, images are taken as they are.
    """

    def __init__(
        self,
        detector: SizedDetector,
        min_score: float,
        refiner: Refiner | None = None,
        chooser: TurnChooser | None = None,
    ) -> None:
        self._detector, self._min_score, self._refiner = detector, min_score, refiner
        self._chooser = chooser
        self.fingerprint, self.provider = detector.fingerprint, detector.provider
        if refiner is not None:
            self.fingerprint += f"/{refiner.fingerprint}"
        if chooser is not None:
            self.fingerprint += f"/{chooser.fingerprint}"
        self._no_face = "no face found"
        if detector.min_face:
            self._no_face = f"no face of {detector.min_face} pixels or more found"

    def find(
        self, images: Sequence[Pixels], most: int | None = None, turn: int | None = None
    ) -> list[Found]:
        """Find the faces of each image with at least the minimum score, or the reason for none.

        Faces with sound landmarks are refined: the first `most` of an image, or all. The others
        keep the detector's. Exchanged landmarks are often those of a head upside down, where a
        refiner sees a face that is not there. An image whose faces are upright only after a turn
        is turned to find them; the faces are returned in pixels of the image as it is. If `turn` is
        given, all images are turned by it.
        """
        if turn:
            return [self._look_turned(image, turn, most) for image in images]
        found = self._look(images, most)
        if self._chooser is None or turn is not None:
            return found
        doubtful = [row for row, each in enumerate(found) if self._doubts(images[row], each)]
        turns = self._chooser.choose([images[row] for row in doubtful])
        for row, turn in zip(doubtful, turns, strict=True):
            if turn:
                again = self._look_turned(images[row], turn, most)
                if len(again.faces):
                    found[row] = again
        return found

    @property
    def can_turn(self) -> bool:
        """Return whether images are also searched at other turns."""
        return self._chooser is not None

    def find_turn(self, images: Iterable[Pixels], n: int) -> int:
        """Return one turn for all frames of a video, given `n` of them; 0 unless most are in doubt.

        The later ones are not read if none of the first, which are the majority, is in doubt.
        """
        if self._chooser is None:
            return 0
        waiting, seen, n_doubts = iter(images), list[Pixels](), 0
        for n_more in (n // 2 + 1, n):
            some = list(itertools.islice(waiting, n_more))
            pairs = zip(some, self._look(some, 1), strict=True)
            n_doubts += sum(self._doubts(image, found) for image, found in pairs)
            seen += some
            if not n_doubts:
                return 0
        return self._chooser.choose_one(seen) if 2 * n_doubts > len(seen) else 0

    def _doubts(self, image: Pixels, found: Found) -> bool:
        """Return whether the image should be searched at other turns."""
        if self._chooser is None or found.status == UNDECODABLE:
            return False
        return self._chooser.doubts(image, found.faces, found.onet_scores)

    def _look_turned(self, image: Pixels, turn: int, most: int | None) -> Found:
        """Find the faces of the turned image, in pixels of the image as it is."""
        (found,) = self._look([turn_image(image, turn)], most)
        return turn_back(found, (image.shape[0], image.shape[1]), turn)

    def _look(self, images: Sequence[Pixels], most: int | None) -> list[Found]:
        """Find and refine the faces of each image as it is."""
        answers = self._detector.detect_noted(images)
        found = [self._judge(answer) for answer in answers]
        if self._refiner is None:
            return found
        return _refine(self._refiner, images, found, most)

    def refine(
        self, images: Sequence[Pixels], places: Rows, faces: Faces, turned_away: Bools
    ) -> Refined | None:
        """Refine `faces` as `Refiner.refine_at` does; None if no refiner is used."""
        if self._refiner is None:
            return None
        return self._refiner.refine_at(images, places, faces, turned_away)

    def _judge(self, answer: Detection) -> Found:
        faces = answer.faces
        if answer.problem:
            return Found(no_faces(), UNDECODABLE, answer.problem)
        sure = faces.take(faces.scores >= self._min_score)
        if len(sure):
            return Found(sure, note=_describe_pass(answer))
        if len(faces):
            reason = f"the highest score is {faces.scores[0]:.2f}, below {self._min_score:g}"
            return Found(sure, LOW_SCORE, reason)
        return Found(sure, NO_FACE, self._no_face)


def _describe_pass(answer: Detection) -> str:
    """Describe the pass that found the faces; empty for the first."""
    if answer.is_bordered:
        return _BORDERED
    return _DOUBLED if answer.is_doubled else ""


def _refine(
    refiner: Refiner, images: Sequence[Pixels], found: Sequence[Found], most: int | None
) -> list[Found]:
    """Refine the landmarks of the first `most` sound faces of each image."""
    rows = [first_sound(each.faces, most) for each in found]
    seen = [row for row, faces in enumerate(rows) if len(faces)]
    chosen = [found[row].faces.take(rows[row]) for row in seen]
    results = list(found)
    for row, refined in zip(
        seen, refiner.refine([images[row] for row in seen], chosen), strict=True
    ):
        results[row] = found[row].refined(rows[row], refined)
    return results
