"""Tracks of faces at known places, and cuts between drawn scenes."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.core.faces import Faces, no_faces
from faceprep.core.landmarks import ARCFACE_112
from faceprep.vision.tracks import THUMB_SIZE, SceneCuts, Tracker, clear_pairs, make_thumb


def faces(*places: tuple[float, float, float]) -> Faces:
    """Faces with (x, y) of the upper left corner and a side."""
    boxes = np.array([(x, y, x + side, y + side) for x, y, side in places])
    points = [ARCFACE_112 * (side / 112) + (x, y) for x, y, side in places]
    return Faces(boxes, np.array(points), np.linspace(0.99, 0.9, len(places)))


def test_two_people_keep_their_tracks_in_any_order() -> None:
    rng, tracker = np.random.default_rng(1), Tracker()
    for number in range(60):
        both = [(10 + 3 * number, 20.0, 50.0), (300 - 2 * number, 120.0, 50 + number / 3)]
        shaken = faces(*[(x + rng.normal(), y + rng.normal(), side) for x, y, side in both])
        order = rng.permutation(2)
        assert tracker.link(shaken.take(order)).tolist() == order.tolist()


def test_a_fast_face_is_predicted() -> None:
    tracker = Tracker()
    speeds = np.minimum(np.arange(40) * 4, 40)
    found = [tracker.link(faces((x, 0, 50)))[0] for x in np.cumsum(speeds)]
    assert set(found) == {0}


@pytest.mark.parametrize(("n_missed", "track"), [(1, 0), (5, 0), (6, 1)])
def test_a_face_that_was_lost(n_missed: int, track: int) -> None:
    tracker = Tracker()
    tracker.link(faces((0, 0, 50)))
    for _ in range(n_missed):
        assert not len(tracker.link(no_faces()))
    assert tracker.link(faces((1, 0, 50))).tolist() == [track]


@pytest.mark.parametrize("other", [(60, 0, 50), (0, 0, 90), (25, 25, 50)])
def test_another_face_is_another_track(other: tuple[float, float, float]) -> None:
    tracker = Tracker()
    tracker.link(faces((0, 0, 50)))
    assert tracker.link(faces(other)).tolist() == [1]


def test_a_doubtful_link_begins_new_tracks() -> None:
    tracker = Tracker()
    tracker.link(faces((0, 0, 50)))
    assert tracker.link(faces((-4, 0, 50), (4, 0, 50))).tolist() == [1, 2]


def test_a_cut_ends_all_tracks() -> None:
    tracker = Tracker()
    tracker.link(faces((0, 0, 50), (100, 0, 50)))
    tracker.cut()
    assert tracker.link(faces((0, 0, 50))).tolist() == [2]


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
    tracker, people = Tracker(), dict[int, set[str]]()
    for x in range(0, 300, speed):
        walking, still = (x, 0.0, 50.0), (150.0, 3.0, 52.0)
        seen = {"walking": walking, "still": still}
        if is_hidden and abs(x - 150) < 25:
            del seen["still"]
        for track, name in zip(tracker.link(faces(*seen.values())).tolist(), seen, strict=True):
            people.setdefault(track, set()).add(name)
    assert max(map(len, people.values())) == 1
