"""Files placed as they are: copies that keep their time, and links, in new folders and in those
that are there.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from faceprep.core.errors import OutputError, SourceError
from faceprep.core.types import COPY, HARDLINK, PLACING_MODES, SYMLINK
from faceprep.run.staging import Staging, finish_attempt, remove_attempt
from tests.fakes import before_changes, tree

TIME = 1_234_567_890_123_456_789


@pytest.fixture
def new(tmp_path: Path) -> Staging:
    (tmp_path / "out" / "old").mkdir(parents=True)
    return Staging(tmp_path / "out", tmp_path / "state")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(b"image %d" % i * i)
        os.utime(folder / f"{i}.png", ns=(TIME, TIME + i))
    return folder


@pytest.mark.parametrize("mode", PLACING_MODES)
def test_placed(mode: str, new: Staging, source: Path, tmp_path: Path) -> None:
    for i in range(3):
        for folder in ("old", "new/inner", ""):
            new.place(f"{folder}/{i}.png".lstrip("/"), str(source / f"{i}.png"), mode)
    new.commit([], tmp_path / "page")
    names, sizes = json.loads((tmp_path / "page").read_text())
    for name, size in zip(names, sizes, strict=True):
        found, image = tmp_path / "out" / name, source / os.path.basename(name)
        assert found.read_bytes() == image.read_bytes() and size == image.stat().st_size
        assert found.stat().st_mtime_ns == image.stat().st_mtime_ns
        assert found.is_symlink() is (mode == SYMLINK)
        assert (found.stat().st_ino == image.stat().st_ino) is (mode != COPY)
        if mode == SYMLINK:
            assert os.readlink(found) == str(image)
    assert len(names) == 9 and sorted(os.listdir(tmp_path)) == ["out", "page", "source"]


@pytest.mark.parametrize("mode", PLACING_MODES)
def test_cut_short_anywhere_it_is_whole_or_taken_back(
    mode: str, new: Staging, source: Path, tmp_path: Path
) -> None:
    new.discard()

    class Death(BaseException):
        pass

    def run(root: Path) -> None:
        (root / "out" / "old").mkdir(parents=True, exist_ok=True)
        shard = Staging(root / "out", root / "state")
        for i in range(3):
            for folder in ("old", "new"):
                shard.place(f"{folder}/{i}.png", str(source / f"{i}.png"), mode)
        shard.commit([], root / "page")

    def die(name: str, number: int) -> None:
        if number >= change:
            raise Death

    change = 10**6
    with before_changes(die) as made:
        run(tmp_path / "whole")
    before = tree(source)
    n_whole = 0
    for change in range(1, len(made) + 1):
        root = tmp_path / str(change)
        with before_changes(die), pytest.raises(Death):
            run(root)
        if not finish_attempt(root / "out", root / "state", root / "page"):
            remove_attempt(root / "out", root / "state")
        if (root / "page").exists():
            n_whole += 1
            assert tree(root) == tree(tmp_path / "whole")
        else:
            assert not [path for path in root.rglob("*") if path.is_symlink() or path.is_file()]
            run(root)  # a second start
            assert tree(root) == tree(tmp_path / "whole")
        assert tree(source) == before
    assert n_whole > 1


@pytest.mark.parametrize("mode", PLACING_MODES)
def test_what_is_there_of_a_shard_that_is_done_again(
    mode: str, new: Staging, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "old" / "1.png").symlink_to(source / "2.png")
    new.place("old/1.png", str(source / "1.png"), mode)
    new.commit([], tmp_path / "page")
    assert (tmp_path / "out" / "old" / "1.png").read_bytes() == b"image 1"
    assert (source / "2.png").read_bytes() == b"image 2image 2"


@pytest.mark.parametrize("mode", PLACING_MODES)
def test_what_is_gone_is_not_staged(mode: str, new: Staging, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone.png: cannot .*: No such file"):
        new.place("old/1.png", str(tmp_path / "gone.png"), mode)
    new.commit([], tmp_path / "page")
    assert (tmp_path / "page").read_text() == "[[], []]\n"


@pytest.mark.parametrize("mode", PLACING_MODES)
def test_names_that_lead_out(mode: str, new: Staging, source: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="would leave the output folder"):
        new.place("old/../../1.png", str(source / "1.png"), mode)
    new.discard()
    assert sorted(os.listdir(tmp_path)) == ["out", "source"]


def test_hard_links_end_at_the_file_system(
    new: Staging, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(
        OutputError, match="out.*link.* Hard links cannot cross file systems: copy, or use symbolic"
    ):
        new.place("new/1.png", str(source / "1.png"), HARDLINK)
        new.commit([], tmp_path / "page")
    with pytest.raises(OutputError, match="Hard links cannot cross file systems"):
        new.place("old/1.png", str(source / "1.png"), HARDLINK)
        new.commit([], tmp_path / "page")
    monkeypatch.undo()
    new.discard()
    assert set(tree(tmp_path / "out")) <= {"old"}


def test_a_hard_link_to_what_a_link_leads_to(new: Staging, source: Path, tmp_path: Path) -> None:
    (source / "link.png").symlink_to("1.png")
    new.place("new/1.png", str(source / "link.png"), HARDLINK)
    new.place("old/1.png", str(source / "link.png"), HARDLINK)
    new.commit([], tmp_path / "page")
    for folder in ("new", "old"):
        assert (tmp_path / "out" / folder / "1.png").samefile(source / "1.png")
        assert not (tmp_path / "out" / folder / "1.png").is_symlink()
