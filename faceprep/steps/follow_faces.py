"""Follows faces through a video: full looks at some frames, and looks at each face between them.

A video is cut into segments at the multiples of `every` among its frame numbers. Segments do not
depend on each other. The first frame of a segment gets a full look, and so does every frame in
which a face is lost or in doubt, at which a scene begins, or before which no face was found: a
frame is reported without a face only after a full look at it.

A face is followed by the refiner alone while that is sure of it. Other faces are looked for by
RetinaFace on a small square at the scale of the full look, and then refined.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, zip_longest
from typing import NamedTuple, Protocol

import numpy as np

from faceprep.core.arrays import Doubles, Octets, Pixels, Rows
from faceprep.core.faces import Faces, no_faces
from faceprep.core.turns import turn_image
from faceprep.models.refine.follow import Seen
from faceprep.models.refine.refiner import NONE
from faceprep.steps.fallback import find_with
from faceprep.steps.find_faces import FaceFinder
from faceprep.steps.found import Found, first_sound, turn_back
from faceprep.steps.trail import Answers, Boxes, Trail, make_faces
from faceprep.vision.tracks import make_thumb

_VERSION = 1
"""Increase it when the same looks give other faces."""
_THUMB_ROWS = 90
"""Rows of the frame that are sampled for its thumb."""


class Look(Protocol):
    """A model that looks for faces where they are expected, as `FollowLook`."""

    @property
    def fingerprint(self) -> str:
        """Name the weights and everything else that determines the results."""
        ...

    def is_cheaper(self, size: tuple[int, int], boxes: Doubles) -> bool:
        """Return whether looks at `boxes` (n, 4) take less time than one at an image of `size`."""
        ...

    def look(self, image: Pixels, boxes: Doubles) -> Seen:
        """Look for the face expected at each of `boxes` (n, 4), in pixels of the image."""
        ...


class Numbered(NamedTuple):
    """A frame of a video: its number and its pixels."""

    number: int
    pixels: Pixels

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]


class FaceFollower:
    """A follower of faces between full looks of `finders` at every `every`-th frame.

    Faces whose longer side is below `min_face` pixels are not followed.
    """

    def __init__(
        self, finders: Sequence[FaceFinder], look: Look, every: int, min_face: int = 0
    ) -> None:
        self._finders, self._look, self._min_face = finders, look, min_face
        self.every = every
        self.fingerprint = f"{look.fingerprint}/every{every}/v{_VERSION}"

    def find(
        self, frames: Sequence[Numbered], trail: Trail, most: int | None, turn: int
    ) -> list[tuple[Found, str]]:
        """Return what was found in each frame, and the fingerprint of what found it.

        The frames are a part of one segment, which continues `trail`, or several segments, which
        advance side by side. All frames are turned by `turn` degrees. The first `most` sound faces
        of a full look are followed, or all.
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
        known = [row for row, trail in enumerate(trails) if len(trail) and not cuts[row]]
        followed = self._follow([frames[row] for row in known], [trails[row] for row in known])
        results: dict[int, tuple[Found, str]] = {
            row: (found, f"{trails[row].detector}/{self.fingerprint}")
            for row, found in zip(known, followed, strict=True)
            if found is not None
        }
        rest = [row for row in range(len(frames)) if row not in results]
        full = find_with(self._finders, [frames[row].pixels for row in rest], most, 0)
        for row, (found, detector) in zip(rest, full, strict=True):
            results[row] = found, detector
            chosen = found.take(first_sound(found.faces, most).tolist())
            self._begin(frames[row], trails[row], chosen, detector)
        return [results[row] for row in range(len(frames))]

    def _begin(self, frame: Numbered, trail: Trail, found: Found, detector: str) -> None:
        """Follow the faces of a full look, unless that is slower or one would be lost at once."""
        trail.end()
        boxes = found.faces.boxes.astype(np.float64)
        if not len(boxes) or not self._look.is_cheaper(frame.size, boxes):
            return
        answers = Answers.expect(found.faces)
        answers.take_over(np.arange(len(boxes)), found)
        rows = answers.unrefined()
        answers.scores[rows] = self._look.look(frame.pixels, boxes[rows]).scores
        if answers.are_sure():
            trail.begin(frame.number, found, detector)

    def _follow(self, frames: Sequence[Numbered], trails: Sequence[Trail]) -> list[Found | None]:
        """Return the faces of each trail in its next frame; None if one may be lost."""
        pairs = list(zip(frames, trails, strict=True))
        expected = [trail.predict(frame.number) for frame, trail in pairs]
        answers = [Answers.expect(faces) for faces in expected]
        rows = [np.flatnonzero(trail.refiners != NONE) for trail in trails]
        chosen = [faces.take(own) for faces, own in zip(expected, rows, strict=True)]
        self._refine(frames, trails, answers, rows, chosen)
        rows = [each.unrefined() for each in answers]
        looked = [
            self._look_near(frame, faces.take(places), each, places)
            for frame, faces, each, places in zip(frames, expected, answers, rows, strict=True)
        ]
        self._refine(frames, trails, answers, rows, looked)
        return [
            self._finish(frame, trail, each)
            for (frame, trail), each in zip(pairs, answers, strict=True)
        ]

    def _look_near(self, frame: Numbered, expected: Faces, answers: Answers, rows: Rows) -> Faces:
        """Look for the faces `rows`, and return them as they are seen; none if one is lost."""
        seen = self._look.look(frame.pixels, expected.boxes.astype(np.float64))
        answers.scores[rows] = seen.scores
        if not seen.scores.all():
            return no_faces()
        boxes = Boxes.of(seen.boxes)
        answers.looked.put(rows, boxes)
        answers.landmarks[rows] = seen.landmarks
        return make_faces(boxes, seen.landmarks, expected.scores)

    def _refine(
        self,
        frames: Sequence[Numbered],
        trails: Sequence[Trail],
        answers: Sequence[Answers],
        rows: Sequence[Rows],
        faces: Sequence[Faces],
    ) -> None:
        """Refine the faces `rows` of each frame into the answers."""
        chosen = [place for place, each in enumerate(faces) if len(each)]
        found = self._finders[0].refine(
            [frames[place].pixels for place in chosen],
            [faces[place] for place in chosen],
            [trails[place].turned_away()[rows[place]] for place in chosen],
        )
        for place, each in zip(chosen, found, strict=True):
            answers[place].take_over(rows[place], each)

    def _finish(self, frame: Numbered, trail: Trail, answers: Answers) -> Found | None:
        """Extend the trail to a frame; return None if a face may be lost."""
        faces = trail.follow(frame.number, answers)
        if faces is None or _shortest(faces) < self._min_face:
            return None
        names = tuple(answers.refiners.tolist())
        return Found(faces, refiners=names, onet_scores=answers.onet_scores, is_followed=True)


def _sample_thumb(pixels: Pixels) -> Octets:
    """Return the thumb of a frame from some of its pixels."""
    step = max(1, pixels.shape[0] // _THUMB_ROWS)
    return make_thumb(np.ascontiguousarray(pixels[::step, ::step]))


def _shortest(faces: Faces) -> float:
    """Return the longer side of the smallest face, in pixels."""
    return float((faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1).min())
