"""Detectors by name, and the passes common to all: at a bounded size, with a border, enlarged."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from faceprep.core import registry
from faceprep.core.arrays import Pixels
from faceprep.core.boxes import areas, intersections
from faceprep.core.errors import OptionError
from faceprep.core.faces import Detector, Faces, concatenate_faces, no_faces
from faceprep.core.hush import hush_libraries
from faceprep.core.opencv import opencv
from faceprep.core.suggest import did_you_mean
from faceprep.models.detectors.nms import non_max_suppression
from faceprep.models.mxnet.checkpoint import is_checkpoint
from faceprep.models.onnx_session import Runtime

_BORDERED_SIDE = 256
"""Long side of an image in the pass with a border."""
_BORDER_SHARE = 0.25
"""Border on each side in that pass, as a share of the image's long side."""
_SMALL_FACES_SCALE = 2
"""Size of the pass for small faces, in detection sizes; images are enlarged as much at most."""
_SMALL_FACE = 0.125
"""Long side of a small face, as a share of the size of that pass.

Larger boxes are dropped, because parts of a large face are detected as faces there.
"""
_OVERLAP = 0.4
_WITH_SOURCE = ("insightface", "mxnet", "python")
"""Detectors that are opened from a pack, a file or a class."""
_WHOLE_SIZE = 640
"""Size at which large faces are looked for where the detection size is larger."""
_INSIDE = 0.75
"""Share of a box inside a higher-scoring face above which it is a part of that face."""


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """The choice of a detector and all options that its faces depend on.

    `name` is one of `registry.DETECTORS`, `insightface:PACK`, `python:MODULE:CLASS`, the path of an
    .onnx file, or an MXNet checkpoint as `PREFIX-symbol.json` or `PREFIX,EPOCH`. `device` and
    `threads` are those of `Runtime`. `det_size` is the maximum long side of the image that the
    detector gets. Above 640, it counts for small faces, and large ones are detected at 640, because
    detectors see a very large face in parts or not at all. `small_faces` adds a pass at twice the
    size, for which images are enlarged up to twice. `min_score` None stands for the detector's own
    minimum score. An image without a face of at least `sure_score` gets further passes. Faces whose
    longer side is below `min_face` pixels of the image are dropped.
    """

    name: str = "retinaface"
    device: str = "auto"
    det_size: int = 640
    min_score: float | None = None
    small_faces: bool = False
    require_gpu: bool = False
    threads: int = 0
    sure_score: float = 0.0
    min_face: int = 0

    def runtime(self) -> Runtime:
        """Return the device and the number of threads."""
        return Runtime(self.device, self.threads, self.require_gpu)


class Detection(NamedTuple):
    """The faces of one image, and the pass that found them."""

    faces: Faces
    is_bordered: bool = False
    """A confident face was found only after a border was added: a face fills the image."""
    problem: str = ""
    """Reason why the input is not an image of height × width × 3 bytes; empty for an image."""
    is_doubled: bool = False
    """A confident face was found only at twice the detection size: the faces are small."""


@runtime_checkable
class SelectiveDetector(Protocol):
    """A detector that can skip small faces, and is faster without them."""

    def detect_from(self, images: Sequence[Pixels], min_face: float) -> list[Faces]:
        """Detect the faces of each image whose longer side has `min_face` pixels or more."""
        ...


@functools.cache
def open_detector(spec: DetectorSpec) -> SizedDetector:
    """Open the detector that `spec` names, once per process.

    Raises OptionError, MissingExtra, or FaceprepError if a required GPU cannot be used.
    """
    name, _, source = spec.name.partition(":")
    if spec.name.endswith(".onnx"):
        name, source = "insightface", spec.name
    elif is_checkpoint(spec.name):
        name, source = "mxnet", spec.name
    if name not in registry.DETECTORS or (name in _WITH_SOURCE) != bool(source):
        known = [entry.usage or each for each, entry in registry.DETECTORS.items()]
        raise OptionError(
            f"unknown detector {spec.name!r}",
            expected=f"{', '.join(known)} or a path to an .onnx",
            remedy=did_you_mean(spec.name, known),
        )
    kind = registry.load(registry.DETECTORS, name)
    options = {} if spec.min_score is None else {"min_score": spec.min_score}
    with hush_libraries():
        detector = kind(spec.runtime(), *filter(None, [source]), **options)
    return SizedDetector(detector, spec.det_size, spec.small_faces, spec.sure_score, spec.min_face)


