"""The faces that are followed through a segment of a video, from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Bools, Doubles, Floats, Numbers, Rows
from faceprep.core.boxes import overlaps
from faceprep.core.faces import Faces, no_faces
from faceprep.core.landmarks import check_landmarks
from faceprep.models.refine.refiner import NONE, RETINAFACE
from faceprep.steps.found import Found
from faceprep.vision.tracks import SceneCuts

_MAX_SCALE = float(np.log(1.4))
"""Maximum change of a face's size from one frame to the next, as a logarithm."""
_NEW_SIZE = 0.3
"""Share of the size in a frame that is taken over; the rest is that of the frames before."""
_OVERLAP = 0.4
"""Overlap of two followed faces above which they may be one."""
_SURE = 0.65
"""Minimum score of a look at a face whose landmarks no refiner placed."""
_DOUBTED = 0.9
"""Score of O-Net below which it need not look at the face again before the next full look."""
_TINY = 1e-9


@dataclass(frozen=True)
class Boxes:
    """Boxes as centres (n, 2) and sizes (n, 2), in pixels."""

    centres: Doubles
    sizes: Doubles

    @staticmethod
    def of(boxes: npt.ArrayLike) -> Boxes:
        """Return the boxes (n, 4) in this form."""
        corners = np.asarray(boxes, np.float64).reshape(-1, 2, 2)
        return Boxes(corners.mean(axis=1), np.maximum(np.ptp(corners, axis=1), _TINY))

    @staticmethod
    def unknown(n: int) -> Boxes:
        """Return `n` boxes that are NaN."""
        return Boxes(np.full((n, 2), np.nan), np.full((n, 2), np.nan))

    def corners(self) -> Doubles:
        """Return the boxes (n, 4)."""
        return np.hstack([self.centres - self.sizes / 2, self.centres + self.sizes / 2])

    def relative_to(self, others: Boxes) -> Boxes:
        """Return the shifts from `others` in their sizes, and the ratios of the sizes."""
        shifts = (self.centres - others.centres) / others.sizes
        return Boxes(shifts, self.sizes / others.sizes)

    def placed_on(self, others: Boxes) -> Boxes:
        """Return the boxes of which `relative_to(others)` are these."""
        return Boxes(others.centres + self.centres * others.sizes, others.sizes * self.sizes)

    def put(self, rows: Rows, others: Boxes) -> None:
        """Replace the boxes of `rows`."""
        self.centres[rows], self.sizes[rows] = others.centres, others.sizes

    def take(self, rows: Rows) -> Boxes:
        return Boxes(self.centres[rows], self.sizes[rows])


@dataclass
class Answers:
    """What is known of n followed faces in the next frame."""

    landmarks: Doubles
    """(n, 5, 2): those expected, until a look or a refiner places them."""
    refiners: Numbers
    """(n,) names."""
    onet_scores: Floats
    scores: Doubles
    """(n,) scores of the looks at faces; 1 without a look."""
    seen: Boxes
    """Boxes that the refiner saw, NaN where it saw none."""
    looked: Boxes
    """Boxes of the looks, NaN without one."""

    @staticmethod
    def expect(faces: Faces) -> Answers:
        """Return the answers before any look, with the expected landmarks."""
        n = len(faces)
        onet_scores = np.full(n, np.nan, np.float32)
        points = faces.landmarks.astype(np.float64)
        unknown = (Boxes.unknown(n), Boxes.unknown(n))
        return Answers(points, names_of((), n), onet_scores, np.ones(n), *unknown)

    def take_over(self, rows: Rows, refined: Found) -> None:
        """Take over what the refiner says of the faces `rows`."""
        self.landmarks[rows] = refined.faces.landmarks
        self.refiners[rows] = names_of(refined.refiners, len(rows))
        if refined.seen is not None and refined.onet_scores is not None:
            self.onet_scores[rows] = refined.onet_scores
            self.seen.put(rows, Boxes.of(refined.seen))

    def are_sure(self) -> bool:
        """Return whether the landmarks are sound, and a look or a refiner sure of each face."""
        return not self.doubtful().any() and not any(check_landmarks(self.landmarks))

    def doubtful(self) -> Bools:
        """Return the faces (n,) of which neither a look nor a refiner is sure."""
        doubtful: Bools = (self.scores < _SURE) & (self.refiners == NONE)
        return doubtful

    def unrefined(self) -> Rows:
        """Return the faces that no refiner placed."""
        return np.flatnonzero(self.refiners == NONE)


