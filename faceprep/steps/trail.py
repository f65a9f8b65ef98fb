"""The faces that are tracked through a segment of a video, from frame to frame.

The faces of several segments are joined for one step, because calls of NumPy cost the same for one
face as for many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Bools, Doubles, Floats, Ints, Numbers, Rows
from faceprep.core.boxes import overlaps
from faceprep.core.faces import N_LANDMARKS, Faces
from faceprep.core.landmarks import add_offsets, are_sound, measure_leans, measure_offsets
from faceprep.models.refine.refiner import DOUBTED, HOPELESS_LEAN, NONE, RETINAFACE, Refined
from faceprep.steps.found import Found
from faceprep.vision.tracks import SceneCuts

_MAX_SCALE = float(np.log(1.4))
"""Maximum change of a face's size from one frame to the next, as a logarithm."""
_NEW_SIZE = 0.3
"""Share of the size in a frame that is taken over; the rest is that of the frames before."""
_OVERLAP = 0.4
"""Overlap of two tracked faces above which they may be one."""
_SURE = 0.65
"""Minimum score of a search for a face whose landmarks no refiner placed."""
_EYES_AND_MOUTH = [0, 1, 3, 4]
_DEPTH = 1.5
"""Distance from the plane of eyes and mouth back to the middle of the head, as a multiple of that
to the tip of the nose. The boxes of the clips in benchmarks/follow.py move least around a middle at
1.5 to 1.8."""
_TINY = 1e-9


@dataclass(frozen=True)
class Boxes:
    """Boxes as centres (n, 2) and sizes (n, 2), in pixels."""

    centres: Doubles
    sizes: Doubles

    @staticmethod
    def of(boxes: npt.ArrayLike) -> Boxes:
        """Return the boxes (n, 4) in this form."""
        corners = np.asarray(boxes, np.float64)
        first, last = corners[:, :2], corners[:, 2:]
        return Boxes((first + last) / 2, np.maximum(np.abs(last - first), _TINY))

    @staticmethod
    def unknown(n: int) -> Boxes:
        """Return `n` boxes that are NaN."""
        return Boxes(np.full((n, 2), np.nan), np.full((n, 2), np.nan))

    @staticmethod
    def join(boxes: Sequence[Boxes]) -> Boxes:
        """Join several boxes, in that order."""
        return Boxes(*(np.concatenate(each) for each in zip(*map(_arrays, boxes), strict=True)))

    def __getitem__(self, rows: slice | Rows) -> Boxes:
        return Boxes(self.centres[rows], self.sizes[rows])

    def corners(self) -> Doubles:
        """Return the boxes (n, 4)."""
        halves = self.sizes / 2
        return np.concatenate([self.centres - halves, self.centres + halves], axis=1)

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


@dataclass
class Answers:
    """The facts about n tracked faces in the next frame."""

    landmarks: Doubles
    """(n, 5, 2): those expected, until a search or a refiner places them."""
    refiners: Numbers
    """(n,) names."""
    onet_scores: Floats
    scores: Doubles
    """(n,) scores of the searches for faces; 1 without a search."""
    seen: Boxes
    """Boxes that the refiner saw, NaN where it saw none."""
    searched: Boxes
    """Boxes that a search found, NaN without one."""

    @staticmethod
    def expect(faces: Faces) -> Answers:
        """Return the answers before any search, with the expected landmarks."""
        n = len(faces)
        onet_scores = np.full(n, np.nan, np.float32)
        points = faces.landmarks.astype(np.float64)
        unknown = (Boxes.unknown(n), Boxes.unknown(n))
        return Answers(points, names_of((), n), onet_scores, np.ones(n), *unknown)

    def take_over(self, rows: Rows, refined: Refined) -> None:
        """Take over the refined faces `rows`."""
        self.landmarks[rows] = refined.faces.landmarks
        self.refiners[rows] = refined.refiners
        self.onet_scores[rows] = refined.onet_scores
        self.seen.put(rows, Boxes.of(refined.seen))

    def are_sure(self) -> Bools:
        """Return which landmarks (n,) are sound, with a search or a refiner sure of the face."""
        return are_sure(self.landmarks, self.refiners, self.scores)

    def unrefined(self) -> Rows:
        """Return the faces that no refiner placed."""
        return np.flatnonzero(self.refiners == NONE)


