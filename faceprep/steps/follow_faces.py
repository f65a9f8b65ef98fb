"""Follows faces through a video: full looks at some frames, and looks at each face between them.

A video is cut into segments at the multiples of `every` among its frame numbers. Segments do not
depend on each other. The first frame of a segment gets a full look, and so does every frame in
which a face is lost or in doubt, at which a scene begins, or before which no face was found: a
frame is reported without a face only after a full look at it.

A face is followed by the refiner alone while that is sure of it. Other faces are looked for by
RetinaFace on a small square at the scale of the full look, and then refined.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import groupby, zip_longest
from typing import NamedTuple, Protocol

import numpy as np

from faceprep.core.arrays import Bools, Doubles, Ints, Octets, Pixels, Rows
from faceprep.core.faces import Faces
from faceprep.core.turns import turn_image
from faceprep.models.refine.follow import Seen
from faceprep.models.refine.refiner import NONE
from faceprep.steps.fallback import find_with
from faceprep.steps.find_faces import FaceFinder
from faceprep.steps.found import Found, first_sound, turn_back
from faceprep.steps.trail import Answers, Boxes, Followed, Trail, are_apart, are_sure, make_faces
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

    def look(self, images: Sequence[Pixels], places: Rows, boxes: Doubles) -> Seen:
        """Look for the face expected at each of `boxes` (n, 4) in image `places` (n,)."""
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
        known = {
            row: (frames[row], trail, trail.followed)
            for row, trail in enumerate(trails)
            if trail.followed is not None and not cuts[row]
        }
        followed = self._follow(list(known.values()))
        results: dict[int, tuple[Found, str]] = {
            row: (found, f"{trails[row].detector}/{self.fingerprint}")
            for row, found in zip(known, followed, strict=True)
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
        """Follow the faces of full looks, unless that is slower or one would be lost at once."""
        begun, boxes = [], []
        for frame, trail, each in zip(frames, trails, found, strict=True):
            trail.followed, own_boxes = None, each.faces.boxes.astype(np.float64)
            if len(own_boxes) and self._look.is_cheaper(frame.size, own_boxes):
                begun.append((frame, trail, Followed.begin(frame.number, each)))
                boxes.append(own_boxes)
        if not begun:
            return
        group = _Group.of(begun)
        faces, images = group.followed, group.images
        rows, scores = np.flatnonzero(faces.refiners == NONE), np.ones(len(faces))
        looks = self._look.look(images, group.places[rows], np.concatenate(boxes)[rows])
        scores[rows] = looks.scores
        sure = are_sure(faces.landmarks, faces.refiners, scores)
        for (_, trail, own), is_sure in zip(begun, group.all_of(sure), strict=True):
            if is_sure:
                trail.followed = own

    def _follow(self, segments: Sequence[_Segment]) -> list[Found | None]:
        """Return the faces of each segment in its next frame; None if one may be lost."""
        if not segments:
            return []
        group = _Group.of(segments)
        answers = self._look_at(group)
        followed, may_be_lost = group.followed.follow(group.numbers, answers)
        faces = followed.faces()
        sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1)
        good = ~may_be_lost & (sides >= self._min_face) & are_apart(followed.boxes, group.places)
        found: list[Found | None] = []
        for segment, rows, is_good in zip(segments, group.parts, group.all_of(good), strict=True):
            if not is_good:
                found.append(None)
                continue
            segment[1].followed = followed[rows]
            names, scores = tuple(answers.refiners[rows].tolist()), answers.onet_scores[rows]
            own = Found(faces[rows], refiners=names, onet_scores=scores, is_followed=True)
            found.append(own)
        return found

    def _look_at(self, group: _Group) -> Answers:
        """Let the refiner look at the faces that it placed before, then search for the others."""
        expected = group.followed.predict(group.numbers)
        answers = Answers.expect(expected)
        rows = np.flatnonzero(group.followed.refiners != NONE)
        self._refine(group, answers, rows, expected.take(rows))
        rows = answers.unrefined()
        if not len(rows):
            return answers
        boxes = expected.boxes[rows].astype(np.float64)
        seen = self._look.look(group.images, group.places[rows], boxes)
        answers.scores[rows] = seen.scores
        kept = np.array(group.all_of(answers.scores > 0))[group.places[rows]]
        rows, looked, landmarks = rows[kept], Boxes.of(seen.boxes[kept]), seen.landmarks[kept]
        answers.looked.put(rows, looked)
        answers.landmarks[rows] = landmarks
        self._refine(group, answers, rows, make_faces(looked, landmarks, expected.scores[rows]))
        return answers

    def _refine(self, group: _Group, answers: Answers, rows: Rows, faces: Faces) -> None:
        """Refine the faces `rows` into the answers."""
        if not len(rows):
            return
        turned_away = group.followed.turned_away()[rows]
        refined = self._finders[0].refine(group.images, group.places[rows], faces, turned_away)
        if refined is not None:
            answers.take_over(rows, refined)


_Segment = tuple[Numbered, Trail, Followed]
"""The next frame of a segment, its trail, and the faces that are followed in it."""


class _Group(NamedTuple):
    """The followed faces of several segments."""

    images: list[Pixels]
    """The frame of each segment."""
    followed: Followed
    places: Rows
    """(n,) rows of the faces among the segments."""
    numbers: Ints
    """(n,) numbers of the frames."""
    parts: list[slice]
    """Rows of each segment."""

    @staticmethod
    def of(segments: Sequence[_Segment]) -> _Group:
        """Join the faces of several segments, each with its frame."""
        counts = [len(followed) for _, _, followed in segments]
        edges = [0, *np.cumsum(counts).tolist()]
        places = np.repeat(np.arange(len(counts)), counts)
        numbers = np.array([frame.number for frame, _, _ in segments])
        return _Group(
            [frame.pixels for frame, _, _ in segments],
            Followed.join([followed for _, _, followed in segments]),
            places,
            numbers[places],
            [slice(*each) for each in itertools.pairwise(edges)],
        )

    def all_of(self, facts: Bools) -> list[bool]:
        """Return for each segment whether a fact (n,) is true of all its faces."""
        return [bool(facts[rows].all()) for rows in self.parts]


def _sample_thumb(pixels: Pixels) -> Octets:
    """Return the thumb of a frame from some of its pixels."""
    step = max(1, pixels.shape[0] // _THUMB_ROWS)
    return make_thumb(np.ascontiguousarray(pixels[::step, ::step]))
