"""The best copy stays, and images that only share a thumbnail are not copies."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from faceprep.core.arrays import Pixels
from faceprep.core.embeddings import EUCLIDEAN, Embeddings, Model
from faceprep.core.types import UNDECIDED, Outcome
from faceprep.identity.duplicates import NO_IDENTITY, find_duplicates
from faceprep.jobs.dedupe.copies import Named, NamedImage, plan_drops, sign_images
from faceprep.jobs.dedupe.look_alikes import LookAlikes, find_candidates, table_of, with_vectors
from faceprep.synthetic import draw_face
from faceprep.vision.codec import decode, encode
from faceprep.vision.encodings import Encoded, steps_of

FACE = draw_face(1, 1)[0]


def looks(*images: bytes, identities: list[int] | None = None) -> LookAlikes:
    signed = sign_images(
        [NamedImage(i, f"{i}", data) for i, data in enumerate(images)], exact_only=False
    )
    assert not signed.damaged
    return LookAlikes(table_of(signed, np.array(identities or [0] * len(images))))


def best(*images: bytes) -> int:
    """Return the copy that stays; all are copies."""
    kept = find_duplicates(looks(*images).table.images, looks(*images).compare).kept
    assert len(set(kept.tolist())) == 1
    return int(kept[0])


def sized(image: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC))


def pil(image: Pixels, form: str, **options: int) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, form, **options)
        return file.getvalue()


LARGE = draw_face(1, 1, 160)[0]


def test_more_pixels_before_all() -> None:
    large, small = encode(LARGE, ".jpg", 80), encode(sized(LARGE, 80, 80), ".png")
    assert best(encode(sized(LARGE, 112, 112), ".png"), large, small) == 1


@pytest.mark.parametrize("share", [1.5, 2, 3])
def test_an_enlarged_copy_loses(share: float) -> None:
    side = round(112 * share)
    assert best(encode(sized(FACE, side, side), ".png"), encode(FACE, ".png")) == 1


@pytest.mark.parametrize("sigma", [6, 10])
def test_a_noisy_copy_loses(sigma: float) -> None:
    noise = np.random.default_rng(1).normal(0, sigma, FACE.shape)
    noisy = np.clip(FACE + noise, 0, 255).astype(np.uint8)
    assert best(encode(noisy, ".png"), encode(FACE, ".png")) == 1


def framed(image: Pixels) -> Pixels:
    white = (255, 255, 255)
    return np.asarray(cv2.copyMakeBorder(image, 9, 9, 9, 9, cv2.BORDER_CONSTANT, value=white))


CHANGES = {
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "cut": lambda image: np.ascontiguousarray(image[8:-8, 8:-8]),
    "cut at a corner": lambda image: np.ascontiguousarray(image[8:, 8:]),
    "mirrored and cut": lambda image: np.ascontiguousarray(image[:, 8:][:, ::-1]),
    "framed": framed,
    "brighter": lambda image: np.clip(image.astype(int) + 30, 0, 255).astype(np.uint8),
    "darker": lambda image: (image * 0.6).astype(np.uint8),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_are_found_in_both_directions(name: str) -> None:
    changed = encode(CHANGES[name](LARGE), ".jpg", 85)
    look = looks(encode(LARGE, ".png"), changed)
    assert look.compare(0, np.array([1])).all() and look.compare(1, np.array([0])).all()
    assert best(changed, encode(LARGE, ".png")) in (0, 1)


_RELIEF = np.random.default_rng(0).integers(0, 120, (14, 14, 1), np.uint8)
PHOTO = LARGE // 2 + sized(_RELIEF, 160, 160)[..., None]
"""A face with as much relief as a photo has: text changes hashes of smooth drawings too much."""


def written_on(image: Pixels) -> Pixels:
    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    return np.asarray(cv2.putText(image.copy(), "COPYRIGHT", (8, 140), font, 0.6, white, 1))


def logo(image: Pixels) -> Pixels:
    return np.asarray(cv2.rectangle(image.copy(), (70, 10), (100, 25), (20, 20, 20), -1))


def dropped(*images: bytes, identities: list[int] | None = None) -> set[str]:
    """Return the names of the images that a plan drops."""
    names = [f"{number}" for number in range(len(images))]
    look = looks(*images, identities=identities)

    def load(number: int) -> Encoded:
        return Encoded(decode(images[number]), steps_of(images[number]))

    decisions, _ = plan_drops(look, Named(names, ["a", "b"]), load)
    return {each.subject for each in decisions if each.verdict != UNDECIDED}


ALTERED = {
    "written on": written_on,
    "with a logo": logo,
    "cut": CHANGES["cut"],
    "framed": framed,
    "mirrored and written on": lambda image: written_on(np.ascontiguousarray(image[:, ::-1])),
}


@pytest.mark.parametrize("name", ALTERED)
def test_the_original_stays_where_a_copy_is_altered(name: str) -> None:
    original, altered = encode(PHOTO, ".jpg", 90), encode(ALTERED[name](PHOTO), ".png")
    assert dropped(original, altered) == {"1"}
    assert dropped(altered, original) == {"0"}


def test_the_original_stays_where_a_copy_is_saved_again_at_a_higher_quality() -> None:
    original = encode(PHOTO, ".jpg", 85)
    copies = [encode(decode(original), ".jpg", quality) for quality in (93, 97)]
    assert dropped(original, *copies) == {"1", "2"}
    assert dropped(*copies, original) == {"0", "1"}


@pytest.mark.parametrize(("quality", "lower"), [(95, 60), (95, 70), (92, 80)])
def test_the_original_stays_where_a_mirror_image_is_more_compressed(
    quality: int, lower: int
) -> None:
    """The edges of its blocks look like detail."""
    photo = np.asarray(cv2.GaussianBlur(PHOTO, (0, 0), 0.8))
    original = encode(photo, ".jpg", quality)
    mirrored = encode(CHANGES["mirrored"](decode(original)), ".jpg", lower)
    assert dropped(original, mirrored) == {"1"}
    assert dropped(mirrored, original) == {"0"}


@pytest.mark.parametrize(
    ("quality", "form", "higher"),
    [(80, ".jpg", 90), (85, ".jpg", 95), (90, ".jpg", 95), (90, ".png", 0)],
)
def test_the_original_stays_where_a_mirror_image_is_saved_at_a_higher_quality(
    quality: int, form: str, higher: int
) -> None:
    """The mirror image has only the detail of the original."""
    original = encode(PHOTO, ".jpg", quality)
    mirrored = encode(CHANGES["mirrored"](decode(original)), form, higher)
    assert dropped(original, mirrored) == {"1"}
    assert dropped(mirrored, original) == {"0"}


def test_the_original_stays_among_copies_that_are_altered_in_two_ways() -> None:
    copies = [encode(each, ".png") for each in (written_on(PHOTO), logo(PHOTO))]
    assert dropped(*copies, encode(PHOTO, ".jpg", 90), encode(PHOTO, ".jpg", 60)) == {"0", "1", "3"}


def test_what_happens_in_another_identity_does_not_count() -> None:
    altered, worse = encode(written_on(PHOTO), ".png"), encode(written_on(PHOTO), ".jpg", 30)
    images = encode(PHOTO, ".png"), altered, altered, worse
    assert dropped(*images, identities=[0, 0, 1, 1]) == {"1", "3"}


def test_an_image_that_is_lost_meanwhile_costs_nothing() -> None:
    images = encode(PHOTO, ".jpg", 90), encode(written_on(PHOTO), ".png")
    decisions, _ = plan_drops(looks(*images), Named(["0", "1"], ["a"]), lambda number: None)
    assert len(decisions) == 1


def test_full_colour_before_grey_and_palettes() -> None:
    grey = np.asarray(cv2.cvtColor(cv2.cvtColor(FACE, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
    palette = io.BytesIO()
    Image.fromarray(FACE).quantize(256).save(palette, "png")
    gif = io.BytesIO()
    Image.fromarray(FACE).quantize(64).save(gif, "gif")
    assert (
        best(palette.getvalue(), encode(grey, ".png"), encode(FACE, ".jpg", 80), gif.getvalue())
        == 2
    )


def test_detail_before_bytes_before_names() -> None:
    blurred = np.asarray(cv2.GaussianBlur(FACE, (0, 0), 1.2))
    jpeg, large = encode(FACE, ".jpg", 90), encode(blurred, ".jpg", 100)
    assert len(large) > len(jpeg) and best(large, jpeg) == 1
    again = jpeg[:2] + b"\xff\xfe\x00\x04hi" + jpeg[2:]  # a comment: more bytes, the same pixels
    assert best(jpeg, again) == 1
    other = jpeg[:2] + b"\xff\xfe\x00\x04ho" + jpeg[2:]
    assert best(again, other) == best(other, again) == 0


@pytest.mark.parametrize("size", [(112, 96), (80, 112), (60, 60)])
def test_stretched_to_another_shape_is_a_copy(size: tuple[int, int]) -> None:
    look = looks(encode(FACE, ".png"), encode(sized(FACE, *size), ".bmp"))
    assert look.compare(0, np.array([1])).all() and look.compare(1, np.array([0])).all()


def test_flat_pictures_are_no_copies() -> None:
    flat = encode(np.full((9, 9, 3), 5, np.uint8), ".png")
    assert (
        not looks(flat, encode(np.full((9, 9, 3), 6, np.uint8), ".png"))
        .compare(0, np.array([1]))
        .any()
    )


def test_what_cannot_be_read_is_named() -> None:
    images = [
        NamedImage(3, "a", b"hello"),
        NamedImage(5, "b", Outcome("b", "truncated", "b: cut")),
        NamedImage(7, "c", b""),
    ]
    for exact_only in (False, True):
        signed = sign_images(images, exact_only)
        assert len(signed) == 0 and {
            number: told[0] for number, told in signed.damaged.items()
        } == {3: "undecodable", 5: "truncated", 7: "undecodable"}
        assert signed.damaged[5][1] == "b: cut"


def test_pixels_are_no_part_of_exactness(tmp_path: Path) -> None:
    png = encode(FACE, ".png")
    signed = sign_images(
        [NamedImage(0, "a", png), NamedImage(1, "b", png), NamedImage(2, "c", pil(FACE, "png"))],
        True,
    )
    digests = signed.rows["digest"]
    assert (digests[0] == digests[1]).all() and (digests[0] != digests[2]).any()
    assert (decode(png) == decode(pil(FACE, "png"))).all()


# Vectors


def test_vectors_are_asked_for_copies_alone_and_once_a_content() -> None:
    copy, other = encode(FACE, ".jpg", 80), encode(draw_face(2, 2)[0], ".png")
    table = looks(encode(FACE, ".png"), copy, copy, other, identities=[0, 0, 1, 0]).table
    assert find_candidates(table).tolist() == [0, 1]


@pytest.mark.parametrize("metric", ["cosine", EUCLIDEAN])
def test_vectors_decide_between_the_source_and_not_with_test_images(metric: str) -> None:
    images = [encode(FACE, ".jpg", quality) for quality in (95, 90, 80, 70)]
    table = looks(*images, identities=[0, 0, 0, NO_IDENTITY]).table
    vectors = np.array([[1, 0], [0.999, 0.0447], [0, 1]], np.float32) * (
        3 if metric == "cosine" else 1
    )
    look = with_vectors(
        table,
        np.array([0, 1, 2]),
        Embeddings(["0", "1", "2"], [""] * 3, vectors, Model(metric=metric, merge_from=0.9)),
    )
    assert look.compare(0, np.array([1, 2, 3])).tolist() == [True, False, True]
    assert look.likeness(0, np.array([1]))[0] == pytest.approx(0.999, abs=1e-3)


def test_without_a_vector_an_image_is_nobodys_copy() -> None:
    table = looks(encode(FACE, ".jpg", 95), encode(FACE, ".jpg", 90)).table
    none = Embeddings(["0"], [""], np.ones((1, 2), np.float32), Model())
    assert with_vectors(table, np.array([0, 1]), none).compare(0, np.array([1])).tolist() == [False]
