"""Each template puts the face where its field's trainers expect it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.arrays import Doubles
from faceprep.core.errors import OptionError
from faceprep.core.faces import Faces
from faceprep.core.landmarks import ARCFACE_112, apply_transforms
from faceprep.synthetic import draw_face
from faceprep.vision.align import crop
from faceprep.vision.templates import (
    EXAMPLES,
    KINDS,
    check_faces,
    crop_transforms,
    load_template,
    map_template,
)

BOX = np.array([[20.0, 30.0, 100.0, 90.0]])


def one_face(landmarks: Doubles = ARCFACE_112, boxes: Doubles = BOX) -> Faces:
    return Faces(boxes.astype("f4"), landmarks[None].astype("f4"), np.ones(1, "f4"))


def where(name: str, points: Doubles, faces: Faces) -> Doubles:
    return apply_transforms(points[None], crop_transforms(faces, load_template(name)))[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("arcface-112", ARCFACE_112),
        ("arcface-224", ARCFACE_112 * 2),
        ("arcface-128", ARCFACE_112 + [8, 0]),
        ("arcface-256", (ARCFACE_112 + [8, 0]) * 2),
        ("arcface-896", ARCFACE_112 * 8),
        ("arcface-160", ARCFACE_112 * (160 / 112)),
        ("arcface-100", ARCFACE_112 * (100 / 112)),
        ("arcface-112x96", ARCFACE_112 - [8, 0]),
        ("arcface-224x192", (ARCFACE_112 - [8, 0]) * 2),
    ],
)
def test_sizes_of_arcface(name: str, expected: Doubles) -> None:
    """Follow InsightFace: 112k, then 128k with 8 pixels in x; 112 × 96 loses 8 on either side."""
    assert np.abs(where(name, ARCFACE_112, one_face()) - expected).max() < 1e-4


def test_every_example_can_be_loaded_and_cropped() -> None:
    image, landmarks = draw_face(1, 1)
    assert {name.partition("-")[0].rstrip("12.57") for name in EXAMPLES} == set(KINDS)
    for name in EXAMPLES:
        template = load_template(name)
        faces = one_face(landmarks.astype(float))
        assert template.name == name and check_faces(faces, template) == [""]
        (transform,) = crop_transforms(faces, template, image.shape[:2])
        assert np.linalg.det(transform[:, :2]) > 0
        assert crop(image, transform, template.size).shape == (*template.size, 3)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "arcface",
        "arcface-",
        "arcface-100x90",
        "arcface-112x112x3",
        "arcface-96x112",
        "arcface2-112",
        "mtcnn-112",
    ]
    + [
        "box-256",
        "box0-256",
        "box1.5-256x128",
        "box1.5-0",
        "ffhq-7",
        "ffhq-٣٢",
        "dlib-150x96",
        "eyes-1x2",
        "box1.5-99999",
        "patch-80",
        "patch0-80",
        "patch2.7-4",
    ],
)
def test_unknown_names_and_sizes_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match="template .*expected"):
        load_template(name)


def test_box_crops_are_those_of_slicing_and_resizing() -> None:
    """Get the pixels of slicing with integer edges, as the field cuts crops.

    They differ only in the margin, where resizing repeats the edge.
    """
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8), (0, 0), 3
    )
    (transform,) = crop_transforms(
        one_face(boxes=np.array([[60.0, 70.0, 140.0, 150.0]])), load_template("box1.5-240")
    )
    expected = cv2.resize(image[50:170, 40:160], (240, 240), interpolation=cv2.INTER_LINEAR)
    assert np.abs(crop(image, transform, (240, 240)).astype(int) - expected)[1:-1, 1:-1].max() <= 1


def test_box_crops_are_square_and_black_outside() -> None:
    faces = one_face(boxes=np.array([[0.0, 0.0, 60.0, 100.0]]))
    pixels = crop(
        np.full((100, 60, 3), 200, np.uint8),
        crop_transforms(faces, load_template("box2-80"))[0],
        (80, 80),
    )
    assert (
        (pixels[21:59, 29:51] == 200).all() and not pixels[:19].any() and not pixels[:, :27].any()
    )


@given(st.floats(-80, 80), st.floats(0.3, 4))
def test_ffhq_square_is_that_of_its_builder(angle: float, scale: float) -> None:
    """Compute the corners by the published rule, step by step."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (ARCFACE_112 @ turn.T * scale + 500).astype("f4").astype(float)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    x = points[1] - points[0] - np.flipud(mouth - eyes) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*(points[1] - points[0])) * 2.0, np.hypot(*(mouth - eyes)) * 1.8)
    y = np.flipud(x) * [-1, 1]
    centre = eyes + (mouth - eyes) * 0.1
    quad = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    corners = where("ffhq-256", quad, one_face(points))
    assert np.abs(corners + 0.5 - [(0, 0), (0, 256), (256, 256), (256, 0)]).max() < 1e-3


