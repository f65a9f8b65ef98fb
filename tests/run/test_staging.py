"""All files of a shard or none, whatever becomes of its attempts."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from threading import Thread
from typing import Any
from unittest import mock

import pytest

from faceprep.core import storage
from faceprep.core.errors import MadeMeanwhile, OutputError
from faceprep.run.staging import Staging, finish_attempt, remove_attempt
from tests.fakes import before_changes, tree


@pytest.fixture
def new(tmp_path: Path) -> Staging:
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


def test_a_claimed_name_is_taken_once(new: Staging, tmp_path: Path) -> None:
    new.write("a", b"1")
    new.write("claimed", b"mine")
    new.claim_last()
    (tmp_path / "out" / "claimed").write_bytes(b"of another")
    with pytest.raises(MadeMeanwhile, match="claimed: another run has made it"):
        new.commit([], tmp_path / "page")
    new.discard()
    assert tree(tmp_path) == {"out": None, "out/claimed": b"of another"}
    again = Staging(tmp_path / "out", tmp_path / "again")
    again.write("b", b"2")
    again.claim_last()
    again.commit([], tmp_path / "page")
    assert tree(tmp_path / "out") == {"b": b"2", "claimed": b"of another"}
    assert sorted(os.listdir(tmp_path)) == ["out", "page"]


def test_a_claimed_name_is_taken_once_without_hard_links(
    new: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs that commit at the same moment, the second waits and is refused."""
    other, ends = Staging(tmp_path / "out", tmp_path / "other"), list[object]()
    for staging, data in ((new, b"mine"), (other, b"of another")):
        staging.write("claimed", data)
        staging.claim_last()

    def commit_other() -> None:
        try:
            ends.append(other.commit([], tmp_path / "other page"))
        except MadeMeanwhile as error:
            ends.append(error)

    second = Thread(target=commit_other)

    def write(*args: Any, **options: Any) -> None:
        if not second.ident:
            second.start()
            second.join(0.2)
        storage.write_file(*args, **options)

    monkeypatch.setattr("faceprep.run.staging.write_file", write)
    no_links = mock.Mock(side_effect=OSError(errno.EPERM, os.strerror(errno.EPERM)))
    monkeypatch.setattr(os, "link", no_links)
    assert new.commit([], tmp_path / "page")
    second.join()
    assert "claimed: another run has made it" in str(ends[0])
    other.discard()
    assert tree(tmp_path / "out") == {"claimed": b"mine"}
    assert sorted(os.listdir(tmp_path)) == ["out", "page"]


