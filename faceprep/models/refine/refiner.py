"""Refines the landmarks of detected faces: O-Net where it is sure, else RetinaFace on a crop.

O-Net looks at a square that is upright in the face, and then at the mirror image of a slightly
different one. Two looks that agree are averaged. The rest is left to RetinaFace: covered and
dark faces, of which O-Net is unsure, and heads turned away, of which it is sure and wrong. Where
the face may lie on its side, O-Net looks at several turns first.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Bools, Complexes, Doubles, Floats, Pixels, Rows
from faceprep.core.faces import Faces, concatenate_faces
from faceprep.core.landmarks import (
    ARCFACE_112,
    add_offsets,
    are_sound,
    estimate_similarity,
    measure_leans,
    measure_rolls,
)
from faceprep.models.onnx_session import Runtime
from faceprep.models.refine.looks import Look, OnetLook, RetinaFaceLook
from faceprep.models.refine.squares import squares_of_boxes, squares_of_landmarks

ONET, RETINAFACE, NONE = "onet", "retinaface", ""
_VERSION = 5
"""Increase it when the same weights give other landmarks."""
_FIRST, _SECOND = ((56.0, 64.0), 90.0), ((56.0, 62.0), 95.0)
"""Centre and side of O-Net's two squares, in pixels of arcface-112."""
_SMALL_SIDE = 48.0
"""Side in pixels of O-Net's square below which more looks place the landmarks more steadily. Such a
square is enlarged, and the noise in it."""
_SHIFTED = ((59.0, 66.0), (53.0, 60.0), (59.0, 60.0), (53.0, 66.0))
_SHIFTED_SIDE = 92.0
"""Centres and side of further squares, averaged to keep the landmarks of a small face still."""
_SURE = 0.97
"""Minimum score of O-Net in both looks for its landmarks to be accepted."""
DOUBTED = 0.9
"""Score of O-Net below which its landmarks say little about the face."""
_MAX_DIFFERENCE = 0.08
"""Maximum mean distance between the landmarks of both looks, in eye distances."""
_MAX_LEAN, HOPELESS_LEAN = 0.4, 0.5
"""Distance of the nose from the middle of the eyes, in eye distances. Up to the first value, a yaw
of 42°, O-Net is closer to dlib and MediaPipe than RetinaFace is. From the second value on, the
second look of O-Net is left out, because it never decides."""
_TURNS = np.exp(1j * np.radians([-60, -30, 0, 30, 60]))
_TURNED_FACTOR = 0.8
"""Side of the square at several turns, in longer sides of the box."""
_MAX_ROLL, _MAX_DETECTED_ROLL = 20.0, 10.0
"""Degrees of roll, by RetinaFace's look and by the detector's landmarks, above which a face that
O-Net does not find may lie on its side. Detectors underestimate such a roll."""
_CONFIRMED = 0.4
"""Mean distance, in eye distances, below which RetinaFace's look confirms detected landmarks."""
_BOX_FACTOR = 1.3
"""Side of RetinaFace's square, in longer sides of the box."""
_RETINAFACE_SURE = 0.8
_MAX_SHIFT, _MAX_LOG_SCALE = 0.35, 0.6
"""Maximum distance of the landmarks from the middle of the box, in its longer sides, and maximum
logarithm of their size by that of the box. Landmarks beyond these are of another face."""
_EYES = float(np.linalg.norm(ARCFACE_112[1] - ARCFACE_112[0]))
_FACE_SIDE = 100.0
"""Longer side of a detected box, in pixels of arcface-112."""
_FROM_ONET: Doubles = np.array(
    [(-0.05, -0.4), (0.05, -0.4), (0.0, -1.96), (0.7, -0.98), (-0.7, -0.98)]
)
"""Constant distances from O-Net's landmarks to those of RetinaFace, in pixels of arcface-112.

They are medians over the upright faces of benchmarks/landmarks.py. O-Net's results are moved by
them, so that crops do not depend on the refiner."""


class Refined(NamedTuple):
    """Faces with refined landmarks, in the same order.

    `refiners` names the refiner that decided for each face; the text is empty where the landmarks
    are the detector's. `onet_scores` (n,) are O-Net's scores, 0 to 1, and NaN where it could not
    look. `seen` (n, 4) are the boxes that RetinaFace saw, and NaN where it did not look or saw no
    face.
    """

    faces: Faces
    refiners: tuple[str, ...]
    onet_scores: Floats
    seen: Doubles

    def part(self, start: int, stop: int) -> Refined:
        """Return the faces from `start` to before `stop`."""
        rows = slice(start, stop)
        faces, names, scores, seen = self
        return Refined(faces[rows], names[rows], scores[rows], seen[rows])


@functools.cache
def open_refiner(runtime: Runtime) -> Refiner:
    """Open the refiner once per process. Raises MissingExtra."""
    return Refiner(runtime)


