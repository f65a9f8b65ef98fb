"""Crops of faces: their places and faults, their pixels, and their rows in the table."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.core.arrays import Pixels
from faceprep.core.faces import Faces, no_faces
from faceprep.core.landmarks import ARCFACE_112, apply_transforms
from faceprep.core.turns import TURNS, turn_faces_back, turn_image, turn_of
from faceprep.steps.crop_faces import Crop, Places, face_rows, open_cropper
from faceprep.steps.found import Found


def cut(image: Pixels, faces: Faces, template: str, turn: int = 0) -> tuple[Places, list[Crop]]:
    cropper = open_cropper(template)
    (places,) = cropper.place([faces], [(image.shape[0], image.shape[1])], [turn])
    return places, cropper.crop(image, places)


def test_sound_faces_are_cropped_and_the_others_named() -> None:
    points = np.stack(
        [
            ARCFACE_112 + 60,
            np.zeros((5, 2)),
            (ARCFACE_112 + 60) * [-1, 1] + [300, 0],
            ARCFACE_112 + 20,
        ]
    )
    faces = Faces(np.ones((4, 4)), points, np.ones(4))
    image = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    places, crops = cut(image, faces, "arcface-112")
    assert [crop.face for crop in crops] == [0, 3]
    assert [fault.split(":")[0] for fault in places.describe_faults().split("; ")] == [
        "degenerate landmarks",
        "mirrored landmarks",
    ]
    for crop, start in zip(crops, (60, 20), strict=True):
        moved = apply_transforms(points[crop.face][None], crop.transform[None])[0]
        assert np.abs(moved - ARCFACE_112).max() < 1e-3
        difference = crop.pixels.astype(int) - image[start : start + 112, start : start + 112]
        assert np.abs(difference).max() <= 1


def test_rows_say_what_was_cropped() -> None:
    faces = Faces(
        [(1, 2, 3, 4), (5, 6, 7, 8)], np.stack([np.zeros((5, 2)), ARCFACE_112 + 9]), [0.9, 0.8]
    )
    image = np.zeros((150, 200, 3), np.uint8)
    places, crops = cut(image, faces, "arcface-224")
    (row,) = face_rows(
        Found(faces, refiners=("onet", "retinaface")),
        (150, 200),
        places,
        crops,
        ["a/b.c_1.png"],
        source="a/b.c.jpg",
        detector="d",
        template="arcface-224",
    )
    assert (row.key, row.output, row.source, row.image_size) == (
        "a/b.c_1",
        "a/b.c_1.png",
        "a/b.c.jpg",
        (150, 200),
    )
    assert (row.box == (5, 6, 7, 8)).all() and row.score == pytest.approx(0.8) and row.frame is None  # type: ignore[attr-defined]
    assert row.refiner == "retinaface"
    assert (row.transform == crops[0].transform).all() and abs(row.roll or 1) < 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("template", ["arcface-112", "box1.5-64", "patch2.7-80x60", "eyes-64"])
@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_face_has_the_crop_of_the_upright_one(template: str, turn: int) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    points = (ARCFACE_112 + (150, 90)).astype(np.float32)
    faces = Faces(np.array([(155, 95, 250, 200)]), points[None], np.array([0.9]))
    _, ((_, upright, _),) = cut(image, faces, template)
    turned = turn_image(image, -turn % 360)
    there = turn_faces_back(faces, (turned.shape[0], turned.shape[1]), turn)
    _, ((_, pixels, transform),) = cut(turned, there, template, turn)
    assert np.abs(pixels.astype(int) - upright).max() <= 4 and turn_of(transform) == turn


@pytest.mark.parametrize("template", ["arcface-112", "ffhq-64", "patch2.7-80x60"])
def test_faces_of_many_images_are_placed_as_those_of_one(template: str) -> None:
    rng = np.random.default_rng(5)
    images = []
    for n in (3, 0, 1, 4):
        corners = rng.uniform(50, 150, (n, 2))
        boxes = np.hstack([corners, corners + rng.uniform(50, 90, (n, 2))])
        points = ARCFACE_112 * rng.uniform(0.5, 1.5, (n, 1, 1)) + rng.normal(50, 4, (n, 5, 2))
        images.append(Faces(boxes, points, np.ones(n)))
    images[0].landmarks[1] = 0
    sizes, turns = [(300, 300), (100, 90), (280, 320), (400, 200)], [0, 90, 270, 0]
    cropper = open_cropper(template)
    placed = cropper.place(images, sizes, turns)
    assert [len(each.faults) for each in placed] == [3, 0, 1, 4]
    for faces, size, turn, together in zip(images, sizes, turns, placed, strict=True):
        (alone,) = cropper.place([faces], [size], [turn])
        assert together.faults == alone.faults
        assert np.array_equal(together.transforms, alone.transforms, equal_nan=True)
        for name in ("roll", "lean", "yaw"):
            values = getattr(together.pose, name), getattr(alone.pose, name)
            assert np.array_equal(*values, equal_nan=True)


def test_an_image_without_faces_has_no_places() -> None:
    (places,) = open_cropper("arcface-112").place([no_faces()], [(9, 9)], [0])
    assert len(places.transforms) == 0 and places.describe_faults() == "" and not places.sound()
