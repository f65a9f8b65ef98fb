"""Tracks of faces at known places, and cuts between drawn scenes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from faceprep.core.arrays import Ints, Octets
from faceprep.core.faces import Faces, no_faces
from faceprep.core.landmarks import ARCFACE_112
from faceprep.vision.tracks import (
    FACE_SIZE,
    THUMB_SIZE,
    SceneCuts,
    Tracker,
    clear_pairs,
    make_face_thumbs,
    make_thumb,
)


def faces(*places: tuple[float, float, float]) -> Faces:
    """Faces with (x, y) of the upper left corner and a side."""
    boxes = np.array([(x, y, x + side, y + side) for x, y, side in places])
    points = [ARCFACE_112 * (side / 112) + (x, y) for x, y, side in places]
    return Faces(boxes, np.array(points), np.linspace(0.99, 0.9, len(places)))


class EveryFrame(Tracker):
    """A tracker that looks at every frame of a video of 25 frames a second."""

    n_seen = 0

    def link_next(self, found: Faces, thumbs: Octets | None = None) -> Ints:
        self.n_seen += 1
        return self.link(found, self.n_seen, self.n_seen / 25, thumbs)


def test_two_people_keep_their_tracks_in_any_order() -> None:
    rng, tracker = np.random.default_rng(1), EveryFrame()
    for number in range(60):
        both = [(10 + 3 * number, 20.0, 50.0), (300 - 2 * number, 120.0, 50 + number / 3)]
        shaken = faces(*[(x + rng.normal(), y + rng.normal(), side) for x, y, side in both])
        order = rng.permutation(2)
        assert tracker.link_next(shaken.take(order)).tolist() == order.tolist()


def test_a_fast_face_is_predicted() -> None:
    tracker = EveryFrame()
    speeds = np.minimum(np.arange(40) * 4, 40)
    found = [tracker.link_next(faces((x, 0, 50)))[0] for x in np.cumsum(speeds)]
    assert set(found) == {0}


@pytest.mark.parametrize(("n_missed", "track"), [(1, 0), (5, 0), (6, 1)])
def test_a_face_that_was_lost(n_missed: int, track: int) -> None:
    tracker = EveryFrame()
    tracker.link_next(faces((0, 0, 50)))
    for _ in range(n_missed):
        assert not len(tracker.link_next(no_faces()))
    assert tracker.link_next(faces((1, 0, 50))).tolist() == [track]


@pytest.mark.parametrize(
    ("rate", "every", "n_missed", "track"),
    [
        (30, 10, 0, 0),
        (30, 10, 1, 1),  # dense frames bridge five, not 19
        (30, 2, 2, 0),
        (30, 2, 3, 1),
        (30000 / 1001, 30, 0, 0),
        (10, 10, 1, 1),
        (10, 20, 0, 1),  # anybody may have come within two seconds
        (1, 1, 5, 0),
        (None, 6, 0, 0),
        (None, 7, 0, 1),
    ],
)
def test_a_face_in_sparse_frames(rate: float | None, every: int, n_missed: int, track: int) -> None:
    def link(found: Faces, place: int) -> list[int]:
        number = place * every
        time_s = None if rate is None else number / rate
        return tracker.link(found, number, time_s).tolist()

    tracker = Tracker()
    link(faces((0, 0, 50)), 0)
    for place in range(n_missed):
        link(no_faces(), place + 1)
    assert link(faces((1, 0, 50)), n_missed + 1) == [track]


@pytest.mark.parametrize("other", [(60, 0, 50), (0, 0, 90), (25, 25, 50)])
def test_another_face_is_another_track(other: tuple[float, float, float]) -> None:
    tracker = EveryFrame()
    tracker.link_next(faces((0, 0, 50)))
    assert tracker.link_next(faces(other)).tolist() == [1]


def test_a_doubtful_link_begins_new_tracks() -> None:
    tracker = EveryFrame()
    tracker.link_next(faces((0, 0, 50)))
    assert tracker.link_next(faces((-4, 0, 50), (4, 0, 50))).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("before", "doubtful", "x", "expected"),
    [
        ([(0, 0, 50), (6, 0, 50)], [(3, 0, 50)], 3, [2]),  # two faces become one, as in a dissolve
        ([(0, 0, 50)], [(-3, 0, 50), (3, 0, 50)], 0, [3]),  # one face is found twice
    ],
)
def test_a_doubtful_link_does_not_make_those_after_it_doubtful(
    before: list[tuple[float, float, float]],
    doubtful: list[tuple[float, float, float]],
    x: float,
    expected: list[int],
) -> None:
    tracker = EveryFrame()
    tracker.link_next(faces(*before))
    tracker.link_next(faces(*doubtful))
    later = [tracker.link_next(faces((x, 0, 50))).tolist() for _ in range(20)]
    assert later == [expected] * 20


def test_a_cut_ends_all_tracks() -> None:
    tracker = EveryFrame()
    tracker.link_next(faces((0, 0, 50), (100, 0, 50)))
    tracker.cut()
    assert tracker.link_next(faces((0, 0, 50))).tolist() == [2]


def test_pairs_do_not_depend_on_the_order() -> None:
    costs = np.random.default_rng(3).uniform(0, 3, (6, 5))
    rows, columns = np.random.default_rng(4).permutation(6), np.arange(5)[::-1]
    again = {(int(rows[a]), int(columns[b])) for a, b in clear_pairs(costs[rows][:, columns])}
    assert again == set(clear_pairs(costs))


def scene(seed: int, shift: int = 0, light: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (12, 20, 3)).astype(np.uint8)
    pixels = np.roll(np.kron(blocks, np.ones((16, 16, 1), np.uint8)), shift, axis=1)
    return make_thumb((pixels * light).astype(np.uint8))


@pytest.mark.parametrize("light", [1.0, 0.3])
def test_cuts_between_scenes(light: float) -> None:
    cuts = SceneCuts()
    thumbs = [scene(number // 10, number, light) for number in range(40)]
    assert thumbs[0].shape == THUMB_SIZE
    found = [number for number, thumb in enumerate(thumbs) if cuts.is_cut(thumb)]
    assert found == [10, 20, 30]


@pytest.mark.parametrize("speed", [2, 3, 5, 8, 13])
@pytest.mark.parametrize("is_hidden", [True, False])
def test_people_who_cross_are_never_one_track(speed: int, is_hidden: bool) -> None:
    """One walks in front of another, whose face is not found meanwhile, or is."""
    tracker, people = EveryFrame(), dict[int, set[str]]()
    for x in range(0, 300, speed):
        walking, still = (x, 0.0, 50.0), (150.0, 3.0, 52.0)
        seen = {"walking": walking, "still": still}
        if is_hidden and abs(x - 150) < 25:
            del seen["still"]
        for track, name in zip(
            tracker.link_next(faces(*seen.values())).tolist(), seen, strict=True
        ):
            people.setdefault(track, set()).add(name)
    assert max(map(len, people.values())) == 1


# The looks of faces


def looks(person: int, n: int, contrast: float = 60.0) -> Octets:
    """Images (n, *FACE_SIZE) of one face with a little noise."""
    face = np.random.default_rng(person).normal(0, 1, FACE_SIZE)
    noise = np.random.default_rng(99).normal(0, 0.05, (n, *FACE_SIZE))
    return np.clip(127 + contrast * (face + noise), 0, 255).astype(np.uint8)


def tracks_of(thumbs: Sequence[Octets | None]) -> list[int]:
    """Tracks of one face that stays, in frames that show `thumbs`; None for a frame without it."""
    tracker, tracks = EveryFrame(), []
    for thumb in thumbs:
        found = no_faces() if thumb is None else faces((0, 0, 50))
        tracks += tracker.link_next(found, None if thumb is None else thumb[None]).tolist()
    return tracks


@pytest.mark.parametrize("n_missed", [0, 1, 5])
def test_another_person_in_the_same_place_is_another_track(n_missed: int) -> None:
    one, other = looks(1, 4), looks(2, 4)
    assert tracks_of([*one, *[None] * n_missed, *other]) == [0] * 4 + [1] * 4


def test_people_who_look_alike_are_told_by_a_sudden_change() -> None:
    one, other = looks(1, 6).astype(int), looks(2, 6).astype(int)
    alike = ((one + other) / 2).astype(np.uint8)
    assert tracks_of([*looks(1, 6), *alike]) == [0] * 6 + [1] * 6


def test_a_face_that_changes_from_frame_to_frame_is_one_track() -> None:
    one, other = looks(1, 21).astype(int), looks(2, 21).astype(int)
    shares = np.linspace(0, 1, 21)[:, None, None]
    assert set(tracks_of(list((one * (1 - shares) + other * shares).astype(np.uint8)))) == {0}


def test_light_and_faces_that_show_nothing_end_no_track() -> None:
    bright, dark, flat = looks(1, 3), looks(1, 3, contrast=20), looks(2, 3, contrast=0)
    assert set(tracks_of([*bright, *dark, *flat, *bright])) == {0}


@pytest.mark.parametrize(("n_dark", "track"), [(1, 1), (4, 1), (7, 0)])
def test_a_face_in_the_dark_keeps_the_look_before_it_for_a_while(n_dark: int, track: int) -> None:
    one, dark, other = looks(1, 6), looks(2, n_dark, contrast=3), looks(2, 2)
    assert tracks_of([*one, *dark, *other]) == [0] * (6 + n_dark) + [track] * 2


def test_looks_of_sparse_frames_are_not_compared() -> None:
    """After many frames, a head may have turned."""
    tracker = Tracker()
    one, other = looks(1, 1), looks(2, 1)
    assert tracker.link(faces((0, 0, 50)), 0, 0, one).tolist() == [0]
    assert tracker.link(faces((0, 0, 50)), 7, 0.28, other).tolist() == [0]


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_face_has_one_look_at_any_size_place_and_turn(turn: int) -> None:
    rng = np.random.default_rng(5)
    face = np.kron(rng.integers(0, 256, (14, 14)), np.ones((8, 8)))[..., None].repeat(3, axis=2)
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[100:212, 200:312] = face
    points = ARCFACE_112 + (200, 100)
    expected = make_face_thumbs(face.astype(np.uint8), ARCFACE_112[None].astype(np.float32))
    for _ in range(turn):  # 90° clockwise
        pixels = np.rot90(pixels, -1)
        points = np.stack([399 - points[:, 1], points[:, 0]], axis=1)
    large = np.kron(pixels, np.ones((2, 2, 1), np.uint8))
    found = make_face_thumbs(large, (2 * points[None] + 0.5).astype(np.float32))
    assert found.shape == (1, *FACE_SIZE) and found.std() > 20
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9