class Refiner:
    """A second look at each face of many images, on small crops of the full-resolution image."""

    def __init__(self, runtime: Runtime) -> None:
        self._onet, self._retinaface = OnetLook(runtime), RetinaFaceLook(runtime)
        self.fingerprint = f"refined/{self._onet.fingerprint}/v{_VERSION}"

    def refine(self, images: Sequence[Pixels], faces: Sequence[Faces]) -> list[Refined]:
        """Refine the faces of each image. Boxes, scores and the order of faces stay.

        The landmarks of a face do not depend on the other faces and images of the batch.
        """
        if not faces:
            return []
        counts = [len(each) for each in faces]
        places = np.repeat(np.arange(len(images)), counts)
        edges = [0, *np.cumsum(counts).tolist()]
        refined = self.refine_at(
            images, places, concatenate_faces(faces), np.zeros(len(places), np.bool_)
        )
        return [refined.part(*each) for each in itertools.pairwise(edges)]

    def refine_at(
        self, images: Sequence[Pixels], places: Rows, faces: Faces, turned_away: Bools
    ) -> Refined:
        """Refine `faces`, each in the image at its place (n,).

        Faces that are `turned_away` (n,) are left to RetinaFace at once.
        """
        boxes, landmarks = faces.boxes.astype(np.float64), faces.landmarks.astype(np.float64)
        work = _Work(images, places, boxes, landmarks)
        rows = np.flatnonzero(~turned_away)
        if len(rows):
            self._look_upright(work, rows, landmarks[rows])
        self._look_again(work, work.undecided())
        refined = Faces(faces.boxes, work.landmarks.astype(np.float32), faces.scores)
        return Refined(refined, tuple(work.refiners.tolist()), work.onet_scores, work.seen)

    def _look_upright(self, work: _Work, rows: Rows, landmarks: Doubles) -> None:
        """Look twice at faces `rows`, upright by `landmarks`; accept those that are sure."""
        first = self._onet.look(*work.of(rows), squares_of_landmarks(landmarks, *_FIRST))
        work.see(rows, first.landmarks, first.scores)
        sure = np.flatnonzero(
            (first.scores >= _SURE) & (measure_leans(first.landmarks) < HOPELESS_LEAN)
        )
        if not len(sure):
            return
        rows, before = rows[sure], first.landmarks[sure]
        squares = squares_of_landmarks(before, *_SECOND)
        second = self._onet.look(*work.of(rows), squares, is_mirrored=True)
        mean = (before + second.landmarks) / 2
        agree = (second.scores >= _SURE) & (_distance(before, second.landmarks) < _MAX_DIFFERENCE)
        work.is_seen[rows] |= agree
        decided = agree & (measure_leans(mean) < _MAX_LEAN)
        work.decide(rows[decided], add_offsets(mean[decided], _FROM_ONET), ONET)
        self._steady(work, rows[decided], mean[decided])

    def _steady(self, work: _Work, rows: Rows, mean: Doubles) -> None:
        """Replace the `mean` (n, 5, 2) of two looks by that of more looks where faces are small.

        A look that is unsure, or far from the mean of the two, does not count.
        """
        small = np.flatnonzero(_FIRST[1] / _enlargements(mean) < _SMALL_SIDE)
        if not len(small):
            return
        before = mean[small]
        total, n_looks = 2 * before, np.full((len(small), 1, 1), 2.0)
        for number, centre in enumerate(_SHIFTED):
            squares = squares_of_landmarks(before, centre, _SHIFTED_SIDE)
            look = self._onet.look(*work.of(rows[small]), squares, is_mirrored=number % 2 == 1)
            agree = (look.scores >= _SURE) & (_distance(before, look.landmarks) < _MAX_DIFFERENCE)
            total[agree] += look.landmarks[agree]
            n_looks[agree] += 1
        work.decide(rows[small], add_offsets(total / n_looks, _FROM_ONET), ONET)

    def _look_again(self, work: _Work, rows: Rows) -> None:
        """Look with RetinaFace at what O-Net leaves undecided.

        Where the face may be turned, O-Net looks again first, and RetinaFace has the second choice.
        """
        if not len(rows):
            return
        squares = squares_of_boxes(work.boxes[rows], work.turns(rows), _BOX_FACTOR)
        look = self._retinaface.look(*work.of(rows), squares, 1 / _BOX_FACTOR)
        if look.boxes is not None:
            work.seen[rows] = np.where(look.scores[:, None] > 0, look.boxes, np.nan)
        self._look_at_turns(work, rows[work.may_lie(rows, look)])
        left = (look.scores >= _RETINAFACE_SURE) & (work.refiners[rows] == NONE)
        work.decide(rows[left], look.landmarks[left], RETINAFACE)

    def _look_at_turns(self, work: _Work, rows: Rows) -> None:
        """Look at boxes at several turns, then upright by the best turn."""
        if not len(rows):
            return
        n = len(_TURNS)
        turned = squares_of_boxes(
            np.repeat(work.boxes[rows], n, axis=0), np.tile(_TURNS, len(rows)), _TURNED_FACTOR
        )
        look = self._onet.look(*work.of(np.repeat(rows, n)), turned)
        best = np.arange(len(rows)) * n + look.scores.reshape(-1, n).argmax(axis=1)
        self._look_upright(work, rows, look.landmarks[best])


