"""All files of a shard or none, with and without nameless files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from faceprep.core.errors import OutputError
from faceprep.run import nameless_files
from faceprep.run.staging import Staging, recover_shard
from tests.fakes import before_changes, tree


@pytest.fixture(params=["nameless files", "files moved one by one"])
def new(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Staging:
    if request.param == "files moved one by one":
        monkeypatch.setattr(nameless_files, "_NAMELESS", 0)
    (tmp_path / "out").mkdir()
    return Staging(tmp_path / "out", tmp_path / "state")


def test_committed_files_page_and_nothing_else(new: Staging, tmp_path: Path) -> None:
    for i in range(100):
        new.write(f"{i % 3}/{i}", b"%d" % i)
    with new.open("large") as file:
        file.write(b"large")
    new.commit(["told"], tmp_path / "page")
    expected = {f"{i % 3}/{i}": b"%d" % i for i in range(100)} | {
        "large": b"large",
        "0": None,
        "1": None,
        "2": None,
    }
    assert tree(tmp_path / "out") == expected
    (names, sizes), told = map(json.loads, (tmp_path / "page").read_text().splitlines())
    assert names == [f"{i % 3}/{i}" for i in range(100)] + ["large"]
    assert sizes == [len(str(i)) for i in range(100)] + [5]
    assert told == "told"
    assert sorted(os.listdir(tmp_path)) == ["out", "page"]


def test_many_at_once(new: Staging, tmp_path: Path) -> None:
    """Into folders that are there and new ones, after each other and mixed with others."""
    (tmp_path / "out" / "old").mkdir()
    names = [f"{('old', 'new', 'other')[i % 3]}/{i}" for i in range(100)] + [
        f"new/{i}" for i in range(100, 200)
    ]
    new.write("first", b"0")
    new.write_many(names, [b"%d" % i for i in range(200)])
    new.write("new/last", b"200")
    new.commit([], tmp_path / "page")
    expected = {name: b"%d" % i for i, name in enumerate(names)} | {
        "first": b"0",
        "new/last": b"200",
    }
    assert tree(tmp_path / "out") == expected | {"old": None, "new": None, "other": None}
    assert json.loads((tmp_path / "page").read_text()) == [
        ["first", *names, "new/last"],
        [1, *(len(str(i)) for i in range(200)), 3],
    ]


def test_discarded_files_leave_nothing(new: Staging, tmp_path: Path) -> None:
    for i in range(100):
        new.write(f"{i % 3}/{i}", b"%d" % i)
    new.open("large").write(b"large")
    new.discard()
    assert tree(tmp_path) == {"out": None}


def test_what_a_dead_worker_left_is_taken_back(new: Staging, tmp_path: Path) -> None:
    for i in range(100):
        new.write(f"{i % 3}/{i}", b"%d" % i)
    new.open("large").write(b"large")
    Staging(tmp_path / "out", tmp_path / "state").commit([], tmp_path / "page")
    assert tree(tmp_path) == {"out": None, "page": b"[[], []]\n"}
    new.discard()


class Death(BaseException):
    """Nothing that happens after it counts."""


@pytest.mark.parametrize("nameless", [True, False])
def test_cut_short_anywhere_it_is_whole_or_taken_back(
    nameless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not nameless:
        monkeypatch.setattr(nameless_files, "_NAMELESS", 0)
    monkeypatch.setattr(nameless_files, "_N_PENDING", 2)

    def run(root: Path) -> None:
        new = Staging(root / "out", root / "state")
        for i in range(5):
            new.write(f"{i % 2}/{i}", b"%d" % i)
        with new.open("large") as file:
            file.write(b"large")
        new.commit([], root / "page")

    def die(name: str, number: int) -> None:
        if number >= change:
            raise Death

    change = 10**6
    (tmp_path / "whole" / "out").mkdir(parents=True)
    with before_changes(die) as made:
        run(tmp_path / "whole")
    n_whole = 0
    for change in range(1, len(made) + 1):
        root = tmp_path / str(change)
        (root / "out").mkdir(parents=True)
        with before_changes(die), pytest.raises(Death):
            run(root)
        recover_shard(root / "out", root / "state", root / "page")
        if (root / "page").exists():
            n_whole += 1
            assert tree(root) == tree(tmp_path / "whole")
        else:
            files = [name for name, data in tree(root).items() if data is not None]
            assert not files, "an empty folder may stay for the next try"
    assert 3 < n_whole < len(made) - 3


@pytest.mark.parametrize("was_there", [True, False])
def test_folder_that_two_shards_fill(was_there: bool, new: Staging, tmp_path: Path) -> None:
    """Whoever comes first moves the folder, the other its files; the same where the folder was
    there before both.
    """
    if was_there:
        (tmp_path / "out" / "a").mkdir()
    other = Staging(tmp_path / "out", tmp_path / "other")
    for i in range(100):
        (new, other)[i % 2].write(f"a/{i}", b"%d" % i)
    with other.open("a/large") as file:
        file.write(b"large")
    new.commit([], tmp_path / "page")
    other.commit([], tmp_path / "other page")
    expected = {f"a/{i}": b"%d" % i for i in range(100)} | {"a": None, "a/large": b"large"}
    assert tree(tmp_path / "out") == expected
    assert sorted(os.listdir(tmp_path)) == ["other page", "out", "page"]


def test_a_new_folder_appears_whole(new: Staging, tmp_path: Path) -> None:
    for i in range(100):
        new.write(f"a/{i}", b"")
    assert not (tmp_path / "out" / "a").exists()
    new.commit([], tmp_path / "page")
    assert len(os.listdir(tmp_path / "out" / "a")) == 100


def test_file_in_the_place_of_a_folder(new: Staging, tmp_path: Path) -> None:
    (tmp_path / "out" / "a").write_text("mine")
    with pytest.raises(OutputError, match="Not a directory"):
        new.write("a/b", b"")
        new.commit([], tmp_path / "page")
    assert tree(tmp_path / "out") == {"a": b"mine"}


def test_files_of_others_stay(new: Staging, tmp_path: Path) -> None:
    (tmp_path / "out" / "0").mkdir()
    (tmp_path / "out" / "0" / "mine").touch()
    for i in range(100):
        new.write(f"{i % 3}/{i}", b"%d" % i)
    new.discard()
    assert tree(tmp_path / "out") == {"0": None, "0/mine": b""}


def test_file_that_is_there_is_replaced(new: Staging, tmp_path: Path) -> None:
    (tmp_path / "out" / "a").write_text("old and longer")
    new.write("a", b"new")
    new.commit([], tmp_path / "page")
    assert tree(tmp_path / "out") == {"a": b"new"}


@pytest.mark.parametrize("was_there", [True, False])
def test_folder_that_goes_meanwhile_is_made_again(
    was_there: bool, new: Staging, tmp_path: Path
) -> None:
    """Another shard may take its files back and remove the folder that both write to."""
    real = new._nameless._log  # type: ignore[attr-defined]

    def log(names: list[str]) -> None:
        real(names)
        for folder in ("a/b", "a"):
            (tmp_path / "out" / folder).rmdir()

    new._nameless._log = log  # type: ignore[attr-defined]
    if was_there:
        (tmp_path / "out" / "a" / "b").mkdir(parents=True)
    new.write("a/b/c", b"c")
    if not was_there:
        (tmp_path / "out" / "a").rmdir()
    new.commit([], tmp_path / "page")
    assert tree(tmp_path / "out") == {"a": None, "a/b": None, "a/b/c": b"c"}


def test_files_in_the_working_folder_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working folder cannot be replaced, not even an empty one."""
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    new = Staging(Path("."), tmp_path / "state")
    with new.open("large") as file:
        file.write(b"large")
    new.write("small", b"small")
    new.commit([], tmp_path / "page")
    assert tree(tmp_path / "out") == {"large": b"large", "small": b"small"}


