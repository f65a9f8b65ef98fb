"""Writing is told from blur, and each of two copies is judged apart."""

from __future__ import annotations

import cv2
import numpy as np

from faceprep.core.arrays import Pixels
from faceprep.synthetic import draw_face
from faceprep.vision.alterations import (
    CUT,
    WRITTEN_ON,
    Alterations,
    compare_closely,
    may_be_written_on,
    measure_cuts,
)
from faceprep.vision.copy_views import Overlay, Views, hash_views
from faceprep.vision.part_summary import summarize_parts

FACE = draw_face(1, 1, 160)[0]


def overlay(*images: Pixels) -> tuple[Views, Overlay]:
    found = [summarize_parts(image) for image in images]
    larges = np.stack([each.large for each in found])
    views = Views(larges, hash_views(larges), np.array([each.is_trimmed for each in found]))
    return views, views.overlay(0, 1)


def written_on(image: Pixels, level: int = 255) -> Pixels:
    font = cv2.FONT_HERSHEY_SIMPLEX
    return np.asarray(cv2.putText(image.copy(), "SAMPLE", (15, 90), font, 0.6, (level,) * 3, 1))


def test_the_image_that_is_written_on_loses_on_either_side() -> None:
    for level in (0, 255):
        altered = written_on(FACE, level)
        views, laid = overlay(altered, FACE)
        assert may_be_written_on(views.larges[0], views.larges[1], laid)
        assert compare_closely(altered, FACE, laid) == Alterations(WRITTEN_ON, 0)
        turned = overlay(FACE, altered)[1]
        assert compare_closely(FACE, altered, turned) == Alterations(0, WRITTEN_ON)


def test_a_sharp_image_is_not_written_on_where_its_copy_is_blurred() -> None:
    blurred = FACE.copy()
    blurred[50:80, 30:130] = cv2.GaussianBlur(blurred[50:80, 30:130], (0, 0), 8)
    assert compare_closely(FACE, blurred, overlay(FACE, blurred)[1]) == Alterations(0, 0)


def test_a_darker_copy_is_not_altered() -> None:
    darker = (FACE * 0.6).astype(np.uint8)
    views, laid = overlay(FACE, darker)
    assert not may_be_written_on(views.larges[0], views.larges[1], laid)
    assert measure_cuts(laid) == Alterations(0, 0)


def test_the_part_of_an_image_loses_on_either_side() -> None:
    part = np.ascontiguousarray(FACE[8:-8, 8:-8])
    assert measure_cuts(overlay(FACE, part)[1]) == Alterations(0, CUT)
    assert measure_cuts(overlay(part, FACE)[1]) == Alterations(CUT, 0)


def test_a_mirrored_part_lies_over_the_image() -> None:
    photo = np.ascontiguousarray(np.hstack([FACE, FACE[:, :60] // 2]))
    part = np.ascontiguousarray(photo[8:, 11:][:, ::-1])
    views, laid = overlay(part, photo)
    one, other = laid.lay(views.larges[0], views.larges[1])
    inner = slice(6, -6)
    correlation = np.corrcoef(one[inner, inner].ravel(), other[inner, inner].ravel())[0, 1]
    assert laid.is_mirrored and correlation > 0.95
