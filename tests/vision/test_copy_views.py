"""Changed copies of real photos are found, and no two photos pass for copies."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from faceprep.core.arrays import Pixels
from faceprep.synthetic import draw_face
from faceprep.vision.codec import decode, encode
from faceprep.vision.copy_views import Views, hash_views, view_images
from faceprep.vision.part_summary import NO_BORDER, summarize_parts
from tests.real import DATA, needs_data


def views(images: list[Pixels]) -> Views:
    found = [summarize_parts(image) for image in images]
    borders = np.array([each.border for each in found])
    heights, widths = np.array([image.shape[:2] for image in images]).T
    return view_images(np.stack([each.large for each in found]), borders, heights, widths)


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


def crop_like(photo: Pixels) -> Pixels:
    """Return a crop as of a face at the edge of a dark photo: black at two sides."""
    crop = cv2.resize(photo, (106, 112), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.copyMakeBorder(crop, 0, 0, 2, 4, cv2.BORDER_CONSTANT, value=(0, 0, 0)))


@needs_data
def test_changed_copies_of_crops_with_black_sides_are_found(photos: list[Pixels]) -> None:
    """Black sides may pass for a border, or merge with one."""
    shares: dict[str, list[bool]] = {}
    for photo in photos[1::8]:
        crop = crop_like(photo)
        copies = [(name, np.ascontiguousarray(copy)) for name, copy in changed(crop)]
        jpegs = [decode(encode(copy, ".jpg", 85)) for _, copy in copies]
        matches = views([crop, *jpegs]).match(0, np.arange(1, len(copies) + 1))
        for (name, _), match in zip(copies, matches, strict=True):
            shares.setdefault(name, []).append(match is not None)
    assert min(float(np.mean(each)) for each in shares.values()) >= 0.9, shares


@needs_data
def test_photos_with_a_bar_or_a_large_mark_are_found(photos: list[Pixels]) -> None:
    """A black bar over the eyes has stronger edges than the face; a mark crosses it."""
    found = []
    for photo in photos[2::8]:
        bar = cv2.rectangle(photo.copy(), (23, 37), (69, 56), (0, 0, 0), -1)
        mark = cv2.putText(photo.copy(), "SAMPLE", (14, 62), 0, 0.65, (255, 255, 255), 2)
        mark = cv2.addWeighted(mark, 0.4, photo, 0.6, 0)
        jpegs = [decode(encode(copy, ".jpg", 85)) for copy in (bar, mark)]
        matches = views([photo, *jpegs]).match(0, np.array([1, 2]))
        found.append([match is not None for match in matches])
    assert np.mean(found, axis=0).min() >= 0.9, found


@needs_data
def test_photos_that_look_shifted_are_not_copies_unless_equal_strips_are_cut(
    photos: list[Pixels],
) -> None:
    """Each strip of an uneven cut may as well be a movement between two photos of a series."""
    photo = photos[0]
    height, width = photo.shape[:2]
    uneven = photo[5 : height - 1, 2 : width - 4]
    even = photo[5 : height - 5, 4 : width - 4]
    found = views([photo, np.ascontiguousarray(uneven), np.ascontiguousarray(even)])
    uneven_match, even_match = found.match(0, np.array([1, 2]))
    assert uneven_match is None and even_match is not None


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
    borders = [summarize_parts(draw_face(number, 0)[0]).border for number in range(8)]
    assert borders == [NO_BORDER] * 8


def test_a_black_frame_is_found_around_black_corners_and_sides() -> None:
    """The frame merges with the black parts of a turned crop, and with its black sides."""
    turn = cv2.getRotationMatrix2D((56, 56), 5, 1)
    turned = np.asarray(cv2.warpAffine(draw_face(2, 0)[0], turn, (112, 112)))
    dark_side = draw_face(3, 0)[0].copy()
    dark_side[:, :16] = 0
    for crop, inner in ((turned, (0, 0, 0, 0)), (dark_side, (17, 0, 0, 0))):
        framed = np.asarray(cv2.copyMakeBorder(crop, 8, 8, 8, 8, cv2.BORDER_CONSTANT))
        assert summarize_parts(crop).border == inner
        apart = np.subtract(summarize_parts(framed).border, inner) - 8
        assert apart.min() >= 0 and apart.max() <= 1


def test_hashes_do_not_depend_on_the_batch() -> None:
    larges = np.stack([summarize_parts(draw_face(number, 0)[0]).large for number in range(6)])
    together = hash_views(larges)
    assert np.array_equal(np.concatenate([hash_views(one[None]) for one in larges]), together)
    assert hash_views(larges[:0]).shape == (0, 12)
