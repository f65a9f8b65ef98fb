"""Squares cut out of images: places come back, every pixel counts, and the edge is grey."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.landmarks import ARCFACE_112, apply_transforms
from faceprep.models.detectors.detector import fit_to
from faceprep.models.refine.squares import (
    Squares,
    cut_squares,
    squares_of_boxes,
    squares_of_landmarks,
)
from tests.heads import similarity

FIRST = np.zeros(1, np.intp)


@given(st.floats(-180, 180), st.floats(0.1, 20), st.floats(-100, 4000), st.floats(-100, 4000))
def test_a_square_is_upright_in_the_face(angle: float, scale: float, x: float, y: float) -> None:
    points = apply_transforms(ARCFACE_112[None], similarity(angle, scale, x, y)[None])
    squares = squares_of_landmarks(points, (56, 64), 90)
    shares = (ARCFACE_112 - (56, 64)) / 90 + 0.5
    assert np.abs(squares.place(shares[None]) - points).max() < 1e-6 * (1 + scale)
    assert np.abs(squares.halves) == pytest.approx(45 * scale)


def test_a_square_of_a_box() -> None:
    box = np.array([[10.0, 20, 30, 60]])
    squares = squares_of_boxes(box, np.array([1j]), 1.5)
    corners = squares.place([[(0, 0), (1, 0), (1, 1)]])
    assert corners.round(6).tolist() == [[[50, 10], [50, 70], [-10, 70]]]


@pytest.mark.parametrize("side", [20, 48, 90, 200, 310])
@pytest.mark.parametrize("turn", [1, np.exp(0.5j), -1j])
def test_a_gradient_comes_out_at_its_place(side: int, turn: complex) -> None:
    """Cut out a gradient on which every second pixel is too light and the others are too dark."""
    y, x = np.indices((400, 500))
    pattern = ((x + y) % 2 * 40 - 20) * (side > 96)
    image = np.repeat((20 + x * 0.25 + y * 0.2 + pattern)[..., None], 3, axis=2).astype(np.uint8)
    squares = Squares(np.array([251.3 + 203.8j]), np.array([turn * side / 2]))
    (crop,) = cut_squares([image], FIRST, squares, 48)
    steps = (np.indices((48, 48))[::-1].reshape(2, -1).T + 0.5) / 48
    at = squares.place(steps[None])[0]
    expected = (20 + (at - 0.5) @ (0.25, 0.2)).reshape(48, 48)
    seen = crop[..., 1].astype(float)
    inside = ((at > 2) & (at < (498, 398))).all(axis=1).reshape(48, 48)
    assert np.abs(seen - expected)[inside].mean() < (8 if side > 96 else 1)
    assert abs((seen - expected)[inside].mean()) < 1.5


@pytest.mark.parametrize(
    ("shape", "shrink"), [((400, 500), 1.0), ((720, 960), 1.5), ((960, 1920), 3.0)]
)
def test_linear_sampling_is_that_of_detectors(shape: tuple[int, int], shrink: float) -> None:
    """A square at the scale of the whole image has the pixels of the image scaled as a whole."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    image = cv2.GaussianBlur(image, None, 2)
    whole = fit_to(image, round(max(shape) / shrink))
    square = Squares(np.array([(160 + 112j) * shrink]), np.array([48 * shrink + 0j]))
    (crop,) = cut_squares([image], FIRST, square, 96, is_cubic=False)
    apart = np.abs(crop.astype(int) - whole[64:160, 112:208])
    assert apart.max() <= 2


def test_beyond_the_image_it_is_grey() -> None:
    image = np.full((60, 80, 3), 255, np.uint8)
    squares = Squares(np.array([0j, 500 + 0j, 40 + 30j]), np.array([20 + 0j, 20, 10]))
    crops = cut_squares([image], np.zeros(3, np.intp), squares, 48)
    assert (crops[0, :20] == 127).all() and (crops[0, 30:, 30:] == 255).all()
    assert (crops[1] == 127).all() and (crops[2] == 255).all()


def test_squares_that_cannot_be_cut() -> None:
    halves = np.array([10, 0.1, np.nan, 1e6, 10], complex)
    centres = np.array([5 + 5j, 5, 5, 5, np.inf])
    assert Squares(centres, halves).are_sound().tolist() == [True, False, False, False, False]
