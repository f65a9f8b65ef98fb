"""The space is that of the nearest folder that exists."""

from __future__ import annotations

from pathlib import Path

from faceprep.core.disk_space import free_space


def test_space_where_nothing_is_yet(tmp_path: Path) -> None:
    free, inodes, block = free_space(tmp_path / "not" / "yet")
    assert free > 0 and (inodes is None or inodes > 0) and block >= 512