def test_eye_distance_crop() -> None:
    points = ARCFACE_112.copy()
    points[:2] = [(100, 80), (150, 80)]
    corners = np.array([(125 - 2.3 * 50, 80 - 1.6 * 50), (125 + 2.3 * 50, 80 + 3.0 * 50)])
    assert (
        np.abs(where("eyes-256", corners, one_face(points)) + 0.5 - [(0, 0), (256, 256)]).max()
        < 1e-4
    )


def test_what_cannot_be_cropped_is_told_and_has_no_transform() -> None:
    faces = Faces(
        np.array([(10, 10, 10, 40), (40, 0, 10, 30), (0, 0, np.nan, 5), (0, 0, 9, 9)], "f4"),
        np.stack(
            [ARCFACE_112 * 0, ARCFACE_112 * np.inf, ARCFACE_112 * [-1, 1], ARCFACE_112]
        ).astype("f4"),
        np.ones(4, "f4"),
    )
    by_box = check_faces(faces, load_template("box1.5-256"))
    assert by_box == [
        "degenerate box: 10 10 10 40",
        "degenerate box: 40 0 10 30",
        "degenerate box: 0 0 nan 5",
        "",
    ]
    by_points = check_faces(faces, load_template("ffhq-256"))
    assert [fault.partition(" ")[0] for fault in by_points] == [
        "degenerate",
        "degenerate",
        "mirrored",
        "",
    ]
    for name in EXAMPLES:
        transforms = crop_transforms(faces, load_template(name), (500, 500))
        assert transforms.shape == (4, 2, 3) and np.isfinite(transforms[3]).all()
    assert np.isnan(crop_transforms(faces, load_template("eyes-64"))[:2]).all()


# From one template to another

POINTS = ["arcface-112", "arcface-224", "arcface-128", "arcface-112x96", "dlib-150", "dlib-256"]


@pytest.mark.parametrize("source", POINTS)
@pytest.mark.parametrize("target", POINTS)
def test_points_of_one_template_map_near_those_of_another(source: str, target: str) -> None:
    """Fit by least squares; the points of the two differ in shape by a few per cent."""
    a, b = load_template(source), load_template(target)
    assert a.points is not None and b.points is not None
    moved = apply_transforms([a.points], [map_template(a, b)])[0]
    assert np.abs(moved - b.points).max() < 0.04 * b.size[0]
    if source[:4] == target[:4]:
        assert np.abs(moved - b.points).max() < 1e-9


def test_mapping_there_and_back_is_the_identity() -> None:
    a, b = load_template("arcface-128"), load_template("arcface-112")
    there, back = (
        np.vstack([each, [0, 0, 1]]) for each in (map_template(a, b), map_template(b, a))
    )
    assert np.allclose(there @ back, np.eye(3), atol=1e-9)


def test_other_sizes_are_the_template_enlarged_or_fitted_into_it() -> None:
    a, b = load_template("arcface-112"), load_template("dlib-150")
    assert a.points is not None
    whole = apply_transforms([a.points], [map_template(a, b)])
    assert np.allclose(apply_transforms([a.points * 3], [map_template(a, b, (336, 336))]), whole)
    corners = apply_transforms([[(0, 0), (100, 50)]], [map_template(a, a, (50, 100))])
    assert np.allclose(corners, [[(0, 28), (112, 84)]])


def test_templates_without_points_only_map_to_themselves() -> None:
    box = load_template("box1.5-256")
    assert np.allclose(map_template(box, box, (128, 128)), [(2, 0, 0), (0, 2, 0)])
    small = load_template("box1.5-128")
    transforms = [crop_transforms(one_face(), each) for each in (box, small)]
    points = apply_transforms([[(0.0, 0.0), (255.0, 9.0)]], [map_template(box, small)])
    back = [np.linalg.inv(np.vstack([each[0], (0, 0, 1)]))[:2] for each in transforms]
    wanted = apply_transforms([[(0.0, 0.0), (255.0, 9.0)]], [back[0]])
    assert np.allclose(apply_transforms(points, [back[1]]), wanted), "the same place of the image"
    for pair in ((box, load_template("arcface-112")), (load_template("arcface-112"), box)):
        with pytest.raises(OptionError, match="cannot be converted to"):
            map_template(*pair)
