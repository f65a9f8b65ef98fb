"""Changed copies of real photos are found, and no two photos pass for copies."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from faceprep.core.arrays import Pixels
from faceprep.synthetic import draw_face
from faceprep.vision.codec import decode, encode
from faceprep.vision.copy_views import Views, hash_views
from faceprep.vision.part_summary import summarize_parts
from tests.real import DATA, needs_data


def views(images: list[Pixels]) -> Views:
    found = [summarize_parts(image) for image in images]
    larges = np.stack([each.large for each in found])
    return Views(larges, hash_views(larges), np.array([each.is_trimmed for each in found]))


def changed(photo: Pixels) -> Iterator[tuple[str, Pixels]]:
    height, width = photo.shape[:2]
    top, left = round(0.05 * height), round(0.05 * width)
    yield "mirrored", photo[:, ::-1]
    yield "cut", photo[top:-top, left:-left]
    yield "cut at a corner", photo[top:, left:]
    white = (255, 255, 255)
    yield "framed", cv2.copyMakeBorder(photo, 8, 8, 8, 8, cv2.BORDER_CONSTANT, value=white)
    place, font = (5, round(0.9 * height)), cv2.FONT_HERSHEY_SIMPLEX
    yield "written on", cv2.putText(photo.copy(), "COPYRIGHT", place, font, 0.45, white, 1)
    yield "brighter", np.clip(photo.astype(int) + 40, 0, 255).astype(np.uint8)
    yield "darker", (photo * 0.6).astype(np.uint8)


@pytest.fixture(scope="module")
def photos() -> list[Pixels]:
    return [decode(path.read_bytes()) for path in sorted((DATA / "orl").glob("*/*.pgm"))]


@needs_data
def test_changed_copies_of_photos_are_found(photos: list[Pixels]) -> None:
    found: dict[str, list[bool]] = {}
    for photo in photos[::4]:
        copies = [(name, np.ascontiguousarray(copy)) for name, copy in changed(photo)]
        jpegs = [decode(encode(copy, ".jpg", 85)) for _, copy in copies]
        matches = views([photo, *jpegs]).match(0, np.arange(1, len(copies) + 1))
        for (name, _), match in zip(copies, matches, strict=True):
            found.setdefault(name, []).append(match is not None)
    shares = {name: float(np.mean(each)) for name, each in found.items()}
    assert shares.pop("mirrored") >= 0.95
    assert min(shares.values()) >= 0.9, shares


@needs_data
def test_no_two_photos_pass_for_copies(photos: list[Pixels]) -> None:
    """All pairs of photos of each person are compared, near hashes or not."""
    all_views = views(photos)
    for first in range(0, len(photos), 10):
        for image in range(first + 1, first + 10):
            assert all_views.match(image, np.arange(first, image)) == [None] * (image - first)


@needs_data
def test_two_photos_in_the_same_frame_are_not_copies(photos: list[Pixels]) -> None:
    """The frame agrees in any case, so only what is inside may count."""
    white = (255, 255, 255)
    framed = [
        cv2.copyMakeBorder(photo, 8, 8, 8, 8, cv2.BORDER_CONSTANT, value=white) for photo in photos
    ]
    all_views = views(framed[:100])
    for first in range(0, 100, 10):
        for image in range(first + 1, first + 10):
            assert all_views.match(image, np.arange(first, image)) == [None] * (image - first)


@needs_data
def test_blends_of_two_people_are_not_copies(photos: list[Pixels]) -> None:
    """Each person is blended with the next one: new people with a series of ten each."""
    blends = [
        cv2.addWeighted(one, 0.5, other, 0.5, 0)
        for one, other in zip(photos, photos[10:], strict=False)
    ]
    all_views = views(blends)
    for image in range(1, len(blends)):
        others = np.arange(max(image - 20, 0), image)
        assert all_views.match(image, others) == [None] * len(others)


def test_a_flat_background_is_not_a_border() -> None:
    assert not any(summarize_parts(draw_face(number, 0)[0]).is_trimmed for number in range(8))


def test_hashes_do_not_depend_on_the_batch() -> None:
    larges = np.stack([summarize_parts(draw_face(number, 0)[0]).large for number in range(6)])
    together = hash_views(larges)
    assert np.array_equal(np.concatenate([hash_views(one[None]) for one in larges]), together)
    assert hash_views(larges[:0]).shape == (0, 12)
