"""Tracks of faces through the frames of a video, and the cuts between its scenes.

A track ends rather than continue with another person: at a cut, after some frames without the
face, after about a second between sparse frames, where two faces could both continue it, and where
the face suddenly looks different. A slow dissolve from a face to another in its place is not seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Bools, Doubles, Floats, Ints, Octets, Pixels
from faceprep.core.boxes import areas, overlaps
from faceprep.core.faces import Faces
from faceprep.core.landmarks import ARCFACE_112, estimate_similarity
from faceprep.core.opencv import opencv

THUMB_SIZE = (18, 32)
"""(height, width) of the grey image that shows where another scene begins."""
FACE_SIZE = (12, 12)
"""(height, width) of the grey image of a face that is compared to notice another person."""
_FACE_SCALE = 3
"""Pixels of the upright face per pixel of that image, along each side."""
_FACE_POINTS = (ARCFACE_112 - (16, 20)) * (_FACE_SCALE * FACE_SIZE[0] / 80)
_FLAT = 6.0
"""Standard deviation in grey levels below which noise hides what a face looks like."""
_N_RECENT = 5
_MIN_IOU, _MAX_DISTANCE, _MAX_SCALE = 0.3, 0.3, 1.5
_MARGIN = 0.2
"""Cost by which a link must be better than any other of its track and of its face."""
_MAX_FRAMES = 6
"""Frames of the video from a face to the next of its track: five may lie between, without it."""
_MAX_SECONDS = 1.1
"""The same between two frames in succession, if more lie between that were not looked at. Frames
taken once a second are 1.001 s apart in NTSC video.
"""
_TINY = 1e-9


def make_thumb(pixels: Pixels, size: tuple[int, int] = THUMB_SIZE) -> Octets:
    """Shrink a frame to a grey image of `size` (height, width)."""
    cv2 = opencv()
    small = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    grey: Octets = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return grey


def make_face_thumbs(pixels: Pixels, landmarks: Floats) -> Octets:
    """Cut the faces with sound `landmarks` (n, 5, 2) as grey images (n, *FACE_SIZE), upright."""
    thumbs = np.zeros((len(landmarks), *FACE_SIZE), np.uint8)
    size = FACE_SIZE[1] * _FACE_SCALE, FACE_SIZE[0] * _FACE_SCALE
    for place, transform in enumerate(estimate_similarity(landmarks, _FACE_POINTS)):
        thumbs[place] = make_thumb(opencv().warpAffine(pixels, transform, size), FACE_SIZE)
    return thumbs


class _Limits(NamedTuple):
    """Changes between two images that show two scenes, or two people.

    A `certain` change is enough by itself. A `sudden` one is enough if it is also `times` the
    largest recent change, of which at least `n_least` have to be known.
    """

    certain: float
    sudden: float
    times: float
    n_least: int

    def of(self, recent: Sequence[float]) -> float:
        """Return the limit after the changes `recent`."""
        if len(recent) < self.n_least:
            return self.certain
        return max(self.sudden, min(self.certain, self.times * max(recent)))


_SCENES, _FACES = _Limits(18.0, 8.0, 4.0, 1), _Limits(0.65, 0.15, 8.0, _N_RECENT)
"""Limits of the mean change in grey levels, and of 1 − the correlation of two images of a face."""


def _no_changes() -> deque[float]:
    return deque(maxlen=_N_RECENT)


@dataclass
class SceneCuts:
    """A judge of cuts, which is shown the frames of a video in order.

    A cut changes the thumb by 18 grey levels on average. 8 are enough where that is 4 times the
    largest change of the last five frames, as in a dark scene.
    """

    _last: Octets | None = None
    _recent: deque[float] = field(default_factory=_no_changes)

    def is_cut(self, thumb: Octets) -> bool:
        """Return whether a scene begins with this frame; the first frame begins none."""
        before, self._last = self._last, thumb
        if before is None:
            return False
        change = float(np.abs(thumb.astype(np.int16) - before).mean())
        limit = _SCENES.of(self._recent)
        self._recent.append(change)
        return change >= limit


@dataclass
class _Track:
    number: int
    box: Doubles
    landmarks: Doubles
    motion: Doubles
    """(2,) pixels per frame."""
    look: Doubles
    """What the face looked like when that was last known, as `_describe_looks` returns it."""
    look_frame: int
    frame: int
    time_s: float | None
    n_misses: int = 0
    changes: deque[float] = field(default_factory=_no_changes)
    """Changes of the look from face to face."""

    def reaches(self, frame: int, time_s: float | None) -> bool:
        """Return whether a face in this frame may continue the track."""
        if frame - self.frame <= _MAX_FRAMES:
            return True
        if self.n_misses or self.time_s is None or time_s is None:
            return False
        return time_s - self.time_s <= _MAX_SECONDS

    def predict(self) -> tuple[Doubles, Doubles]:
        """Return the box (4,) and the landmarks (5, 2) expected in this frame."""
        shift = self.motion * (self.n_misses + 1)
        return self.box + np.tile(shift, 2), self.landmarks + shift

    def compare(self, looks: Doubles) -> Doubles:
        """Return the change (n,) from the last look to one of `looks` (n, d), 0 if not known."""
        is_known = looks.any(axis=1) & self.look.any()
        return np.where(is_known, 1 - looks @ self.look, 0.0)

    def are_others(self, changes: Doubles, frame: int) -> Bools:
        """Return which faces (n,) of a frame look so different that they belong to someone else.

        After many frames, the same face may look different too.
        """
        others: Bools = changes >= _FACES.of(self.changes)
        return others & (frame - self.look_frame <= _MAX_FRAMES)

    def follow(self, box: Doubles, landmarks: Doubles, frame: int, time_s: float | None) -> None:
        """Continue the track with this face."""
        moved = landmarks.mean(axis=0) - self.landmarks.mean(axis=0)
        self.motion = (self.motion + moved / (self.n_misses + 1)) / 2
        self.box, self.landmarks, self.n_misses = box, landmarks, 0
        self.frame, self.time_s = frame, time_s

    def keep(self, look: Doubles, change: float) -> None:
        """Keep the look of the face that continues the track, if it is known, and its change."""
        if look.any():
            self.look, self.look_frame = look, self.frame
            self.changes.append(change)


class Tracker:
    """Tracks of the faces of one video, numbered from 0 as they begin."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._n = 0

    def cut(self) -> None:
        """End all tracks: another scene begins."""
        self._tracks = []

    def link(
        self, faces: Faces, frame: int, time_s: float | None, thumbs: Octets | None = None
    ) -> Ints:
        """Return the tracks (n,) of the faces of the next frame that is looked at.

        `frame` is its number in the video, and `time_s` its time, None where the file has no times.
        `thumbs` (n, *FACE_SIZE) show the faces; without them their looks are not compared.
        """
        self._tracks = [track for track in self._tracks if track.reaches(frame, time_s)]
        boxes, landmarks = faces.boxes.astype(np.float64), faces.landmarks.astype(np.float64)
        numbers = np.full(len(faces), -1, np.int64)
        looks = _describe_looks(np.zeros((len(faces), *FACE_SIZE)) if thumbs is None else thumbs)
        costs = np.full((len(self._tracks), len(faces)), np.inf)
        changes = np.zeros(costs.shape)
        for place, track in enumerate(self._tracks):
            costs[place] = link_costs(*track.predict(), boxes, landmarks)
            changes[place] = track.compare(looks)
            costs[place, track.are_others(changes[place], frame)] = np.inf
            track.n_misses += 1
        for place, face in clear_pairs(costs):
            track = self._tracks[place]
            track.n_misses -= 1
            track.follow(boxes[face], landmarks[face], frame, time_s)
            track.keep(looks[face], float(changes[place, face]))
            numbers[face] = track.number
        is_begun = numbers < 0
        self._end(np.isfinite(costs[:, is_begun]).any(axis=1))
        for face in np.flatnonzero(is_begun).tolist():
            numbers[face] = self._n
            seen = (boxes[face], landmarks[face], np.zeros(2), looks[face])
            self._tracks.append(_Track(self._n, *seen, frame, frame, time_s))
            self._n += 1
        return numbers

    def _end(self, are_rivals: Bools) -> None:
        """End the tracks that lack a face in this frame and are rivals (n,) of a track that begins.

        They would make the next link of that track doubtful as well, and so begin another.
        """
        self._tracks = [
            track
            for track, is_rival in zip(self._tracks, are_rivals.tolist(), strict=True)
            if not (track.n_misses and is_rival)
        ]


