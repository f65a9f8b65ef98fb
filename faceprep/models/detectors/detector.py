"""Detectors by name, and what every one of them gets: a bounded size, and a second look with a
border.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core import registry
from faceprep.core.errors import OptionError
from faceprep.core.faces import Detector, Faces, Pixels, no_faces
from faceprep.core.opencv import opencv
from faceprep.models.detectors.nms import non_max_suppression
from faceprep.models.onnx_session import Runtime

_BORDERED_SIDE = 256
"""Long side of an image in the second look."""
_BORDER_SHARE = 0.25
"""Border on each side in the second look, as a share of the image's long side."""
_SMALL_FACES_AT = 2
"""How much larger than the detection size the look for small faces is, and how much images are
enlarged for it.
"""
_SMALL_FACE = 0.125
"""Long side of a small face, as a share of the size of that look. Parts of a large face pass
for faces there.
"""
_OVERLAP = 0.4


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """Which detector, and how it looks: all that its answers depend on, besides the weights.

    `name` is one of `registry.DETECTORS`, `insightface:PACK` or the path of an .onnx file; `device`
    and `threads` as of `Runtime`; `det_size` bounds the long side at which images are detected
    (retinaface loses faces of more than about 600 pixels there); `small_faces` adds a look at twice
    that size, for which images are enlarged up to twice; `min_score` None is the detector's own; an
    image without a face of `sure_score` gets further looks.
    """

    name: str = "retinaface"
    device: str = "auto"
    det_size: int = 640
    min_score: float | None = None
    small_faces: bool = False
    require_gpu: bool = False
    threads: int = 0
    sure_score: float = 0.0

    def __post_init__(self) -> None:
        if self.det_size < 32:
            raise OptionError(
                "bad detection size", expected="32 pixels or more", found=str(self.det_size)
            )
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise OptionError("bad least score", expected="0 … 1", found=str(self.min_score))


class Detection(NamedTuple):
    """What became of one image."""

    faces: Faces
    bordered: bool = False
    """No sure face was found until the image was put on a border: a face fills it."""
    refused: str = ""
    """Why there was nothing to detect in: no image of height × width × 3 bytes."""
    doubled: bool = False
    """No sure face was found until the image was looked at in twice the detection size: the
    faces are small.
    """


@functools.cache
def open_detector(spec: DetectorSpec) -> SizedDetector:
    """The detector that `spec` names, one a process. Raises OptionError, MissingExtra,
    FaceprepError for a GPU.
    """
    is_file = spec.name.endswith(".onnx")
    name, _, source = ("insightface", ":", spec.name) if is_file else spec.name.partition(":")
    if name not in registry.DETECTORS or (name == "insightface") != bool(source):
        raise OptionError(
            f"unknown detector {spec.name!r}",
            expected=", ".join(registry.DETECTORS) + ":PACK or a path to an .onnx",
        )
    kind = registry.load(registry.DETECTORS, name)
    options = {} if spec.min_score is None else {"min_score": spec.min_score}
    runtime = Runtime(spec.device, spec.threads, spec.require_gpu)
    detector = kind(runtime, *filter(None, [source]), **options)
    return SizedDetector(detector, spec.det_size, spec.small_faces, spec.sure_score)


