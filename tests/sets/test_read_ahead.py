"""Reads that are announced to the system, where that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.core.storage import ByteSource
from faceprep.sets.file_family import announce_reads, pack_place
from faceprep.sets.open_files import OpenFiles

PLACES = np.array([[pack_place(number, 0), 4] for number in range(3)])


def announced(paths: list[str], positions: list[int] | range) -> list[str]:
    """Read positions, and return the files that this has opened."""
    opened: list[str] = []

    def open_file(path: str) -> ByteSource:
        opened.append(path)
        return ByteSource(path)

    files = OpenFiles(paths, open_file)
    assert list(announce_reads(files, PLACES, positions)) == [positions]
    files.close()
    return opened


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    found = [tmp_path / f"{number}.tar" for number in range(3)]
    for path in found:
        path.write_bytes(b"data")
    return list(map(str, found))


def test_reads_in_random_order_are_announced(paths: list[str]) -> None:
    assert sorted(announced(paths, [2, 0, 1])) == paths
    assert announced(paths, range(3)) == []


def test_a_single_image_is_read_without_an_announcement(paths: list[str]) -> None:
    assert announced(paths, [2]) == []


def test_a_store_is_not_asked_for_an_announcement() -> None:
    urls = [f"s3://nobody/{number}.tar" for number in range(3)]
    assert announced(urls, [2, 0, 1]) == []
