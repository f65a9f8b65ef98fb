"""The measures equal the formulas of their sources and follow the ladders of their docstrings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest

from faceprep.core.arrays import Pixels
from faceprep.synthetic import draw_face
from faceprep.vision import quality
from faceprep.vision.codec import decode, encode
from faceprep.vision.quality import MEASURES, measure_crop
from tests.real import DATA, needs_data

DRAWN = [draw_face(identity, 0)[0] for identity in range(8)]
SHARPNESS = (
    "laplacian_variance",
    "laplacian_count",
    "tenengrad",
    "brenner",
    "smd",
    "smd2",
    "variance",
    "vollath",
)
LIGHT = ("brightness", "contrast", "dark_share", "bright_share")
COUNT = "laplacian_count_256"


def android_count(crop: Pixels) -> int:
    """Count as the Android code does: pixel by pixel, in double precision, truncated."""
    scaled = cv2.resize(crop, (256, 256))
    grey = [
        [int(float(r) * 0.3 + float(g) * 0.59 + float(b) * 0.11) for r, g, b in row]
        for row in scaled.tolist()
    ]
    kernel, n = ((0, 1, 0), (1, -4, 1), (0, 1, 0)), 0
    for y in range(254):
        for x in range(254):
            total = sum(grey[y + i][x + j] * kernel[i][j] for i in range(3) for j in range(3))
            n += total > 50
    return n


@pytest.mark.parametrize("shape", [(112, 112), (256, 256), (80, 60)])
def test_the_count_is_that_of_the_android_code(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)
    for crop in (noise, cv2.resize(DRAWN[0], shape[::-1])):
        assert measure_crop(crop)[COUNT] == android_count(crop)


def test_the_count_is_one_sided() -> None:
    dark, bright = np.full((256, 256, 3), 200, np.uint8), np.full((256, 256, 3), 20, np.uint8)
    dark[100, 100], bright[100, 100] = 0, 255
    assert (measure_crop(dark)[COUNT], measure_crop(bright)[COUNT]) == (1, 4)


def test_values_are_those_of_their_formulas() -> None:
    crop = DRAWN[0]
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    values = grey.astype(float)
    laplacian = cv2.Laplacian(grey, cv2.CV_64F)
    right, below = np.abs(np.diff(values, axis=1))[:-1], np.abs(np.diff(values, axis=0))[:, :-1]
    gradients = cv2.Sobel(values, cv2.CV_64F, 1, 0) ** 2 + cv2.Sobel(values, cv2.CV_64F, 0, 1) ** 2
    expected = {
        "laplacian_variance": laplacian.var(),
        "laplacian_count": (np.abs(laplacian) > 50).sum(),
        "tenengrad": gradients.mean(),
        "brenner": ((values[:, 2:] - values[:, :-2]) ** 2).mean(),
        "smd": right.mean() + below.mean(),
        "smd2": (right * below).mean(),
        "variance": values.var(),
        "vollath": (values[:, 1:] * values[:, :-1]).mean() - values.mean() ** 2,
        "brightness": values.mean(),
        "contrast": np.subtract(*np.percentile(grey, [95, 5], method="inverted_cdf")) / 255,
        "dark_share": (grey <= 5).mean(),
        "bright_share": (grey >= 250).mean(),
    }
    found = measure_crop(crop)
    assert tuple(found) == MEASURES == (*SHARPNESS, *LIGHT, COUNT)
    for name in expected:
        assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-9), name


def photos() -> list[Pixels]:
    paths = sorted(DATA.glob("orl/*/1.pgm"))
    return [cv2.resize(decode(path.read_bytes()), (112, 112)) for path in paths]


def blurred(face: Pixels) -> Iterator[Pixels]:
    yield face
    yield from (cv2.GaussianBlur(face, (0, 0), sigma) for sigma in (0.6, 1.0, 1.5, 2.2, 3.2, 4.5))


def noisy(face: Pixels) -> Iterator[Pixels]:
    noise = np.random.default_rng(0).normal(0, 1, face.shape)
    yield from (
        np.clip(face + noise * sigma, 0, 255).astype(np.uint8) for sigma in (0, 3, 6, 12, 20, 30)
    )


def shrunk(face: Pixels) -> Iterator[Pixels]:
    yield face
    for scale in (0.75, 0.5, 0.33, 0.25, 0.15):
        small = cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def pressed(face: Pixels) -> Iterator[Pixels]:
    yield from (decode(encode(face, ".jpg", quality)) for quality in (95, 80, 60, 40, 20, 10, 5))


FALLS_WITH_SIZE = set(SHARPNESS) - {"laplacian_count"}
RISES_WITH_NOISE = set(SHARPNESS) - {"laplacian_count", "vollath"}


def measure_crops(crops: Iterable[Pixels]) -> dict[str, np.ndarray]:
    rows = [measure_crop(crop) for crop in crops]
    return {name: np.array([row[name] for row in rows]) for name in MEASURES}


def check_ladders(faces: list[Pixels]) -> None:
    for face in faces:
        blur, size, noise = (measure_crops(ladder(face)) for ladder in (blurred, shrunk, noisy))
        for name in SHARPNESS:
            assert (
                all(a >= b for a, b in pairwise(blur[name])) and blur[name][0] > blur[name][-1]
            ), name
        for name in FALLS_WITH_SIZE:
            assert (
                all(a >= b for a, b in pairwise(size[name])) and size[name][0] > size[name][-1]
            ), name
        for name in RISES_WITH_NOISE:
            assert (
                all(a <= b for a, b in pairwise(noise[name])) and noise[name][0] < noise[name][-1]
            ), name
        few = face.shape[0] * face.shape[1] * 0.02
        assert all(a >= b - few for a, b in pairwise(blur[COUNT]))
        assert all(a >= b - few for a, b in pairwise(size[COUNT]))
        assert all(a <= b + few for a, b in pairwise(noise[COUNT]))
        assert all(a >= b - few for a, b in pairwise(size["laplacian_count"]))
        assert all(a <= b + few for a, b in pairwise(noise["laplacian_count"]))


def test_ladders_of_drawn_faces() -> None:
    check_ladders(DRAWN)


@needs_data
def test_ladders_of_photos() -> None:
    faces = photos()
    assert len(faces) == 20
    check_ladders(faces)


def test_where_there_is_no_order_there_is_none() -> None:
    """Find a face that proves each warning of the docstrings."""
    jpeg = [measure_crops(pressed(face)) for face in DRAWN]
    for name in MEASURES[:-2]:
        assert any(np.unique(np.sign(np.diff(found[name]))).size > 1 for found in jpeg), name
    noise = [measure_crops(noisy(face))["vollath"] for face in DRAWN]
    assert any(np.unique(np.sign(np.diff(found))).size > 1 for found in noise)


def test_every_docstring_says_how_it_behaves() -> None:
    for name in (*SHARPNESS, "contrast", "brightness"):
        doc = " ".join((getattr(quality, name).__doc__ or "").split())
        assert "order" in doc and (name in LIGHT or ("Falls with blur" in doc and "JPEG" in doc)), (
            name
        )


def test_light() -> None:
    dark, bright = np.zeros((20, 20, 3), np.uint8), np.full((20, 20, 3), 255, np.uint8)
    half = np.concatenate([dark, bright])
    found = measure_crops([dark, bright, half])
    assert found["brightness"].tolist() == [0, 255, 127.5]
    assert found["dark_share"].tolist() == [1, 0, 0.5] and found["bright_share"].tolist() == [
        0,
        1,
        0.5,
    ]
    assert found["contrast"].tolist() == [0, 0, 1]


def test_crops_do_not_depend_on_each_other_nor_on_their_size() -> None:
    crops = [*DRAWN[:3], DRAWN[0][:96, :60], draw_face(1, 1, 224)[0]]
    together = measure_crops(crops)
    for i, crop in enumerate(crops):
        assert {name: together[name][i] for name in MEASURES} == measure_crop(crop)
