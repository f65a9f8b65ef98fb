"""Nothing outside of an output is opened or removed, whatever a name or a link says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from faceprep.core.output_tree import LinkError, open_folder, remove_outputs
from tests.fakes import tree

WRONG: list[Any] = [
    "../victim/a",
    "/victim/a",
    "a/../../victim/a",
    "",
    "link/a",
    "dir",
    3,
    None,
    ["b"],
    "a\0",
]


def test_only_what_is_inside_is_removed(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "a").write_text("mine")
    root = tmp_path / "out"
    (root / "dir").mkdir(parents=True)
    (root / "ours").write_text("x")
    (root / "link").symlink_to("../victim")
    remove_outputs(root, [*WRONG, str(tmp_path / "victim" / "a"), "ours"])
    assert (tmp_path / "victim" / "a").read_text() == "mine"
    assert not (root / "ours").exists() and (root / "dir").is_dir()


def test_only_the_tops_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "disk" / "a").mkdir(parents=True)
    (tmp_path / "disk" / "a" / "1").write_text("x")
    (tmp_path / "out").symlink_to("disk")
    (tmp_path / "theirs").write_text("mine")
    with pytest.raises(LinkError, match="'out' is a link"), open_folder(tmp_path, "out/a"):
        pass
    remove_outputs(tmp_path, ["out/a/1", "theirs"], ["out"])
    assert tree(tmp_path / "disk") == {} and (tmp_path / "theirs").exists()


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_folder(tmp_path, "a/b"):
        pass
    with open_folder(tmp_path, "a/b", make=True) as fd:
        assert os.listdir(fd) == []