class SizedDetector:
    """A detector at a long side of at most `det_size`.

    Boxes and landmarks are in pixels of the original image. 0 is the outer edge of the first pixel,
    as in the training of these networks, so that coordinates scale with the image. Boxes may extend
    beyond the image.
    """

    def __init__(
        self,
        detector: Detector,
        det_size: int = 640,
        small_faces: bool = False,
        sure_score: float = 0.0,
        min_face: int = 0,
    ) -> None:
        self._detector, self.min_face = detector, min_face
        self._det_size, self._small_faces, self._sure_score = det_size, small_faces, sure_score
        self.fingerprint = f"{detector.fingerprint}/det{det_size}"
        if det_size > _WHOLE_SIZE:
            self.fingerprint += f"/large{_WHOLE_SIZE}"
        if small_faces:
            self.fingerprint += "/small2"
        if sure_score:
            self.fingerprint += f"/sure{sure_score:g}"
        if min_face:
            self.fingerprint += f"/min{min_face}"
        self.provider = detector.provider

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        """Return the faces of each image. Raises ValueError for an input that is not an image."""
        detections = self.detect_noted(images)
        for row, detection in enumerate(detections):
            if detection.problem:
                raise ValueError(f"image {row}: {detection.problem}")
        return [detection.faces for detection in detections]

    def detect_noted(self, images: Sequence[Pixels]) -> list[Detection]:
        """Detect faces, and note the pass that found them or the problem of the input.

        An input that is not an image does not affect the others.
        """
        detections = [Detection(no_faces(), problem=problem_of(image)) for image in images]
        sound = [row for row, detection in enumerate(detections) if not detection.problem]
        first_faces = self._detect_plain([images[row] for row in sound])
        for row, faces in zip(sound, first_faces, strict=True):
            detections[row] = Detection(faces)
        unsure = self._unsure(detections, sound)
        bordered_faces = self._detect_bordered([images[row] for row in unsure])
        for row, faces in zip(unsure, bordered_faces, strict=True):
            if self._is_sure(faces):
                detections[row] = Detection(faces, is_bordered=True)
        unsure = self._unsure(detections, unsure)
        shrunk = [row for row in unsure if self._is_only_shrunk(images[row])]
        doubled_faces = self._detect_doubled([images[row] for row in shrunk])
        for row, faces in zip(shrunk, doubled_faces, strict=True):
            if self._is_sure(faces):
                detections[row] = Detection(faces, is_doubled=True)
        return detections

    def _unsure(self, detections: Sequence[Detection], rows: Sequence[int]) -> list[int]:
        """Return those of `rows` without a confident face so far."""
        return [row for row in rows if not self._is_sure(detections[row].faces)]

    def _is_sure(self, faces: Faces) -> bool:
        return bool((faces.scores >= self._sure_score).any())

    def _is_only_shrunk(self, image: Pixels) -> bool:
        """Return whether the detector has seen the image only at a reduced size."""
        return not self._small_faces and max(image.shape[:2]) > self._det_size

    def _detect_plain(self, images: list[Pixels]) -> list[Faces]:
        """Run the first pass, and those for small faces that the options ask for."""
        passes = [self._detect_at(images, min(self._det_size, _WHOLE_SIZE))]
        if self._det_size > _WHOLE_SIZE:
            passes.append(self._detect_large(images))
        if self._small_faces:
            passes.append(self._detect_doubled(images))
        if len(passes) == 1:
            return passes[0]
        return [join_passes(*of_image) for of_image in zip(*passes, strict=True)]

    def _detect_large(self, images: list[Pixels]) -> list[Faces]:
        """Detect small faces at a detection size above 640, in the images that have that size."""
        found = [no_faces()] * len(images)
        rows = [row for row, image in enumerate(images) if max(image.shape[:2]) > _WHOLE_SIZE]
        large = [images[row] for row in rows]
        max_face = _SMALL_FACE * self._det_size
        faces_of_large = self._detect_at(large, self._det_size, max_face=max_face)
        for row, faces in zip(rows, faces_of_large, strict=True):
            found[row] = faces
        return found

    def _detect_doubled(self, images: list[Pixels]) -> list[Faces]:
        size = self._det_size * _SMALL_FACES_SCALE
        return self._detect_at(images, size, _SMALL_FACES_SCALE, _SMALL_FACE * size)

    def _detect_at(
        self, images: list[Pixels], size: int, max_enlargement: float = 1, max_face: float = np.inf
    ) -> list[Faces]:
        """Detect at a long side of at most `size`; keep faces of at most `max_face` pixels."""
        fitted = [fit_to(image, size, max_enlargement) for image in images]
        scales = [_scale(image, small) for image, small in zip(images, fitted, strict=True)]
        found = self._run(fitted, scales)
        kept = [faces.take(long_sides(faces) <= max_face) for faces in found]
        return [self._large(faces.moved(scale)) for faces, scale in zip(kept, scales, strict=True)]

    def _run(self, fitted: list[Pixels], scales: list[tuple[float, float]]) -> list[Faces]:
        """Run the detector, and let it skip faces below `min_face` pixels if it can."""
        if not self.min_face or not isinstance(self._detector, SelectiveDetector):
            return self._detector.detect(fitted)
        found = [no_faces()] * len(fitted)
        for scale in set(scales):
            rows = [row for row, own in enumerate(scales) if own == scale]
            least = self.min_face / max(scale)
            faces = self._detector.detect_from([fitted[row] for row in rows], least)
            for row, each in zip(rows, faces, strict=True):
                found[row] = each
        return found

    def _large(self, faces: Faces) -> Faces:
        """Select the faces that are large enough, in pixels of the image."""
        if not self.min_face:
            return faces
        return faces.take(long_sides(faces) >= self.min_face)

    def _detect_bordered(self, images: list[Pixels]) -> list[Faces]:
        side = min(_BORDERED_SIDE, self._det_size)
        fitted = [fit_to(image, side) for image in images]
        found = self._detector.detect([add_border(image) for image in fitted])
        moved = []
        for faces, image, small in zip(found, images, fitted, strict=True):
            border = border_width(small)
            without_border = faces.moved(1, (-border, -border))
            inside = _inside(without_border.moved(_scale(image, small)), image)
            moved.append(self._large(inside))
        return moved


