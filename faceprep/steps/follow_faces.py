"""Tracks faces through a video: full detection on some frames, and a search for each face between.

A video is cut into segments at the multiples of `every` among its frame numbers. Segments do not
depend on each other. The first frame of a segment gets full detection. So does every frame in which
a face is lost or in doubt, at which a scene begins, or before which no face was found: a frame is
reported without a face only after full detection.

While the refiner is sure of a face, it tracks the face alone. RetinaFace searches for the other
faces on a small square at the scale of full detection. Only those that the refiner has just lost
are then refined.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import groupby, zip_longest
from typing import NamedTuple, Protocol

import numpy as np

from faceprep.core.arrays import Bools, Doubles, Ints, Octets, Pixels, Rows
from faceprep.core.faces import Faces
from faceprep.core.opencv import opencv
from faceprep.core.turns import turn_image
from faceprep.models.refine.follow import Seen
from faceprep.models.refine.refiner import NONE
from faceprep.steps.fallback import find_with
from faceprep.steps.find_faces import FaceFinder
from faceprep.steps.found import Found, first_sound, turn_back
from faceprep.steps.trail import (
    Answers,
    Boxes,
    TrackedFaces,
    Trail,
    are_apart,
    are_sure,
    make_faces,
)
from faceprep.vision.tracks import make_thumb

_VERSION = 3
"""Increase it when the same frames give other faces."""
_THUMB_ROWS = 90
"""Rows of the frame that are sampled for its thumbnail."""


class LocalSearch(Protocol):
    """A model that searches for faces where they are expected, such as `SquareSearch`."""

    @property
    def fingerprint(self) -> str:
        """Name the weights and everything else that determines the results."""
        ...

    def is_cheaper(self, size: tuple[int, int], boxes: Doubles) -> bool:
        """Return whether searching at `boxes` (n, 4) costs less than an image of `size`."""
        ...

    def search(self, images: Sequence[Pixels], places: Rows, boxes: Doubles) -> Seen:
        """Search for the face expected at each of `boxes` (n, 4) in image `places` (n,)."""
        ...


class Numbered(NamedTuple):
    """A frame of a video: its number and its pixels."""

    number: int
    pixels: Pixels

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]


class FaceTracker:
    """A tracker of faces between full detections by `finders` on every `every`-th frame.

    Faces whose longer side is below `min_face` pixels are not tracked.
    """

    def __init__(
        self, finders: Sequence[FaceFinder], search: LocalSearch, every: int, min_face: int = 0
    ) -> None:
        self._finders, self._search, self._min_face = finders, search, min_face
        self.every = every
        self.fingerprint = f"{search.fingerprint}/every{every}/v{_VERSION}"

    def find(
        self, frames: Sequence[Numbered], trail: Trail, most: int | None, turn: int
    ) -> list[tuple[Found, str]]:
        """Return what was found in each frame, and the fingerprint of what found it.

        The frames are a part of one segment, which continues `trail`, or several segments, which
        advance side by side. All frames are turned by `turn` degrees. The first `most` sound faces
        of a full detection are tracked, or all.
        """
        upright = [Numbered(each.number, turn_image(each.pixels, turn)) for each in frames]
        segments = [
            list(own) for _, own in groupby(upright, lambda each: each.number // self.every)
        ]
        trails = [trail, *(Trail() for _ in segments[1:])]
        results: dict[int, tuple[Found, str]] = {}
        for step in zip_longest(*segments):
            rows = [row for row, frame in enumerate(step) if frame is not None]
            seen = [step[row] for row in rows]
            found = self._step(seen, [trails[row] for row in rows], most)
            results |= {frame.number: each for frame, each in zip(seen, found, strict=True)}
        return [
            (turn_back(results[frame.number][0], frame.size, turn), results[frame.number][1])
            for frame in frames
        ]

    def _step(
        self, frames: Sequence[Numbered], trails: Sequence[Trail], most: int | None
    ) -> list[tuple[Found, str]]:
        """Advance each of several segments by one frame."""
        cuts = [
            trail.cuts.is_cut(_sample_thumb(frame.pixels))
            for frame, trail in zip(frames, trails, strict=True)
        ]
        known = {
            row: (frames[row], trail, trail.tracked)
            for row, trail in enumerate(trails)
            if trail.tracked is not None and not cuts[row]
        }
        tracked = self._track(list(known.values()))
        results: dict[int, tuple[Found, str]] = {
            row: (found, f"{trails[row].detector}/{self.fingerprint}")
            for row, found in zip(known, tracked, strict=True)
            if found is not None
        }
        rest = [row for row in range(len(frames)) if row not in results]
        full = find_with(self._finders, [frames[row].pixels for row in rest], most, 0)
        for row, (found, detector) in zip(rest, full, strict=True):
            results[row] = found, detector
            trails[row].detector = detector
        chosen = [found.take(first_sound(found.faces, most).tolist()) for found, _ in full]
        self._begin([frames[row] for row in rest], [trails[row] for row in rest], chosen)
        return [results[row] for row in range(len(frames))]

    def _begin(
        self, frames: Sequence[Numbered], trails: Sequence[Trail], found: Sequence[Found]
    ) -> None:
        """Track the faces of full detections, unless that is slower or loses one at once."""
        begun = []
        for frame, trail, each in zip(frames, trails, found, strict=True):
            tracked, trail.tracked = TrackedFaces.begin(frame.number, each), None
            searched = tracked.boxes[np.flatnonzero(tracked.refiners == NONE)].corners()
            if len(tracked) and self._search.is_cheaper(frame.size, searched):
                begun.append((frame, trail, tracked))
        if not begun:
            return
        group = _Group.of(begun)
        faces, images = group.tracked, group.images
        rows, scores = np.flatnonzero(faces.refiners == NONE), np.ones(len(faces))
        seen = self._search.search(images, group.places[rows], faces.boxes[rows].corners())
        scores[rows] = seen.scores
        sure = are_sure(faces.landmarks, faces.refiners, scores)
        for (_, trail, own), is_sure in zip(begun, group.all_of(sure), strict=True):
            if is_sure:
                trail.tracked = own

    def _track(self, segments: Sequence[_Segment]) -> list[Found | None]:
        """Return the faces of each segment in its next frame; None if one may be lost."""
        if not segments:
            return []
        group = _Group.of(segments)
        answers = self._collect_answers(group)
        tracked, may_be_lost = group.tracked.advance(group.numbers, answers)
        faces = tracked.faces()
        sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1)
        good = ~may_be_lost & (sides >= self._min_face) & are_apart(tracked.boxes, group.places)
        found: list[Found | None] = []
        for segment, rows, is_good in zip(segments, group.parts, group.all_of(good), strict=True):
            if not is_good:
                found.append(None)
                continue
            segment[1].tracked = tracked[rows]
            names, scores = tuple(answers.refiners[rows].tolist()), answers.onet_scores[rows]
            own = Found(faces[rows], refiners=names, onet_scores=scores, is_followed=True)
            found.append(own)
        return found

    def _collect_answers(self, group: _Group) -> Answers:
        """Refine the faces that the refiner placed before, then search for the others.

        A search gives the refiner another chance at a face that it has lost. Faces that it did not
        place before are left to the search until the next full detection.
        """
        expected = group.tracked.predict(group.numbers)
        answers = Answers.expect(expected)
        was_refined = group.tracked.refiners != NONE
        rows = np.flatnonzero(was_refined)
        self._refine(group, answers, rows, group.tracked.as_detected(expected).take(rows))
        rows = answers.unrefined()
        if not len(rows):
            return answers
        around = expected.boxes[rows].astype(np.float64)
        seen = self._search.search(group.images, group.places[rows], around)
        answers.scores[rows] = seen.scores
        kept = np.array(group.all_of(answers.scores > 0))[group.places[rows]]
        rows, boxes, landmarks = rows[kept], Boxes.of(seen.boxes[kept]), seen.landmarks[kept]
        answers.searched.put(rows, boxes)
        answers.landmarks[rows] = landmarks
        found = make_faces(boxes, landmarks, expected.scores[rows])
        again = np.flatnonzero(was_refined[rows])
        self._refine(group, answers, rows[again], found.take(again))
        return answers

    def _refine(self, group: _Group, answers: Answers, rows: Rows, faces: Faces) -> None:
        """Refine the faces `rows` into the answers."""
        if not len(rows):
            return
        turned_away = group.tracked.turned_away()[rows]
        refined = self._finders[0].refine(group.images, group.places[rows], faces, turned_away)
        if refined is not None:
            answers.take_over(rows, refined)


_Segment = tuple[Numbered, Trail, TrackedFaces]
"""The next frame of a segment, its trail, and its tracked faces."""


class _Group(NamedTuple):
    """The tracked faces of several segments."""

    images: list[Pixels]
    """The frame of each segment."""
    tracked: TrackedFaces
    places: Rows
    """(n,) rows of the faces among the segments."""
    numbers: Ints
    """(n,) numbers of the frames."""
    parts: list[slice]
    """Rows of each segment."""

    @staticmethod
    def of(segments: Sequence[_Segment]) -> _Group:
        """Join the faces of several segments, each with its frame."""
        counts = [len(tracked) for _, _, tracked in segments]
        edges = [0, *np.cumsum(counts).tolist()]
        places = np.repeat(np.arange(len(counts)), counts)
        numbers = np.array([frame.number for frame, _, _ in segments])
        return _Group(
            [frame.pixels for frame, _, _ in segments],
            TrackedFaces.join([tracked for _, _, tracked in segments]),
            places,
            numbers[places],
            [slice(*each) for each in itertools.pairwise(edges)],
        )

    def all_of(self, facts: Bools) -> list[bool]:
        """Return for each segment whether a fact (n,) is true of all its faces."""
        return [bool(facts[rows].all()) for rows in self.parts]


def _sample_thumb(pixels: Pixels) -> Octets:
    """Return the thumbnail of a frame from some of its pixels."""
    height, width = pixels.shape[:2]
    step, cv2 = max(1, height // _THUMB_ROWS), opencv()
    size = max(1, width // step), max(1, height // step)
    return make_thumb(cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST))
