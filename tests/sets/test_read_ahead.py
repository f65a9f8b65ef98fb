"""Reads that are announced to the system, where that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.core.storage import ByteSource
from faceprep.sets.file_family import pack_place
from faceprep.sets.open_files import OpenFiles
from faceprep.sets.read_ahead import _BLOCK, announce_reads

PLACES = np.array([[pack_place(number, 0), 4] for number in range(3)])


class Told(ByteSource):
    """A file that notes what is announced."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.told: list[tuple[int, int]] = []

    def announce(self, offset: int, n_bytes: int) -> None:
        self.told.append((offset, n_bytes))


def announced(paths: list[str], positions: list[int] | range) -> list[str]:
    """Read positions, and return the files that this has opened."""
    opened: list[str] = []

    def open_file(path: str) -> ByteSource:
        opened.append(path)
        return ByteSource(path)

    files = OpenFiles(paths, open_file)
    assert list(announce_reads(files, PLACES.__getitem__, positions)) == [positions]
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


def test_a_block_is_announced_before_the_one_ahead_of_it_is_read(tmp_path: Path) -> None:
    path, n = tmp_path / "a.tar", 2 * _BLOCK + 3
    path.write_bytes(b"data" * n)
    places = np.array([[pack_place(0, 8192 * i), 4] for i in range(n)])
    files = OpenFiles([str(path)], Told)
    told = files.open(0).told
    blocks = announce_reads(files, places.__getitem__, range(n)[::-1])
    assert not told, "a range lies in order"
    blocks = announce_reads(files, places.__getitem__, list(range(n))[::-1])
    assert len(next(blocks)) == _BLOCK and len(told) == 2 * _BLOCK
    assert len(next(blocks)) == _BLOCK and len(told) == n
    assert next(blocks) == [2, 1, 0] and sorted(told) == [(8192 * i, 4) for i in range(n)]
    files.close()


def test_images_that_touch_each_other_are_one_piece(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"data")
    starts, lengths = [0, 10, 90_000, 90_020, 400_000], [10, 10, 20, 5, -1]
    places = np.array([[pack_place(0, at), n] for at, n in zip(starts, lengths, strict=True)])
    files = OpenFiles([str(path)], Told)
    told = files.open(0).told
    list(announce_reads(files, places.__getitem__, [3, 0, 4, 1, 2]))
    assert told == [(0, 20), (90_000, 25)]
    files.close()
