"""A small set in the layout of IJB-B and IJB-C, of drawn faces."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from faceprep.synthetic import draw_face
from faceprep.vision.codec import encode

N_PEOPLE, N_TEMPLATES = 16, 4


class Face(NamedTuple):
    """Image `file` of `person`, in a template and a medium; landmarks and score as in the lists."""

    file: str
    person: int
    template: int
    medium: int
    landmarks: np.ndarray
    score: float


def write_ijb(
    root: Path, prefix: str = "ijbc", galleries: tuple[str, str] = ("G1", "G2")
) -> list[Face]:
    """The first template of each person is in a gallery, the others are probes: each person is in
    one gallery only.

    A template has three images, of which the first two are frames of one video.
    """
    faces, images = _draw()
    (root / "loose_crop").mkdir(parents=True)
    for face, data in zip(faces, images, strict=True):
        (root / "loose_crop" / face.file).write_bytes(data)
    write_lists(root, faces, prefix, galleries)
    return faces


@pytest.fixture(scope="module")
def ijbc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Face]]:
    """The folder of such a set, and its faces."""
    root = tmp_path_factory.mktemp("set") / "IJBC"
    return root, write_ijb(root)


@functools.cache
def _draw() -> tuple[list[Face], list[bytes]]:
    chance, faces, images = np.random.default_rng(5), [], []
    for person, place, image in itertools.product(range(N_PEOPLE), range(N_TEMPLATES), range(3)):
        size, left, top = int(chance.integers(70, 110)), *chance.integers(0, 30, 2).tolist()
        pixels, points = draw_face(person, 10 * place + image, size)
        canvas = np.full((size + 30, size + 40, 3), 80, np.uint8)
        canvas[top : top + size, left : left + size] = pixels
        images.append(encode(canvas, ".jpg"))
        medium = 1000 + 7 * len(faces) - (7 if image == 1 else 0)
        landmarks = (points + (left, top)).astype(np.float32)
        score = float(chance.uniform(0.1, 1))
        faces.append(
            Face(f"{len(faces) + 1}.jpg", person, 10 * person + place + 3, medium, landmarks, score)
        )
    return faces, images


def write_lists(root: Path, faces: list[Face], prefix: str, galleries: tuple[str, str]) -> None:
    meta = root / "meta"
    meta.mkdir()
    lines = [f"{face.file} {face.template} {face.medium}" for face in faces]
    _write(meta / f"{prefix}_face_tid_mid.txt", lines)
    lines = [
        " ".join(
            [face.file, *(f"{x:.3f}" for x in face.landmarks.reshape(-1)), f"{face.score:.6f}"]
        )
        for face in faces
    ]
    _write(meta / f"{prefix}_name_5pts_score.txt", lines)
    person_of = {face.template: face.person for face in faces}
    pairs = itertools.combinations(person_of, 2)
    lines = [f"{a} {b} {int(person_of[a] == person_of[b])}" for a, b in pairs if (a + b) % 3]
    _write(meta / f"{prefix}_template_pair_label.txt", lines)
    head, half = "TEMPLATE_ID,SUBJECT_ID,FILENAME", N_PEOPLE // 2
    rows = {face.file: f'{face.template},{face.person},"img/{face.file}, a crop"' for face in faces}
    first = [face for face in faces if face.template % 10 == 3]
    for name, people in zip(galleries, (range(half), range(half, N_PEOPLE)), strict=True):
        lines = [rows[face.file] for face in first if face.person in people]
        _write(meta / f"{prefix}_1N_gallery_{name}.csv", [head, *lines])
    _write(
        meta / f"{prefix}_1N_probe_mixed.csv",
        [head, *(rows[face.file] for face in faces if face.template % 10 != 3)],
    )


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