@dataclass
class Trail:
    """The faces that are followed through a segment, as they were in its last frame."""

    cuts: SceneCuts = field(default_factory=SceneCuts)
    number: int = 0
    detector: str = ""
    first: Faces = field(default_factory=no_faces)
    """The faces in the last full look."""
    landmarks: Doubles = field(default_factory=lambda: np.zeros((0, 5, 2)))
    boxes: Boxes = field(default_factory=lambda: Boxes.unknown(0))
    """Boxes with smoothed sizes."""
    motions: Doubles = field(default_factory=lambda: np.zeros((0, 2)))
    """(n, 2) pixels a frame."""
    refiners: Numbers = field(default_factory=lambda: names_of((), 0))
    onet_scores: Floats = field(default_factory=lambda: no_faces().scores)
    """O-Net's last score (n,) of each face."""
    detected: Boxes = field(default_factory=lambda: Boxes.unknown(0))
    """Boxes of the detector relative to those that the refiner saw, NaN where it saw none."""

    def __len__(self) -> int:
        return len(self.first)

    def end(self) -> None:
        """Follow no face until the next full look."""
        self.first = no_faces()

    def begin(self, number: int, found: Found, detector: str) -> None:
        """Follow the faces of a full look at frame `number`."""
        faces = found.faces
        self.number, self.detector, self.first = number, detector, faces
        self.landmarks, self.boxes = faces.landmarks.astype(np.float64), Boxes.of(faces.boxes)
        self.motions = np.zeros_like(self.boxes.centres)
        seen = Boxes.unknown(len(faces))
        if found.seen is not None:
            seen = Boxes.of(found.seen)
        self.detected = self.boxes.relative_to(seen)
        self.refiners = names_of(found.refiners, len(faces))
        self.onet_scores = np.full(len(faces), np.nan, np.float32)
        if found.onet_scores is not None:
            self.onet_scores = found.onet_scores

    def turned_away(self) -> Bools:
        """Return the faces (n,) of which O-Net was far from sure: it need not look again."""
        is_doubted: Bools = ~(self.onet_scores >= _DOUBTED)
        return is_doubted & np.equal(self.refiners, RETINAFACE)

    def predict(self, number: int) -> Faces:
        """Return the faces expected in frame `number`."""
        shift = self.motions * (number - self.number)
        boxes = replace(self.boxes, centres=self.boxes.centres + shift)
        return make_faces(boxes, self.landmarks + shift[:, None], self.first.scores)

    def follow(self, number: int, answers: Answers) -> Faces | None:
        """Go on to frame `number` and return its faces; None if one may be lost."""
        if not answers.are_sure():
            return None
        found = self._place(answers)
        if np.abs(np.log(found.sizes / self.boxes.sizes)).max() > _MAX_SCALE:
            return None
        sizes = (1 - _NEW_SIZE) * self.boxes.sizes + _NEW_SIZE * found.sizes
        boxes = Boxes(found.centres, sizes)
        if _do_overlap(boxes):
            return None
        moved = (boxes.centres - self.boxes.centres) / (number - self.number)
        self.motions = (self.motions + moved) / 2
        self.boxes, self.landmarks, self.number = boxes, answers.landmarks, number
        self.refiners = answers.refiners
        is_new = ~np.isnan(answers.onet_scores)
        self.onet_scores = np.where(is_new, answers.onet_scores, self.onet_scores)
        return make_faces(boxes, answers.landmarks, self.first.scores)

    def _place(self, answers: Answers) -> Boxes:
        """Return the boxes as the detector would draw them.

        They come from those that the refiner saw, else from the looks, else from the landmarks.
        """
        boxes = self.detected.placed_on(answers.seen)
        for others in (answers.looked, self._carry(answers.landmarks)):
            rows = np.flatnonzero(np.isnan(boxes.sizes).any(axis=1))
            boxes.put(rows, others.take(rows))
        return boxes

    def _carry(self, landmarks: Doubles) -> Boxes:
        """Return the boxes of the last full look, carried along by the landmarks."""
        boxes, before = Boxes.of(self.first.boxes), self.first.landmarks.astype(np.float64)
        scales = (_spread(landmarks) / np.maximum(_spread(before), _TINY))[:, None]
        shifts = (boxes.centres - before.mean(axis=1)) * scales
        return Boxes(landmarks.mean(axis=1) + shifts, boxes.sizes * scales)


def make_faces(boxes: Boxes, landmarks: Doubles, scores: Floats) -> Faces:
    """Return faces with `boxes` (n), `landmarks` (n, 5, 2) and `scores` (n,)."""
    corners = boxes.corners()
    return Faces(corners.astype(np.float32), landmarks.astype(np.float32), scores)


def names_of(refiners: Sequence[str] | None, n: int) -> Numbers:
    """Return the names (n,) of refiners, empty ones where there was no second look."""
    return np.array(refiners or [NONE] * n, object)


def _spread(landmarks: Doubles) -> Doubles:
    """Return the root mean square distance (n,) of landmarks (n, 5, 2) from their middle."""
    offsets = landmarks - landmarks.mean(axis=1, keepdims=True)
    spread: Doubles = np.sqrt((offsets**2).sum(axis=2).mean(axis=1))
    return spread


def _do_overlap(boxes: Boxes) -> bool:
    """Return whether two of the boxes may be of one face."""
    corners = boxes.corners()
    pairs = (overlaps(box, corners[row + 1 :]) for row, box in enumerate(corners))
    return any((each > _OVERLAP).any() for each in pairs)
