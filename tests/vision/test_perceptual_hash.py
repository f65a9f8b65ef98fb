"""Copies agree, other photos do not; the same bits on every machine and in any batch."""

from __future__ import annotations

import io
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image

from faceprep.core.arrays import Pixels, Thumbnails
from faceprep.identity.duplicates import RADIUS
from faceprep.synthetic import draw_face
from faceprep.vision.codec import decode, encode
from faceprep.vision.perceptual_hash import (
    MIN_AGREEMENT,
    compute_gradients,
    hash_thumbnails,
    measure_detail,
    summarize_image,
)
from tests.real import DATA, needs_data


def copies(image: Pixels) -> Iterator[Pixels]:
    for quality in (95, 85, 75, 60, 50, 40):
        yield decode(encode(image, ".jpg", quality))
    for share in (0.5, 0.75, 1.5, 2):
        how = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
        sized = np.asarray(cv2.resize(image, None, fx=share, fy=share, interpolation=how))
        yield from (sized, decode(encode(sized, ".jpg", 75)))
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "webp", quality=50)
        yield decode(file.getvalue())
    yield np.clip(image * 0.8 + 20, 0, 255).astype(np.uint8)


def thumbnails(images: list[Pixels]) -> Thumbnails:
    return np.stack([summarize_image(image).thumbnail for image in images])


def distances(one: Thumbnails, others: Thumbnails) -> list[int]:
    first = int(hash_thumbnails(one[None])[0])
    return [(first ^ int(other)).bit_count() for other in hash_thumbnails(others)]


def check(photos: list[Pixels], share: float) -> None:
    """Check that `share` of the copies is found, and that no two photos pass for copies."""
    small = thumbnails(photos)
    found: list[bool] = []
    for photo, own in zip(photos, small, strict=True):
        others = thumbnails([*copies(photo)])
        agreement = (compute_gradients(own[None]) @ compute_gradients(others).T)[0]
        found += [
            d <= RADIUS and a >= MIN_AGREEMENT
            for d, a in zip(distances(own, others), agreement, strict=True)
        ]
    assert np.mean(found) >= share
    agreement = np.triu(compute_gradients(small) @ compute_gradients(small).T, 1)
    assert agreement.max() < MIN_AGREEMENT


def test_copies_of_drawn_faces_agree() -> None:
    check([draw_face(identity, image, 160)[0] for identity in range(6) for image in range(3)], 0.85)


@needs_data
def test_copies_of_photos_agree() -> None:
    check([decode(path.read_bytes()) for path in sorted((DATA / "orl").glob("*/*.pgm"))[::2]], 1)


def test_mirrored_cut_and_turned_images_are_not_copies() -> None:
    face = draw_face(1, 1)[0]
    others = [face[:, ::-1], face[8:-8, 8:-8], np.rot90(face), np.roll(face, 4, axis=1)]
    agreement = (
        compute_gradients(thumbnails([face]))
        @ compute_gradients(thumbnails([np.ascontiguousarray(other) for other in others])).T
    )
    assert agreement.max() < MIN_AGREEMENT


def test_hashes_do_not_depend_on_the_batch() -> None:
    small = thumbnails([draw_face(identity, 0)[0] for identity in range(20)])
    together = hash_thumbnails(small)
    assert [int(hash_thumbnails(one[None])[0]) for one in small] == together.tolist()
    assert hash_thumbnails(small[:0]).shape == (0,)


def test_hashes_are_these() -> None:
    """Hold the hashes on every machine, because files may store them."""
    y, x = np.mgrid[:24, :24]
    pictures = [(x * x + 3 * y * y) % 251, (x * y) % 256, 100 + 50 * ((x // 6 + y // 6) % 2)]
    found = hash_thumbnails(np.stack(pictures).astype(np.uint8))
    assert [f"{value:016x}" for value in found.tolist()] == HASHES


HASHES = ["1a331236f6e5c599", "66d9b66853a4a94a", "0a000a00a000a000"]


def test_next_to_no_contrast_is_faint() -> None:
    flat = np.full((112, 112, 3), 128, np.uint8)
    noisy = np.random.default_rng(0).normal(128, 12, (112, 112, 3)).clip(0, 255).astype(np.uint8)
    assert [summarize_image(image).is_faint for image in (flat, noisy, draw_face(1, 1)[0])] == [
        True,
        True,
        False,
    ]
    assert not compute_gradients(thumbnails([flat])).any()


@pytest.mark.parametrize("size", [(4, 4), (5, 400), (24, 24), (1000, 30)])
def test_any_size_and_shape(size: tuple[int, int]) -> None:
    small = summarize_image(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    assert (
        small.thumbnail.shape == (24, 24) and small.thumbnail.dtype == np.uint8 and small.has_colour
    )


def test_colour_is_seen_and_what_jpeg_makes_of_grey_is_not() -> None:
    face = draw_face(1, 1)[0]
    grey = np.repeat(face[:, :, :1], 3, axis=2)
    assert summarize_image(face).has_colour
    assert not summarize_image(decode(encode(grey, ".jpg", 40))).has_colour


def test_detail_falls_with_blur_and_hardly_with_jpeg() -> None:
    face = draw_face(1, 1)[0]
    blurred = [cv2.GaussianBlur(face, (0, 0), sigma) for sigma in (1, 2, 4)]
    steps = [summarize_image(np.asarray(image)).detail for image in (face, *blurred)]
    assert steps == sorted(steps, reverse=True) and len(set(steps)) == 4
    assert abs(summarize_image(decode(encode(face, ".jpg", 75))).detail - steps[0]) <= 1
    assert measure_detail(np.zeros((4, 4), np.uint8)) < -20
