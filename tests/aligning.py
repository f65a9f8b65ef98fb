"""Photos with flat faces, what extract-photos made of them, and align as the tests start it."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep import Align, ExtractPhotos, Request, SerialRunner, run_job
from faceprep.core.types import Runner, Summary
from faceprep.tables.faces import FaceRow, FacesWriter, load_faces, rows_of
from tests.flat_faces import Flat, save

SERIAL = SerialRunner()


def align(
    source: Path, output: Path, job: Align, runner: Runner = SERIAL, **asked: object
) -> Summary:
    return run_job(job, Request((source,), output, **asked), runner)  # type: ignore[arg-type]


@pytest.fixture
def extracted(tmp_path: Path, flat_detectors: None) -> Path:
    """A folder with photos in `src`, and in `first` what extract-photos made of them."""
    for i in range(5):
        save(tmp_path / "src" / "ann" / f"{i}.png", Flat(40 + 9 * i, 50, 60 + i), ground=60 + i)
    save(tmp_path / "src" / "ann" / "two.png", Flat(30, 20), Flat(180, 90, 91))
    save(tmp_path / "src" / "bob" / "a.bmp", Flat(-0 + 250, 50, 70))
    save(tmp_path / "src" / "bob" / "none.png")
    run_job(
        ExtractPhotos(detector="flat"), Request((tmp_path / "src",), tmp_path / "first"), SERIAL
    )
    return tmp_path


def table_at(path: Path, rows: list[FaceRow]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file, FacesWriter(file) as writer:
        for row in rows:
            writer.add(row)
    return path


def rows_at(path: Path) -> list[FaceRow]:
    return list(rows_of(load_faces(path)))
