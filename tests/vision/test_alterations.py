"""Writing is told from blur, and each of two copies is judged apart."""

from __future__ import annotations

import cv2
import numpy as np

from faceprep.core.arrays import Pixels
from faceprep.synthetic import draw_face
from faceprep.vision.alterations import CUT, is_written_on, lost_by_cut, may_be_written_on
from faceprep.vision.codec import decode
from faceprep.vision.copy_views import Views, view_images
from faceprep.vision.overlays import Overlay
from faceprep.vision.part_summary import summarize_parts
from tests.real import DATA, needs_data

FACE = draw_face(1, 1, 160)[0]


def overlay(*images: Pixels) -> tuple[Views, Overlay]:
    found = [summarize_parts(image) for image in images]
    larges = np.stack([each.large for each in found])
    heights, widths = np.array([image.shape[:2] for image in images]).T
    views = view_images(larges, np.array([each.border for each in found]), heights, widths)
    return views, views.overlay(0, 1)


def written_on(image: Pixels, level: int = 255) -> Pixels:
    font = cv2.FONT_HERSHEY_SIMPLEX
    return np.asarray(cv2.putText(image.copy(), "SAMPLE", (15, 90), font, 0.6, (level,) * 3, 1))


def test_the_image_that_is_written_on_loses_on_either_side() -> None:
    for level in (0, 255):
        altered = written_on(FACE, level)
        views, laid = overlay(altered, FACE)
        assert may_be_written_on(views.larges[0], views.larges[1], laid)
        assert is_written_on(altered, FACE, laid)
        turned = overlay(FACE, altered)[1]
        assert not is_written_on(FACE, altered, turned)


@needs_data
def test_a_translucent_mark_is_seen_on_real_photos() -> None:
    marked, spared = [], []
    for path in sorted((DATA / "orl").glob("*/*.pgm"))[::10]:
        photo = decode(path.read_bytes())
        veil = cv2.putText(photo.copy(), "SAMPLE", (13, 60), 0, 0.64, (255, 255, 255), 2)
        altered = np.asarray(cv2.addWeighted(veil, 0.4, photo, 0.6, 0))
        marked.append(is_written_on(altered, photo, overlay(altered, photo)[1]))
        spared.append(not is_written_on(photo, altered, overlay(photo, altered)[1]))
    assert np.mean(marked) >= 0.9 and np.mean(spared) >= 0.95


def test_a_sharp_image_is_not_written_on_where_its_copy_is_blurred() -> None:
    blurred = FACE.copy()
    blurred[50:80, 30:130] = cv2.GaussianBlur(blurred[50:80, 30:130], (0, 0), 8)
    assert not is_written_on(FACE, blurred, overlay(FACE, blurred)[1])
    assert not is_written_on(blurred, FACE, overlay(blurred, FACE)[1])


def test_a_darker_copy_is_not_altered() -> None:
    darker = (FACE * 0.6).astype(np.uint8)
    views, laid = overlay(FACE, darker)
    assert not may_be_written_on(views.larges[0], views.larges[1], laid)
    assert lost_by_cut(laid) == 0 == lost_by_cut(overlay(darker, FACE)[1])


def test_the_part_of_an_image_loses_on_either_side() -> None:
    part = np.ascontiguousarray(FACE[8:-8, 8:-8])
    assert lost_by_cut(overlay(FACE, part)[1]) == 0
    assert lost_by_cut(overlay(part, FACE)[1]) == CUT


def test_a_mirrored_part_lies_over_the_image() -> None:
    photo = np.ascontiguousarray(np.hstack([FACE, FACE[:, :60] // 2]))
    part = np.ascontiguousarray(photo[8:, 11:][:, ::-1])
    views, laid = overlay(part, photo)
    one, other = laid.lay(views.larges[0], views.larges[1])
    inner = slice(6, -6)
    correlation = np.corrcoef(one[inner, inner].ravel(), other[inner, inner].ravel())[0, 1]
    assert laid.is_mirrored and correlation > 0.95