def test_two_outputs_of_one_name(new: Staging, tmp_path: Path) -> None:
    new.write("a", b"1")
    new.write("a", b"2")
    with pytest.raises(OutputError, match="two outputs want the name 'a'"):
        new.commit([], tmp_path / "page")
    new.discard()
    assert tree(tmp_path) == {"out": None}


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "..", "a\0b"])
def test_names_that_lead_out(name: str, new: Staging, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="would leave the output folder"):
        new.write(name, b"")
        new.commit([], tmp_path / "page")
    with pytest.raises(OutputError, match="would leave the output folder"):
        new.open(name)
    new.discard()
    assert tree(tmp_path) == {"out": None}


@pytest.mark.parametrize("log", ["names", "commit"])
def test_notes_with_names_that_lead_out_are_not_followed(log: str, tmp_path: Path) -> None:
    """A state folder may come from somebody else."""
    (tmp_path / "mine").write_text("mine")
    folder = tmp_path / "out" / "state"
    folder.mkdir(parents=True)
    names = ["../mine"] if log == "names" else [["../mine"], [3]]
    (folder / log).write_text(json.dumps(names) + "\n")
    (folder / "d0").mkdir()
    (folder / "d0" / "mine").write_text("bad")
    with pytest.raises(OutputError, match="would leave the output folder"):
        recover_shard(tmp_path / "out", folder, tmp_path / "out" / "page")
    assert (tmp_path / "mine").read_text() == "mine"
