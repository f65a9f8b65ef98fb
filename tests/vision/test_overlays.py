"""Two pictures are laid over each other exactly, and cuts that people make are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faceprep.core.arrays import Doubles, Pixels
from faceprep.synthetic import draw_face
from faceprep.vision.overlays import NO_CUT, Frame, is_regular, normalize, register
from faceprep.vision.part_summary import LARGE, summarize_parts

FACE = draw_face(1, 1, 160)[0]
PLAIN = Frame(NO_CUT, 1.0)


def lay(whole: Pixels, view: Pixels) -> Doubles:
    larges = [normalize(summarize_parts(each).large[None]) for each in (whole, view)]
    return np.asarray(register(larges[0], larges[1], NO_CUT[None])[0])


@pytest.mark.parametrize("cut", [(0, 0, 0, 0), (8, 8, 8, 8), (8, 0, 0, 8), (3, 7, 0, 1)])
def test_a_cut_is_found_to_a_fraction_of_a_pixel(cut: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = cut
    part = np.ascontiguousarray(FACE[top : 160 - bottom, left : 160 - right])
    found = lay(part, FACE)
    assert np.abs(found - np.array(cut) / 160).max() * LARGE < 0.15
    assert (lay(FACE, part)[np.array(cut) > 0] < 0).all()


def test_text_does_not_move_an_overlay() -> None:
    text = cv2.putText(FACE.copy(), "SAMPLE", (15, 90), 0, 0.6, (255, 255, 255), 1)
    part = np.ascontiguousarray(text[8:-8, 8:-8])
    assert np.abs(lay(part, FACE) - 0.05).max() < 0.004


def test_pictures_that_share_nothing_are_laid_nowhere() -> None:
    other = np.ascontiguousarray(draw_face(7, 3, 160)[0][::-1])
    assert np.isnan(lay(FACE, other)).all()


def test_an_overlay_does_not_depend_on_the_others() -> None:
    parts = [FACE, FACE[8:-8, 8:-8], FACE[:-6, 6:], FACE[::-1]]
    larges = np.stack([summarize_parts(np.ascontiguousarray(each)).large for each in parts])
    wholes, views = normalize(larges), normalize(larges[[0] * 4])
    together = register(wholes, views, np.zeros((4, 4)))
    for at in range(4):
        alone = register(wholes[[at]], views[[at]], np.zeros((1, 4)))
        assert np.array_equal(alone[0], together[at], equal_nan=True)


@pytest.mark.parametrize(
    ("cut", "regular"),
    [
        ((0.05, 0.05, 0.05, 0.05), True),
        ((0.05, 0, 0, 0), True),
        ((0, 0.04, 0.04, 0), True),
        ((0.03, 0, 0.03, 0), True),
        ((-0.053, -0.053, -0.053, -0.053), True),
        ((0.01, 0, 0, 0), False),
        ((0.01, 0.04, 0.02, 0.03), False),
        ((0.03, -0.03, 0, 0), False),
        ((0.1, 0.1, 0.1, 0.1), False),
    ],
)
def test_equal_strips_are_known(cut: tuple[float, ...], regular: bool) -> None:
    assert is_regular(np.array(cut), PLAIN, PLAIN) is regular


def test_strips_may_be_equal_in_pixels() -> None:
    cut = np.array([6 / 92, 6 / 112, 6 / 92, 6 / 112])
    assert is_regular(cut, Frame(NO_CUT, 92 / 112), PLAIN)


def test_a_border_that_belongs_to_the_scene_is_a_part_of_it() -> None:
    """The whole lost black sides that the view, from which strips were cut, no longer has."""
    black = np.array([0.06, 0, 0.06, 0])
    cut = np.array([0.0, -0.05, 0.0, -0.05])
    assert is_regular(cut, Frame(black, 1.0), PLAIN)