class _Work:
    """All faces of a batch, and what is known of them so far."""

    def __init__(
        self, images: Sequence[Pixels], places: Rows, boxes: Doubles, landmarks: Doubles
    ) -> None:
        n = len(places)
        self._images, self._places = images, places
        self.boxes, self.landmarks = boxes, landmarks.copy()
        self.refiners = np.full(n, NONE, "U10")
        self.onet_scores = np.full(n, np.nan, np.float32)
        self.seen = np.full((n, 4), np.nan)
        self.is_seen = np.zeros(n, np.bool_)
        """Both looks of O-Net are sure and agree."""
        self._guesses = landmarks.copy()

    def __len__(self) -> int:
        return len(self._places)

    def of(self, rows: Rows) -> tuple[Sequence[Pixels], Rows]:
        """Return all images, and the place of each of the faces `rows` among them."""
        return self._images, self._places[rows]

    def undecided(self) -> Rows:
        return np.flatnonzero(self.refiners == NONE)

    def see(self, rows: Rows, landmarks: Doubles, scores: Floats) -> None:
        """Record O-Net's answers; a better one replaces an earlier one."""
        is_better = ~(scores <= self.onet_scores[rows])
        better = rows[is_better]
        self.onet_scores[better] = scores[is_better]
        self._guesses[better] = landmarks[is_better]

    def decide(self, rows: Rows, landmarks: Doubles, refiner: str) -> None:
        """Accept the landmarks that are sound and lie near the box of their face."""
        accepted = are_sound(landmarks) & self._are_near(rows, landmarks)
        self.landmarks[rows[accepted]] = landmarks[accepted]
        self.refiners[rows[accepted]] = refiner

    def _are_near(self, rows: Rows, landmarks: Doubles) -> Bools:
        corners = self.boxes[rows].reshape(-1, 2, 2)
        sides = np.ptp(corners, axis=1).max(axis=1)
        shifts = np.linalg.norm(landmarks.mean(axis=1) - corners.mean(axis=1), axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            scales = _FACE_SIDE / _enlargements(landmarks) / sides
            near: Bools = (shifts < _MAX_SHIFT * sides) & (np.abs(np.log(scales)) < _MAX_LOG_SCALE)
        return near

    def may_lie(self, rows: Rows, look: Look) -> Bools:
        """Return which faces (n,) O-Net did not see, maybe because they lie on their side.

        `look` is RetinaFace's. One sign is its roll, or that of the best guess if it sees no face.
        The other is a roll of the detector's landmarks that RetinaFace does not confirm.
        """
        is_answer, detected = look.scores > 0, self.landmarks[rows]
        guesses = np.where(is_answer[:, None, None], look.landmarks, self._guesses[rows])
        is_confirmed = is_answer & (_distance(detected, look.landmarks) < _CONFIRMED)
        is_doubtful = (measure_rolls(detected) > _MAX_DETECTED_ROLL) & ~is_confirmed
        is_doubtful &= ~np.isnan(self.onet_scores[rows])
        return ~self.is_seen[rows] & (is_doubtful | (measure_rolls(guesses) > _MAX_ROLL))

    def turns(self, rows: Rows) -> Complexes:
        """Return the unit vector (n,) of each face's x axis.

        O-Net's landmarks decide if it is nearly sure, or if the detector's are turned, because the
        detector underestimates turns. Otherwise the detector's decide: O-Net is unsure of heads
        that are turned away.
        """
        guesses, detected = self._guesses[rows], self.landmarks[rows]
        is_near = (self.onet_scores[rows] >= DOUBTED) & (measure_leans(guesses) < HOPELESS_LEAN)
        is_turned = measure_rolls(detected) > _MAX_DETECTED_ROLL
        best = np.where((is_near | is_turned)[:, None, None], guesses, detected)
        fit = estimate_similarity(best, ARCFACE_112)
        axes = fit[:, 0, 0] - 1j * fit[:, 1, 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            units: Complexes = np.where(np.isfinite(axes), axes / np.abs(axes), 1)
        return units


def _enlargements(landmarks: Doubles) -> Doubles:
    """Return the scale (n,) from the image to arcface-112."""
    fit = estimate_similarity(landmarks, ARCFACE_112)
    scale: Doubles = np.hypot(fit[:, 0, 0], fit[:, 1, 0])
    return scale


def _distance(one: Doubles, other: Doubles) -> Doubles:
    """Return the mean distance (n,) of the landmarks (n, 5, 2), in eye distances."""
    pixels = np.linalg.norm(one - other, axis=2).mean(axis=1)
    distance: Doubles = pixels * _enlargements((one + other) / 2) / _EYES
    return distance
