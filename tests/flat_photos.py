"""Runs of extract-photos on drawn flat faces, and readers of what they write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from faceprep import ExtractPhotos, Request, SerialRunner, run_job
from faceprep.core.types import Summary
from tests.fakes import is_state, tree
from tests.flat_faces import Flat, save

JOB = ExtractPhotos(detector="flat")
ONE, TWO = [Flat(40, 50)], [Flat(40, 50), Flat(200, 80, 90, 0.97)]


def run(
    source: Path | Sequence[Path], output: Path, job: ExtractPhotos = JOB, **asked: object
) -> Summary:
    sources = (source,) if isinstance(source, Path) else tuple(source)
    return run_job(job, Request(sources, output, **asked), SerialRunner())  # type: ignore[arg-type]


def files(root: Path) -> set[str]:
    """Names of files, without the run's own notes."""
    return {name for name, data in tree(root).items() if data is not None and not is_state(name)}


def rows(output: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = pq.read_table(output / "faces.parquet").to_pylist()
    return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """One of each kind, in identities that are nested or not, and outside of any."""
    root = tmp_path / "photos"
    save(root / "flat.png", *ONE)
    save(root / "ann" / "one.png", *ONE)
    save(root / "ann" / "two.bmp", *TWO)
    save(root / "ann" / "young" / "low.png", Flat(40, 50, score=0.7))
    save(root / "bob" / "none.png")
    save(root / "bob" / "point.png", Flat(40, 50, degenerate=True))
    (root / "bob" / "bad.jpg").write_bytes(b"no photo")
    return root
