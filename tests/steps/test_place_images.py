"""The state of images that a plan judges, and what is kept of a listing for the workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faceprep.core.errors import OutputError
from faceprep.sets.folder import find_identities
from faceprep.sets.listing import list_images
from faceprep.steps import place_images as application
from faceprep.steps.place_images import (
    evidence_of,
    fingerprint_of,
    load_listing,
    place_shards,
    refuse_output_within,
    save_listing,
    survey,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("b/1.png", "a/2.png", "a/1.png", "3.png"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "source"


def state_of(root: Path) -> str:
    return fingerprint_of(root, list_images(find_identities(root)))


def test_the_same_images_have_the_same_state(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = state_of(source)
    assert state.startswith("4 images, names, sizes and times ")
    shutil.copytree(source, tmp_path / "copy")  # with their times
    assert state_of(tmp_path / "copy") == state
    (source / "a" / "notes.txt").touch()
    assert state_of(source) == state
    monkeypatch.setattr(application, "_BATCH", 1)
    assert state_of(source) == state
    assert survey(source, list_images(find_identities(source)))[1] == 7 + 7 + 7 + 5


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a" / "3.png").touch(),
        lambda root: (root / "a" / "1.png").unlink(),
        lambda root: (root / "a" / "1.png").rename(root / "a" / "0.png"),
        lambda root: (root / "a" / "1.png").rename(root / "b" / "2.png"),
        lambda root: (root / "a" / "1.png").write_bytes(b""),
        lambda root: os.utime(root / "a" / "1.png", ns=(1, 1)),
        lambda root: (root / "a" / "4.png").symlink_to("nowhere.png"),
    ],
)
def test_what_changes_the_state(change: Callable[[Path], None], source: Path) -> None:
    state = state_of(source)
    change(source)
    assert state_of(source) != state


def test_a_listing_for_workers(source: Path, tmp_path: Path) -> None:
    (source / os.fsdecode(b"\xff")).mkdir()
    (source / os.fsdecode(b"\xff") / "1.png").touch()
    for limit in (None, 0, 2):
        listing = list_images(find_identities(source), limit)
        save_listing(listing, tmp_path / "listing")
        back = load_listing(tmp_path / "listing")
        assert list(back.prefixed_paths("")) == list(listing.prefixed_paths(""))
        assert list(back.identities) == list(listing.identities)


def test_the_first_of_a_listing(source: Path) -> None:
    listing = list_images(find_identities(source))
    assert list(listing.first(2).prefixed_paths("")) == list(listing.prefixed_paths(""))[:2]


def test_every_image_is_in_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_SHARD", 3)
    shards = place_shards(tmp_path, 7)
    assert [(shard.start, shard.stop) for shard in shards] == [(0, 3), (3, 6), (6, 7)]
    assert place_shards(tmp_path, 0) == []


def test_output_and_input_are_apart(tmp_path: Path) -> None:
    for output in ("a", "a/b", "."):
        with pytest.raises(OutputError, match="the output (is|would lie over) the input"):
            refuse_output_within(tmp_path / "a", tmp_path / output)
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OutputError, match="the output is the input"):
        refuse_output_within(tmp_path / "a", tmp_path / "link")
    refuse_output_within(tmp_path / "a", tmp_path / "ab")


def test_evidence_of_what_is_gone(tmp_path: Path) -> None:
    assert evidence_of(str(tmp_path / "gone")) == {}
