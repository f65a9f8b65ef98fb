"""A set as a plan sees it: its state, its order, and what is kept of it for the workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faceprep.core.types import Outcome
from faceprep.sets.folder import find_identities
from faceprep.sets.listing import list_images
from faceprep.sets.recordio.framing import frame_image
from faceprep.steps import listed_set
from faceprep.steps.listed_set import fingerprint_of, list_source, load_listed, read_listed
from faceprep.synthetic import encode_face


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
    monkeypatch.setattr(listed_set, "_BATCH", 1)
    assert state_of(source) == state
    assert list_source(source, tmp_path / "scratch").n_bytes == 7 + 7 + 7 + 5


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


def test_a_folder_is_listed_as_before(source: Path, tmp_path: Path) -> None:
    (source / os.fsdecode(b"\xff")).mkdir()
    (source / os.fsdecode(b"\xff") / "1.png").touch()
    for number, limit in enumerate((None, 0, 2)):
        scratch = tmp_path / f"scratch{number}"
        listing = list_images(find_identities(source), limit)
        listed = list_source(source, scratch).first(limit)
        listed.save(scratch)
        for found in (listed.listing, load_listed(scratch).listing):
            assert list(found.prefixed_paths("")) == list(listing.prefixed_paths(""))
            assert list(found.identities) == list(listing.identities)
            assert found.identity_of.tolist() == listing.identity_of.tolist()


def test_any_set_is_listed_by_identity(tmp_path: Path) -> None:
    labels = [5, 2, 5, 2]
    records = [frame_image([label], encode_face(label, i), i) for i, label in enumerate(labels)]
    (tmp_path / "a.rec").write_bytes(b"".join(records))
    listed = list_source(tmp_path / "a.rec", tmp_path / "scratch")
    listed.save(tmp_path / "scratch")
    assert list(listed.listing.prefixed_paths("")) == ["5/0", "5/2", "2/1", "2/3"]
    found = list(read_listed(tmp_path / "scratch", [2, 0]))
    assert [each.key for each in found if not isinstance(each, Outcome)] == ["2/1", "5/0"]
    assert found[1].data == encode_face(5, 0)  # type: ignore[union-attr]