def problem_of(image: object) -> str:
    """Return the reason why `image` is not an image, or an empty string for an image.

    >>> problem_of(np.zeros((4, 5), np.uint8))
    'expected height × width × 3 uint8 RGB, found shape (4, 5) uint8'
    """
    found = type(image).__name__
    if isinstance(image, np.ndarray):
        has_channels = image.ndim == 3 and image.shape[2] == 3
        if has_channels and image.dtype == np.uint8 and image.size > 0:
            return ""
        found = f"shape {image.shape} {image.dtype}"
    return f"expected height × width × 3 uint8 RGB, found {found}"


def fit_to(image: Pixels, long_side: int, max_enlargement: float = 1) -> Pixels:
    """Scale `image` to a long side of `long_side`, by a factor of at most `max_enlargement`.

    >>> fit_to(np.zeros((1080, 1920, 3), np.uint8), 640).shape
    (360, 640, 3)
    >>> fit_to(np.zeros((9, 8, 3), np.uint8), 640).shape
    (9, 8, 3)
    """
    height, width = image.shape[:2]
    scale = min(long_side / max(height, width), max_enlargement)
    if scale == 1:
        return image
    cv2 = opencv()
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Halving first is as free of aliasing as INTER_AREA, and much faster.
    while 2 * size[0] < image.shape[1] and 2 * size[1] < image.shape[0]:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_LINEAR)
    small: Pixels = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return small


def long_sides(faces: Faces) -> npt.NDArray[np.float32]:
    """Return the longer side (n,) of each box."""
    sides: npt.NDArray[np.float32] = faces.boxes[:, 2:] - faces.boxes[:, :2]
    return np.asarray(sides.max(axis=1, initial=0))


def join_passes(*passes: Faces) -> Faces:
    """Join the faces of several passes, highest score first.

    Duplicates are dropped, and so are boxes that lie mostly inside a face of a higher score.
    """
    faces = non_max_suppression(concatenate_faces(passes), _OVERLAP)
    shared = intersections(faces.boxes[:, None], faces.boxes[None])
    is_inside = shared > _INSIDE * areas(faces.boxes)[:, None]
    return faces.take(~np.tril(is_inside, -1).any(axis=1))


def border_width(image: Pixels) -> int:
    """Return the width in pixels of the border on each side."""
    return int(max(image.shape[:2]) * _BORDER_SHARE)


def add_border(image: Pixels) -> Pixels:
    """Return `image` in the middle of a black border."""
    border = border_width(image)
    height, width = image.shape[:2]
    framed: Pixels = np.zeros((height + 2 * border, width + 2 * border, 3), np.uint8)
    framed[border : border + height, border : border + width] = image
    return framed


def _scale(image: Pixels, fitted: Pixels) -> tuple[float, float]:
    return image.shape[1] / fitted.shape[1], image.shape[0] / fitted.shape[0]


def _inside(faces: Faces, image: Pixels) -> Faces:
    """Select the faces whose centre is inside the image, not on the border."""
    size = (image.shape[1], image.shape[0])
    centres = faces.boxes.reshape(-1, 2, 2).mean(axis=1)
    return faces.take(((centres >= 0) & (centres < size)).all(axis=1))