def _describe_looks(thumbs: npt.ArrayLike) -> Doubles:
    """Return vectors (n, d) of which the product is the correlation of two images (n, *FACE_SIZE).

    They are zero for images that show nothing.
    """
    values = np.asarray(thumbs, np.float64).reshape(-1, FACE_SIZE[0] * FACE_SIZE[1])
    values = values - values.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    is_flat = lengths < _FLAT * np.sqrt(values.shape[1])
    return np.where(is_flat, 0.0, values / np.maximum(lengths, _TINY))


def link_costs(box: Doubles, landmarks: Doubles, boxes: Doubles, others: Doubles) -> Doubles:
    """Compute the costs (n,) of linking one face to each of n; infinite beyond the gate.

    `box` is (4,), `landmarks` (5, 2), `boxes` (n, 4), `others` (n, 5, 2), in pixels. A cost is 1 −
    IoU plus the mean distance of the landmarks in sides of the box.
    """
    sides = np.sqrt(np.maximum(areas(boxes), _TINY))
    side = np.sqrt(max(float(areas(box)), _TINY))
    distances = np.linalg.norm(others - landmarks, axis=2).mean(axis=1) / side
    scales = np.abs(np.log(sides / side))
    shared = overlaps(box, boxes)
    is_near = (shared >= _MIN_IOU) & (distances <= _MAX_DISTANCE)
    is_near &= scales <= np.log(_MAX_SCALE)
    return np.where(is_near, 1 - shared + distances, np.inf)


def clear_pairs(costs: Doubles) -> list[tuple[int, int]]:
    """Return the pairs (row, column) that are clearly the best of their row and of their column.

    >>> clear_pairs(np.array([[0.1, 0.9], [0.9, 0.2]]))
    [(0, 0), (1, 1)]
    >>> clear_pairs(np.array([[0.1, 0.2]]))
    []
    """
    pairs = []
    for row, column in np.argwhere(np.isfinite(costs)).tolist():
        others = [*np.delete(costs[row], column), *np.delete(costs[:, column], row)]
        if costs[row, column] + _MARGIN <= min(others, default=np.inf):
            pairs.append((row, column))
    return pairs
