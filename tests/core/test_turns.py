"""Turns by quarters: pixels, faces and transforms agree."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.core.faces import Faces
from faceprep.core.landmarks import ARCFACE_112, apply_transforms, combine_transforms
from faceprep.core.turns import (
    TURNS,
    turn_faces,
    turn_faces_back,
    turn_image,
    turn_matrix,
    turn_of,
    turned_size,
)

SIZE = (30, 50)


def faces() -> Faces:
    boxes = np.array([(5, 3, 20, 25), (-4, 10, 60, 31)], np.float32)
    points = np.stack([ARCFACE_112 / 5, ARCFACE_112 / 3 + 1]).astype(np.float32)
    return Faces(boxes, points, np.array([0.9, 0.8], np.float32))


@pytest.mark.parametrize("turn", TURNS)
def test_pixels_go_where_the_matrix_says(turn: int) -> None:
    image = np.random.default_rng(turn).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    turned = turn_image(image, turn)
    assert turned.shape[:2] == turned_size(SIZE, turn)
    spots = np.array([[(0, 0), (49, 0), (7, 29), (20, 11)]], np.float64)
    there = apply_transforms(spots, turn_matrix(SIZE, turn, pixel=1)[None])[0].astype(int)
    for (x, y), (u, v) in zip(spots[0].astype(int), there, strict=True):
        assert (turned[v, u] == image[y, x]).all()


@pytest.mark.parametrize("turn", TURNS)
def test_faces_come_back(turn: int) -> None:
    turned = turn_faces(faces(), SIZE, turn)
    back = turn_faces_back(turned, SIZE, turn)
    np.testing.assert_allclose(back.boxes, faces().boxes, atol=1e-4)
    np.testing.assert_allclose(back.landmarks, faces().landmarks, atol=1e-4)
    assert (turned.boxes[:, 2:] > turned.boxes[:, :2]).all()


@pytest.mark.parametrize("turn", TURNS)
def test_a_transform_names_its_turn(turn: int) -> None:
    upright = np.array([(2.0, 0, 3), (0, 3.0, 4)])
    assert turn_of(combine_transforms(upright, turn_matrix(SIZE, turn))) == turn
