"""Photos with the faces that were found: those of large tables, and what is drawn on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.core.io.arrow_rows import ROWS_A_BATCH
from faceprep.pages.report.section_marks import marks_section
from faceprep.pages.report.sections import Picture
from faceprep.tables.faces import FaceRow, FacesWriter
from faceprep.vision.marks import draw_faces


class Recorded:
    """Pictures that are only named; it records the faces that are drawn on each."""

    def __init__(self) -> None:
        self.faces: dict[str, int] = {}

    def marked(self, key: str, label: str, faces: list[list[float]]) -> Picture:
        assert all(len(face) == 14 for face in faces)
        self.faces[key] = len(faces)
        return Picture(key, b"", label)


@pytest.mark.parametrize("n_rows", [0, 1, 2 * ROWS_A_BATCH + 5])
def test_examples_go_from_the_lowest_to_the_highest_score(n_rows: int, tmp_path: Path) -> None:
    table = tmp_path / "faces.parquet"
    scores = np.random.default_rng(1).permutation(n_rows) / max(n_rows, 1)
    with open(table, "wb") as file, FacesWriter(file) as writer:
        for number, score in enumerate(scores.tolist()):
            sizes = ((9, 9), [1, 1, 5, 5], np.ones((5, 2)))
            source = f"{number // 2}.jpg"
            writer.add(FaceRow(str(number), source, *sizes, score, np.zeros((2, 3)), "d", "t"))
    pictures = Recorded()
    section = marks_section(table, pictures)  # type: ignore[arg-type]
    if not n_rows:
        assert section is None
        return
    lowest, highest = int(scores.argmin()) // 2, int(scores.argmax()) // 2
    names = list(pictures.faces)
    assert (names[0], names[-1]) == (f"{lowest}.jpg", f"{highest}.jpg")
    assert all(n == 2 for name, n in pictures.faces.items() if name != f"{n_rows // 2}.jpg")


def test_faces_are_drawn_where_they_are() -> None:
    pixels = np.full((100, 200, 3), 128, np.uint8)
    before = pixels.copy()
    points = [70, 40, 90, 40, 80, 50, 72, 60, 88, 60]
    drawn = draw_faces(pixels, [[60, 20, 100, 80, *points]], 100)
    assert drawn.shape == (50, 100, 3) and (pixels == before).all()
    changed = np.argwhere((drawn != 128).any(axis=2))
    assert changed.min(axis=0) == pytest.approx([10, 30], abs=3)
    assert changed.max(axis=0) == pytest.approx([40, 50], abs=3)
    assert tuple(drawn[20, 35]) != (128, 128, 128), "the left eye"
    far = draw_faces(pixels, [[-1e4, -1e4, 1e4, 1e4, *[5.0] * 10]], 100)
    assert far.shape == (50, 100, 3), "a box outside of the picture"