class SizedDetector:
    """Detects at a long side of at most `det_size`, and gives boxes and landmarks in pixels of the
    image given.

    Coordinates are of the plane, not of pixel centres (0 is the outer edge of the first pixel, as
    in the training of these networks), so that they scale with the image. Boxes may reach beyond
    it.
    """

    def __init__(
        self,
        detector: Detector,
        det_size: int = 640,
        small_faces: bool = False,
        sure_score: float = 0.0,
    ) -> None:
        self._detector = detector
        self._det_size, self._small_faces, self._sure_score = det_size, small_faces, sure_score
        self.fingerprint = f"{detector.fingerprint}/det{det_size}"
        if small_faces:
            self.fingerprint += "/small"
        if sure_score:
            self.fingerprint += f"/sure{sure_score:g}"
        self.provider = detector.provider

    def __call__(self, images: Sequence[Pixels]) -> list[Faces]:
        """Faces of each image. Raises ValueError for what is not an image."""
        detections = self.detect_noted(images)
        for row, detection in enumerate(detections):
            if detection.refused:
                raise ValueError(f"image {row}: {detection.refused}")
        return [detection.faces for detection in detections]

    def detect_noted(self, images: Sequence[Pixels]) -> list[Detection]:
        """As a call, with a note of what was done; what is not an image is refused alone."""
        answers = [Detection(no_faces(), refused=problem_of(image)) for image in images]
        sound = [row for row, answer in enumerate(answers) if not answer.refused]
        for row, faces in zip(sound, self._look([images[row] for row in sound]), strict=True):
            answers[row] = Detection(faces)
        unsure = [row for row in sound if not self._is_sure(answers[row].faces)]
        for row, faces in zip(
            unsure, self._look_bordered([images[row] for row in unsure]), strict=True
        ):
            if self._is_sure(faces):
                answers[row] = Detection(faces, bordered=True)
        large = [
            row
            for row in unsure
            if not answers[row].bordered and self._has_more_to_see(images[row])
        ]
        for row, faces in zip(
            large, self._look_doubled([images[row] for row in large]), strict=True
        ):
            if self._is_sure(faces):
                answers[row] = Detection(faces, doubled=True)
        return answers

    def _is_sure(self, faces: Faces) -> bool:
        return bool((faces.scores >= self._sure_score).any())

    def _look(self, images: list[Pixels]) -> list[Faces]:
        found = self._look_at(images, self._det_size)
        if not self._small_faces:
            return found
        return [merged(*looks) for looks in zip(found, self._look_doubled(images), strict=True)]

    def _look_doubled(self, images: list[Pixels]) -> list[Faces]:
        size = self._det_size * _SMALL_FACES_AT
        return self._look_at(images, size, _SMALL_FACES_AT, _SMALL_FACE * size)

    def _has_more_to_see(self, image: Pixels) -> bool:
        """Whether it was shrunk for the first look, and that was the only one."""
        return not self._small_faces and max(image.shape[:2]) > self._det_size

    def _look_at(
        self,
        images: list[Pixels],
        size: int,
        most_enlarged: float = 1,
        largest_face: float = np.inf,
    ) -> list[Faces]:
        fitted = [fitted_to(image, size, most_enlarged) for image in images]
        found = self._detector(fitted)
        return [
            faces.take(sides_of(faces).max(axis=1, initial=0) <= largest_face).moved(
                _scale(image, small)
            )
            for faces, image, small in zip(found, images, fitted, strict=True)
        ]

    def _look_bordered(self, images: list[Pixels]) -> list[Faces]:
        fitted = [fitted_to(image, min(_BORDERED_SIDE, self._det_size)) for image in images]
        found = self._detector([bordered(image) for image in fitted])
        return [
            _within(faces.moved(1, (-border_of(small),) * 2).moved(_scale(image, small)), image)
            for faces, image, small in zip(found, images, fitted, strict=True)
        ]


def problem_of(image: Pixels) -> str:
    """Why `image` is none, or nothing.

    >>> problem_of(np.zeros((4, 5), np.uint8))
    'expected height × width × 3 uint8 RGB, found shape (4, 5) uint8'
    """
    is_image = (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
    ) and image.size > 0
    if is_image:
        return ""
    found = (
        f"shape {image.shape} {image.dtype}"
        if isinstance(image, np.ndarray)
        else type(image).__name__
    )
    return f"expected height × width × 3 uint8 RGB, found {found}"


def fitted_to(image: Pixels, long_side: int, most_enlarged: float = 1) -> Pixels:
    """`image` with a long side of at most `long_side`; a smaller one grows up to `most_enlarged`
    times.

    >>> fitted_to(np.zeros((1080, 1920, 3), np.uint8), 640).shape
    (360, 640, 3)
    >>> fitted_to(np.zeros((9, 8, 3), np.uint8), 640).shape
    (9, 8, 3)
    """
    height, width = image.shape[:2]
    scale = min(long_side / max(height, width), most_enlarged)
    if scale == 1:
        return image
    cv2 = opencv()
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    while (
        2 * size[0] < image.shape[1] and 2 * size[1] < image.shape[0]
    ):  # as clean as INTER_AREA, and much faster
        image = cv2.resize(
            image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_LINEAR
        )
    small: Pixels = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return small


def sides_of(faces: Faces) -> npt.NDArray[np.float32]:
    """(n, 2) width and height of the boxes."""
    return faces.boxes[:, 2:] - faces.boxes[:, :2]


def merged(*looks: Faces) -> Faces:
    """The faces of several looks at one image, once each, the surest first."""
    boxes, landmarks, scores = (
        np.concatenate([getattr(faces, name) for faces in looks])
        for name in ("boxes", "landmarks", "scores")
    )
    return Faces(boxes, landmarks, scores).take(non_max_suppression(boxes, scores, _OVERLAP))


def border_of(image: Pixels) -> int:
    """Pixels of border on each side in the second look."""
    long_side = max(image.shape[:2])
    return int(long_side * _BORDER_SHARE)


def bordered(image: Pixels) -> Pixels:
    """`image` in the middle of a black border."""
    border = border_of(image)
    framed: Pixels = np.zeros(
        (image.shape[0] + 2 * border, image.shape[1] + 2 * border, 3), np.uint8
    )
    framed[border : border + image.shape[0], border : border + image.shape[1]] = image
    return framed


def _scale(image: Pixels, fitted: Pixels) -> tuple[float, float]:
    return image.shape[1] / fitted.shape[1], image.shape[0] / fitted.shape[0]


def _within(faces: Faces, image: Pixels) -> Faces:
    """The faces whose middle is in the image and not on the border."""
    middles = faces.boxes.reshape(-1, 2, 2).mean(axis=1)
    return faces.take(((middles >= 0) & (middles < (image.shape[1], image.shape[0]))).all(axis=1))