@dataclass
class TrackedFaces:
    """Tracked faces, as they were in the last frame of their segment."""

    numbers: Ints
    """(n,) numbers of that frame."""
    first: Boxes
    """Boxes in the last full detection."""
    first_landmarks: Doubles
    """(n, 5, 2) in the last full detection."""
    scores: Floats
    """(n,) scores in the last full detection."""
    landmarks: Doubles
    """(n, 5, 2)"""
    boxes: Boxes
    """Boxes with smoothed sizes."""
    motions: Doubles
    """(n, 2) pixels per frame."""
    refiners: Numbers
    """(n,) names."""
    onet_scores: Floats
    """O-Net's last score (n,) of each face."""
    detected: Boxes
    """Boxes of the detector relative to those that the refiner saw, NaN where it saw none."""
    offsets: Doubles
    """(n, 5, 2) from the refined landmarks to those of the detector, in pixels of arcface-112."""

    @staticmethod
    def begin(number: int, found: Found) -> TrackedFaces:
        """Return the faces of a full detection on frame `number`."""
        n, boxes = len(found.faces), Boxes.of(found.faces.boxes)
        seen, landmarks = Boxes.unknown(n), found.faces.landmarks.astype(np.float64)
        if found.seen is not None:
            seen = Boxes.of(found.seen)
        onet_scores, offsets = np.full(n, np.nan, np.float32), np.zeros((n, N_LANDMARKS, 2))
        if found.onet_scores is not None:
            onet_scores = found.onet_scores
        if found.detected_landmarks is not None:
            offsets = measure_offsets(landmarks, found.detected_landmarks)
        return TrackedFaces(
            np.full(n, number),
            first=boxes,
            first_landmarks=landmarks,
            scores=found.faces.scores,
            landmarks=landmarks,
            boxes=boxes,
            motions=np.zeros((n, 2)),
            refiners=names_of(found.refiners, n),
            onet_scores=onet_scores,
            detected=boxes.relative_to(seen),
            offsets=offsets,
        )

    @staticmethod
    def join(parts: Sequence[TrackedFaces]) -> TrackedFaces:
        """Join the faces of several segments, in that order."""
        return TrackedFaces(*(_join(each) for each in zip(*map(_arrays, parts), strict=True)))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice) -> TrackedFaces:
        return TrackedFaces(*(each[rows] for each in _arrays(self)))

    def turned_away(self) -> Bools:
        """Return the faces (n,) that O-Net will hardly decide in the next frame: it need not run.

        It was far from sure of them, or they are turned away too far.
        """
        is_doubted: Bools = ~(self.onet_scores >= DOUBTED)
        is_turned: Bools = measure_leans(self.landmarks) >= HOPELESS_LEAN
        return (is_doubted | is_turned) & np.equal(self.refiners, RETINAFACE)

    def predict(self, numbers: Ints) -> Faces:
        """Return the faces expected in the frames `numbers` (n,)."""
        shift = self.motions * (numbers - self.numbers)[:, None]
        boxes = Boxes(self.boxes.centres + shift, self.boxes.sizes)
        return make_faces(boxes, self.landmarks + shift[:, None], self.scores)

    def as_detected(self, faces: Faces) -> Faces:
        """Return `faces`, which are these in another frame, with landmarks as the detector's.

        The refiner begins with such landmarks at a full detection, and so gives the same answer.
        """
        landmarks = add_offsets(faces.landmarks, self.offsets).astype(np.float32)
        return Faces(faces.boxes, landmarks, faces.scores)

    def advance(self, numbers: Ints, answers: Answers) -> tuple[TrackedFaces, Bools]:
        """Return the faces in the frames `numbers` (n,), and which of them may be lost."""
        found = self._place(answers)
        change = np.abs(np.log(found.sizes / self.boxes.sizes)).max(axis=1, initial=0)
        boxes = Boxes(found.centres, (1 - _NEW_SIZE) * self.boxes.sizes + _NEW_SIZE * found.sizes)
        moved = (boxes.centres - self.boxes.centres) / (numbers - self.numbers)[:, None]
        is_new = ~np.isnan(answers.onet_scores)
        tracked = TrackedFaces(
            numbers,
            first=self.first,
            first_landmarks=self.first_landmarks,
            scores=self.scores,
            landmarks=answers.landmarks,
            boxes=boxes,
            motions=(self.motions + moved) / 2,
            refiners=answers.refiners,
            onet_scores=np.where(is_new, answers.onet_scores, self.onet_scores),
            detected=self.detected,
            offsets=self.offsets,
        )
        return tracked, ~answers.are_sure() | (change > _MAX_SCALE)

    def faces(self) -> Faces:
        """Return the faces with the scores of the last full detection."""
        return make_faces(self.boxes, self.landmarks, self.scores)

    def _place(self, answers: Answers) -> Boxes:
        """Return the boxes as the detector would draw them.

        They come from those that the refiner saw, else from the search, else from the landmarks.
        """
        boxes = self.detected.placed_on(answers.seen)
        for others in (answers.searched, self._carry(answers.landmarks)):
            rows = np.flatnonzero(np.isnan(boxes.sizes).any(axis=1))
            boxes.put(rows, others[rows])
        return boxes

    def _carry(self, landmarks: Doubles) -> Boxes:
        """Return the boxes of the last full detection, carried along with the head."""
        boxes, before = self.first, self.first_landmarks
        scales = (_spread(landmarks) / np.maximum(_spread(before), _TINY))[:, None]
        shifts = (boxes.centres - _find_middles(before)) * scales
        return Boxes(_find_middles(landmarks) + shifts, boxes.sizes * scales)


