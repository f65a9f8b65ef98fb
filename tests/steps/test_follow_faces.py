"""Faces tracked between full detections: the same faces, detected anew where one may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.arrays import Bools, Pixels, Rows
from faceprep.core.faces import Faces
from faceprep.core.turns import turn_image
from faceprep.models.detectors.detector import SizedDetector
from faceprep.models.refine.refiner import NONE, ONET, Refined
from faceprep.steps.find_faces import FaceFinder
from faceprep.steps.follow_faces import FaceTracker, Numbered
from faceprep.steps.found import Found
from faceprep.steps.trail import Trail
from tests.videos import CROWD, GROUND, RED, SIZE, PatchDetector, PatchSearch, draw

EVERY = 5


class Counted(PatchDetector):
    """A detector that notes how many images it has seen."""

    def __init__(self) -> None:
        self.n_seen = 0

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        self.n_seen += len(images)
        return super().detect(images)


class Refining:
    """A refiner that places the large faces, and notes how many faces it has seen."""

    fingerprint = "large"

    def __init__(self, least: float) -> None:
        self.least, self.n_seen = least, 0

    def refine(self, images: Sequence[Pixels], faces: Sequence[Faces]) -> list[Refined]:
        return [self._answer(each) for each in faces]

    def refine_at(
        self, images: Sequence[Pixels], places: Rows, faces: Faces, turned_away: Bools
    ) -> Refined:
        self.n_seen += len(faces)
        return self._answer(faces)

    def _answer(self, faces: Faces) -> Refined:
        sides = np.ptp(faces.boxes.reshape(-1, 2, 2), axis=1).max(axis=1)
        names = tuple(np.where(sides >= self.least, ONET, NONE).tolist())
        n = len(faces)
        return Refined(faces, names, np.ones(n, np.float32), np.full((n, 4), np.nan))


def numbered(frames: Sequence[Pixels], first: int = 0) -> list[Numbered]:
    return [Numbered(first + place, pixels) for place, pixels in enumerate(frames)]


def track(
    frames: Sequence[Numbered], most: int | None = None, turn: int = 0, min_face: int = 0
) -> tuple[list[Found], list[int]]:
    """Return what is found, and the numbers of the frames with full detection."""
    detector = Counted()
    finders = [FaceFinder(SizedDetector(detector), 0.8)]
    tracker = FaceTracker(finders, PatchSearch(), EVERY, min_face)
    found = [each for each, _ in tracker.find(frames, Trail(), most, turn)]
    pairs = zip(frames, found, strict=True)
    full = [frame.number for frame, each in pairs if not each.is_followed]
    assert detector.n_seen >= len(full)
    return found, full


def squares(*corners: tuple[int, int], side: int = 40) -> Pixels:
    pixels = np.full((*SIZE, 3), GROUND, np.uint8)
    for x, y in corners:
        pixels[y : y + side, x : x + side] = RED
    return pixels


def same(one: Found, other: Found) -> bool:
    facts = [(each.status, each.reason, each.turn, each.is_followed) for each in (one, other)]
    return (
        facts[0] == facts[1]
        and np.array_equal(one.faces.boxes, other.faces.boxes)
        and np.array_equal(one.faces.landmarks, other.faces.landmarks)
    )


def test_tracked_faces_are_those_of_full_detection() -> None:
    frames = list(draw("R" * 17))
    found, full = track(numbered(frames))
    assert full == [0, 5, 10, 15]
    for each, expected in zip(found, PatchDetector().detect(frames), strict=True):
        assert np.abs(each.faces.boxes - expected.boxes).max() < 1
        assert np.array_equal(each.faces.landmarks, expected.landmarks)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_video_gives_the_same_faces(turn: int) -> None:
    frames = list(draw("r" * 8))
    plain, _ = track(numbered(frames))
    found, full = track(numbered([turn_image(each, -turn % 360) for each in frames]), turn=turn)
    assert full == [0, 5] and all(each.turn == turn for each in found)
    for one, other in zip(plain, found, strict=True):
        sizes = [np.ptp(each.faces.boxes.reshape(2, 2), axis=0) for each in (one, other)]
        assert np.allclose(sizes[0], sizes[1], atol=1e-3)


def test_segments_begin_at_multiples() -> None:
    _, full = track(numbered(list(draw("r" * 9)), first=3))
    assert full == [3, 5, 10]
    frames = [each for each in numbered(list(draw("r" * 20))) if each.number % 7 == 0]
    assert track(frames)[1] == [0, 7, 14]


def test_a_frame_without_a_face_gets_full_detection() -> None:
    found, full = track(numbered(list(draw("..r.rbbrrr"))))
    assert full == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [each.status for each in found[:7]] == [
        *("no_face", "no_face", "ok", "no_face", "ok", "low_score", "low_score")
    ]


def test_a_lost_face_gets_full_detection() -> None:
    both = squares((20, 60), (200, 100))
    found, full = track(numbered([both, both, squares((20, 60)), squares((20, 60))]))
    assert full == [0, 2]
    assert [len(each.faces) for each in found] == [2, 2, 1, 1]


def test_new_faces_appear_at_the_next_full_detection() -> None:
    both, one = squares((20, 60), (200, 100)), squares((20, 60))
    found, _ = track(numbered([one, one, both, both, both, both]))
    assert [len(each.faces) for each in found] == [1, 1, 1, 1, 1, 2]


def test_a_cut_gets_full_detection() -> None:
    one = squares((20, 60), side=60)
    other = squares((20, 60), side=60)
    other[:, 100:] = 255 - other[:, 100:]
    _, full = track(numbered([one, one, other, other]))
    assert full == [0, 2]


def test_a_face_that_changes_its_size_at_once_gets_full_detection() -> None:
    small, large = squares((60, 60), side=40), squares((50, 50), side=60)
    assert track(numbered([small, small, large, large]))[1] == [0, 2]


def test_faces_that_may_be_one_get_full_detection() -> None:
    apart, near = squares((60, 60), (110, 60)), squares((80, 60), (101, 60))
    _, full = track(numbered([apart, near]))
    assert full == [0, 1]


def test_a_crowd_gets_full_detection_unless_it_is_refined() -> None:
    many = squares(*((20 + 60 * place, 60) for place in range(CROWD)))
    assert track(numbered([many] * 4))[1] == [0, 1, 2, 3]
    refiner: Any = Refining(20)
    finder = FaceFinder(SizedDetector(PatchDetector()), 0.8, refiner)
    found = FaceTracker([finder], PatchSearch(), EVERY).find(numbered([many] * 4), Trail(), None, 0)
    assert [each.is_followed for each, _ in found] == [False, True, True, True]


def test_a_face_that_becomes_too_small_gets_full_detection() -> None:
    sides = (50, 47, 44, 41, 38)
    frames = numbered([squares((60, 60), side=side) for side in sides])
    assert track(frames)[1] == [0]
    assert track(frames, min_face=44)[1] == [0, 4]


def test_one_face_of_several_is_tracked() -> None:
    found, full = track(numbered(list(draw("R" * 6))), most=1)
    assert full == [0, 5]
    assert [len(each.faces) for each in found] == [2, 1, 1, 1, 1, 2]
    assert all(each.faces.scores[0] == found[0].faces.scores[0] for each in found)


@pytest.mark.parametrize(("least", "n_seen", "n_searches"), [(20, 4, 0), (99, 0, 5)])
def test_only_faces_that_the_refiner_placed_are_refined_between(
    least: float, n_seen: int, n_searches: int
) -> None:
    """The search alone tracks the others: one at the full detection, and one in each frame."""
    refiner: Any = Refining(least)
    search = PatchSearch()
    finder = FaceFinder(SizedDetector(PatchDetector()), 0.8, refiner)
    tracker = FaceTracker([finder], search, EVERY)
    tracker.find(numbered([squares((60, 60))] * EVERY), Trail(), None, 0)
    assert (refiner.n_seen, search.n_searches) == (n_seen, n_searches)


@settings(max_examples=10, deadline=None)
@given(cuts=st.sets(st.integers(1, 23)), letters=st.text("rrrR.b", min_size=24, max_size=24))
def test_the_result_does_not_depend_on_chunks(cuts: set[int], letters: str) -> None:
    frames = numbered(list(draw(letters)))
    whole, _ = track(frames)
    tracker = FaceTracker([FaceFinder(SizedDetector(PatchDetector()), 0.8)], PatchSearch(), EVERY)
    trail, found = Trail(), list[Found]()
    edges = sorted({0, len(frames), *cuts, *range(0, len(frames), EVERY)})
    for first, stop in zip(edges, edges[1:], strict=False):
        if first % EVERY == 0:
            trail = Trail()
        found += [each for each, _ in tracker.find(frames[first:stop], trail, None, 0)]
    assert all(same(*pair) for pair in zip(whole, found, strict=True))
