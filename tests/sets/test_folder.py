"""Identity folders: what counts as an image, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.names import sort_files, sort_names
from faceprep.core.untaken import OWN_FILES, UntakenFiles
from faceprep.sets.containers import suggest_containers
from faceprep.sets.folder import Identity, find_identities, is_image_name, walk_images
from faceprep.sets.set_writer import SetNames
from faceprep.tables.faces import FACES_TABLE
from faceprep.tables.frames import FRAMES_TABLE
from faceprep.tables.ledger import FAILURES
from faceprep.tables.plan import LIKENESS, PLAN, UNDO


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_nested_hidden_and_other_files(tmp_path: Path) -> None:
    make(
        tmp_path,
        "b/2.jpg",
        "b/10.PNG",
        "b/notes.txt",
        "a/c/x.jpg",
        ".faceprep/y.jpg",
        "b/.hidden.jpg",
        "empty/z.txt",
    )
    assert find_identities(tmp_path) == [
        Identity("a/c", ("x.jpg",)),
        Identity("b", ("2.jpg", "10.PNG")),
    ]
    untaken = UntakenFiles(tmp_path, "images")
    found = dict(walk_images(tmp_path, untaken))
    assert sorted(found) == ["a/c", "b"] and sorted(found["b"]) == ["10.PNG", "2.jpg"]
    assert untaken.counts == {".txt": 2, "hidden": 1}


def test_hidden_files_and_folders_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "a/1.jpg", "a/.2.jpg", ".b/3.jpg", "c/.4.jpg", "d/e/1.jpg", "d/.cache/x")
    make(tmp_path, ".faceprep/state", "a/.faceprep")
    untaken = UntakenFiles(tmp_path, "images")
    with caplog.at_level("DEBUG", "faceprep"):
        found = list(walk_images(tmp_path, untaken))
    assert sorted(found) == [("a", ["1.jpg"]), ("d/e", ["1.jpg"])]
    assert untaken.counts == {"hidden": 4}
    assert f"{tmp_path}: 4 files skipped, not images: 4 hidden" in caplog.text
    assert f"{tmp_path}: 'a/.2.jpg' skipped: not among the images" in caplog.text
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


def test_files_that_are_no_images_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "a/1.jpg", "a/b.txt", "a/c.TXT", "a/Makefile", "bob/clip.mp4", "list.csv")
    with caplog.at_level("INFO", "faceprep"):
        find_identities(tmp_path)
    assert [(each.levelname, each.message) for each in caplog.records] == [
        (
            "INFO",
            f"{tmp_path}: 5 files skipped, not images: 2 .txt, 1 .csv, 1 .mp4, 1 without suffix",
        ),
        ("WARNING", f"{tmp_path}: 1 folder has files but no images: bob"),
    ]
    with caplog.at_level("DEBUG", "faceprep"):
        find_identities(tmp_path)
    assert "'bob/clip.mp4' skipped: not among the images" in caplog.text


def test_links_are_followed_but_not_round_in_circles(tmp_path: Path) -> None:
    make(tmp_path, "set/a/1.jpg", "set/b/1.jpg", "elsewhere/1.jpg")
    (tmp_path / "set/c").symlink_to("../elsewhere")
    (tmp_path / "set/a/self").symlink_to("../a")
    (tmp_path / "set/a/top").symlink_to(tmp_path)
    (tmp_path / "set/a/to_b").symlink_to("../b")
    (tmp_path / "set/b/to_a").symlink_to("../a")
    names = [each.name for each in find_identities(tmp_path / "set")]
    assert names == ["a", "b", "c"]


def test_folders_that_link_to_one_another_do_not_multiply(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    people = "abcdefg"
    for name in people:
        make(tmp_path, f"{name}/1.jpg")
        for other in people.replace(name, ""):
            (tmp_path / name / f"see_{other}").symlink_to(f"../{other}")
    assert [each.name for each in find_identities(tmp_path)] == list(people)
    assert "42 links skipped: they lead to folders that are in the set already" in caplog.text


def test_a_set_of_links_is_followed_once_each(tmp_path: Path) -> None:
    make(tmp_path, "all/a/1.jpg", "all/b/1.jpg", "all/b/c/1.jpg", "all/.hidden/1.jpg", "set/x.txt")
    (tmp_path / "set/two").symlink_to("../all/b/c")
    (tmp_path / "set/whole").symlink_to("../all")
    (tmp_path / "set/again").symlink_to("../all/a")
    (tmp_path / "set/.own").mkdir()
    make(tmp_path, "set/.own/d/1.jpg")
    (tmp_path / "set/d").symlink_to(".own/d")
    (tmp_path / "set/dangling").symlink_to("nowhere")
    names = [each.name for each in find_identities(tmp_path / "set")]
    assert names == ["again", "d", "two", "whole/b"]
    assert find_identities(tmp_path / "set") == find_identities(tmp_path / "set" / ".." / "set")


def test_images_in_the_root_are_the_identity_dot(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg", "a/1.jpg")
    assert [each.name for each in find_identities(tmp_path)] == [".", "a"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        find_identities(tmp_path / "no")


def test_one_name_that_is_no_number_makes_all_text() -> None:
    assert sort_names(["100", "20", "3"]) == ["3", "20", "100"]
    assert sort_names(["100", "20", "3", "x"]) == ["100", "20", "3", "x"]
    assert sort_names(["1", "01", "²"]) == ["01", "1", "²"]


@given(st.lists(st.text("0123456789ab_²٣", min_size=1), unique=True))
def test_orders_do_not_depend_on_the_order_found(names: list[str]) -> None:
    assert sort_names(names) == sort_names(names[::-1])
    files = [f"{name}.jpg" for name in names]
    assert sort_files(files) == sort_files(files[::-1])


def test_image_names() -> None:
    assert all(map(is_image_name, ["a.jpg", "b.two.dots.JPEG", "c.pgm"]))
    assert not any(map(is_image_name, [".jpg", "jpg", "a.txt", "a.jpg.tmp"]))


def test_files_of_faceprep_itself_are_not_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of that name in an identity is counted, because no command writes one there."""
    written = {PLAN, f"{PLAN}.bak", LIKENESS, UNDO, FACES_TABLE, FRAMES_TABLE, FAILURES}
    assert written <= OWN_FILES
    make(tmp_path, *OWN_FILES, "a/1.jpg", f"a/{PLAN}")
    untaken = UntakenFiles(tmp_path, "images")
    assert list(walk_images(tmp_path, untaken)) == [("a", ["1.jpg"])]
    assert untaken.counts == {".jsonl": 1}


def test_a_container_that_can_hold_a_set_is_named() -> None:
    names = SetNames(1, lambda start, stop: ["a/1.jpg"], ["a"], True)
    assert suggest_containers(names) == "Write a folder or .tar .tfrecord .parquet"