@dataclass
class Trail:
    """The state that is passed on from frame to frame in a segment."""

    cuts: SceneCuts = field(default_factory=SceneCuts)
    detector: str = ""
    tracked: TrackedFaces | None = None
    """None: no face is tracked until the next full detection."""


def make_faces(boxes: Boxes, landmarks: Doubles, scores: Floats) -> Faces:
    """Return faces with `boxes` (n), `landmarks` (n, 5, 2) and `scores` (n,)."""
    corners = boxes.corners()
    return Faces(corners.astype(np.float32), landmarks.astype(np.float32), scores)


def names_of(refiners: Sequence[str] | None, n: int) -> Numbers:
    """Return the names (n,) of refiners, empty ones without refinement."""
    return np.array(refiners or [NONE] * n, object)


def are_sure(landmarks: Doubles, refiners: Numbers, scores: Doubles) -> Bools:
    """Return which faces (n,) are sure, by scores (n,) of searches and names (n,) of refiners.

    Their landmarks (n, 5, 2) are sound, and either a refiner placed them or the search was sure.
    """
    is_seen: Bools = (scores >= _SURE) | (refiners != NONE)
    return are_sound(landmarks) & is_seen


def are_apart(boxes: Boxes, places: Rows) -> Bools:
    """Return which faces (n,) overlap no other of their place (n,) so far that they may be one."""
    corners = boxes.corners()
    shared = overlaps(corners[:, None], corners[None])
    are_neighbours = places[:, None] == places[None]
    np.fill_diagonal(are_neighbours, False)
    apart: Bools = ~((shared > _OVERLAP) & are_neighbours).any(axis=1)
    return apart


def _find_middles(landmarks: Doubles) -> Doubles:
    """Estimate the middle (n, 2) of each head from landmarks (n, 5, 2).

    It lies behind the face: when a head turns aside, its nose moves one way and its middle, seen
    from eyes and mouth, the other.
    """
    face = landmarks[:, _EYES_AND_MOUTH].mean(axis=1)
    across = landmarks[:, 1] - landmarks[:, 0]
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), _TINY)
    beside = ((landmarks[:, 2] - face) * across).sum(axis=1, keepdims=True)
    middles: Doubles = face - _DEPTH * beside * across
    return middles


def _spread(landmarks: Doubles) -> Doubles:
    """Return the root mean square distance (n,) of landmarks (n, 5, 2) from their mean."""
    offsets = landmarks - landmarks.mean(axis=1, keepdims=True)
    spread: Doubles = np.sqrt((offsets**2).sum(axis=2).mean(axis=1))
    return spread


def _arrays(table: Any) -> list[Any]:
    """Return the values of a dataclass's fields, in their order."""
    return [getattr(table, each.name) for each in fields(table)]


def _join(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Boxes):
        return Boxes.join(values)
    return np.concatenate(values)