def test_a_name_is_given_back_if_the_commit_fails(
    new: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new.write("claimed", b"mine")
    new.claim_last()
    full = OutputError("no space")
    monkeypatch.setattr("faceprep.run.staging.write_file", mock.Mock(side_effect=full))
    with pytest.raises(OutputError, match="no space"):
        new.commit([], tmp_path / "page")
    assert tree(tmp_path / "out") == {"claimed": b"mine"}
    new.discard()
    assert tree(tmp_path) == {"out": None}


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
    assert not finish_attempt(tmp_path / "out", tmp_path / "state", tmp_path / "page")
    remove_attempt(tmp_path / "out", tmp_path / "state")
    assert tree(tmp_path) == {"out": None}
    new.discard()


class Death(BaseException):
    """Nothing that happens after it counts."""


@pytest.mark.parametrize("was_there", [True, False])
def test_cut_short_anywhere_it_is_whole_or_taken_back(was_there: bool, tmp_path: Path) -> None:
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
    folders = ("out/0", "out/1")[: 2 * was_there] or ("out",)
    for folder in folders:
        (tmp_path / "whole" / folder).mkdir(parents=True)
    with before_changes(die) as made:
        run(tmp_path / "whole")
    n_whole = 0
    for change in range(1, len(made) + 1):
        root = tmp_path / str(change)
        for folder in folders:
            (root / folder).mkdir(parents=True)
        with before_changes(die), pytest.raises(Death):
            run(root)
        if not finish_attempt(root / "out", root / "state", root / "page"):
            remove_attempt(root / "out", root / "state")
        if (root / "page").exists():
            n_whole += 1
            assert tree(root) == tree(tmp_path / "whole")
        else:
            assert set(tree(root)) <= {"out", "out/0", "out/1"}
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
    if was_there:
        (tmp_path / "out" / "a" / "b").mkdir(parents=True)
    new.write("a/b/c", b"c")
    if was_there:
        (tmp_path / "out" / "a" / "b").rmdir()
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
    with pytest.raises(OutputError, match="two outputs have the name 'a'"):
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


def test_pages_with_names_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    """A state folder may come from somebody else."""
    (tmp_path / "mine").write_text("mine")
    folder = tmp_path / "out" / "state"
    folder.mkdir(parents=True)
    (folder / "commit").write_text(json.dumps([["../mine"], [3]]) + "\n")
    (folder / "d0").mkdir()
    (folder / "d0" / "mine").write_text("bad")
    with pytest.raises(OutputError, match="would leave the output folder"):
        finish_attempt(tmp_path / "out", folder, tmp_path / "out" / "page")
    assert (tmp_path / "mine").read_text() == "mine"


# Two attempts at once


def test_of_two_attempts_the_first_counts(new: Staging, tmp_path: Path) -> None:
    (tmp_path / "out" / "old").mkdir()
    other = Staging(tmp_path / "out", tmp_path / "other")
    for each, data in ((new, b"first"), (other, b"second")):
        for folder in ("old", "new"):
            each.write(f"{folder}/image", data)
    assert new.commit([], tmp_path / "page")
    expected = tree(tmp_path / "out")
    assert not other.commit([], tmp_path / "page")
    assert tree(tmp_path / "out") == expected
    assert expected["old/image"] == expected["new/image"] == b"first"
    assert sorted(os.listdir(tmp_path)) == ["out", "page"]


def test_an_attempt_that_is_given_up_leaves_the_files_of_the_other(
    new: Staging, tmp_path: Path
) -> None:
    other = Staging(tmp_path / "out", tmp_path / "other")
    new.write("a/b", b"1")
    other.write("a/b", b"2")
    new.commit([], tmp_path / "page")
    other.discard()
    assert tree(tmp_path / "out") == {"a": None, "a/b": b"1"}


def test_a_commit_may_be_finished_by_another_process_at_any_moment(tmp_path: Path) -> None:
    """The helper comes before each change of the commit; both see it done."""

    def run(root: Path) -> bool:
        (root / "out" / "old").mkdir(parents=True)
        new = Staging(root / "out", root / "state")
        for name in ("old/0", "old/1", "new/0", "top"):
            new.write(name, name.encode())
        return new.commit([], root / "page")

    def help_once(name: str, number: int) -> None:
        if number == change and not is_helping:
            is_helping.append(True)
            finish_attempt(root / "out", root / "state", root / "page")

    is_helping: list[bool] = []
    change, root = 10**6, tmp_path / "whole"
    with before_changes(help_once) as made:
        run(root)
    for change in range(1, len(made) + 1):
        is_helping.clear()
        root = tmp_path / str(change)
        with before_changes(help_once):
            run(root)
        assert tree(root) == tree(tmp_path / "whole"), f"helped before change {change}"


def test_without_hard_links_the_page_is_renamed(
    new: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*args: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    new.write("a/b", b"1")
    assert new.commit([], tmp_path / "page")
    assert tree(tmp_path) == {
        "out": None,
        "out/a": None,
        "out/a/b": b"1",
        "page": b'[["a/b"], [1]]\n',
    }


def test_an_attempt_that_another_process_finishes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "commit").write_text("[[]]\n")

    def read_too_late(path: Path) -> bytes:
        remove_attempt(tmp_path / "out", state)
        return storage.read_bytes(path)

    monkeypatch.setattr("faceprep.run.staging.read_bytes", read_too_late)
    assert not finish_attempt(tmp_path / "out", state, tmp_path / "page")
