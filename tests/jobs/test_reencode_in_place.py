"""reencode-bin --in-place: the original is never lost, whatever happens."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from faceprep.core.errors import FaceprepError, OutputError, ResumeError
from tests.bins import FACES, reencode, write_bin
from tests.fakes import before_changes, failing
from tests.turns import TURN

# In place


def test_in_place_keeps_the_original(tmp_path: Path) -> None:
    sources = [write_bin(tmp_path / name) for name in ("a.bin", "b.bin")]
    before = [source.read_bytes() for source in sources]
    reencode(*sources, to=tmp_path / "out", format="png")
    summary = reencode(*sources, format="png")
    assert summary.outputs == 2
    for source, original in zip(sources, before, strict=True):
        assert Path(f"{source}.bak").read_bytes() == original
        assert source.read_bytes() == (tmp_path / "out" / source.name).read_bytes()
    assert reencode(*sources, format="png").ok == 12, "again: nothing is left to do"


def test_in_place_one_file_after_the_other(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        assert reencode(write_bin(tmp_path / name)).ok == 6
    assert sorted(path.name for path in tmp_path.glob("*.bin*")) == [
        "a.bin",
        "a.bin.bak",
        "b.bin",
        "b.bin.bak",
    ]


def test_in_place_again_begins_from_the_original(tmp_path: Path) -> None:
    source = write_bin(tmp_path / "a.bin")
    original = source.read_bytes()
    reencode(source, to=tmp_path / "out", format="png")
    reencode(source, quality=5)
    with pytest.raises(ResumeError, match="--format 'jpg' then, 'png' now"):
        reencode(source, format="png")
    reencode(source, format="png", overwrite=True)
    assert source.read_bytes() == (tmp_path / "out" / "a.bin").read_bytes()
    assert (tmp_path / "a.bin.bak").read_bytes() == original


def test_a_bak_of_something_else_is_left_alone(tmp_path: Path) -> None:
    source = write_bin(tmp_path / "a.bin")
    (tmp_path / "a.bin.bak").write_bytes(b"mine")
    before = source.read_bytes()
    with pytest.raises(
        OutputError,
        match=r"a.bin.bak: exists, and is not the original of a.bin. Move it elsewhere.",
    ):
        reencode(source)
    assert source.read_bytes() == before and (tmp_path / "a.bin.bak").read_bytes() == b"mine"


def test_in_place_leaves_what_cannot_be_read(tmp_path: Path) -> None:
    sources = [
        write_bin(tmp_path / "a.bin"),
        tmp_path / "b.bin",
        write_bin(tmp_path / "c.bin", [b"one", b"two"]),
    ]
    sources[1].write_bytes(b"cos\nsystem\n.")
    before = [source.read_bytes() for source in sources]
    assert reencode(*sources).by_status == {"bad_bin": 1, "ok": 6, "undecodable": 1}
    assert [source.read_bytes() for source in sources[1:]] == before[1:]
    assert [path.name for path in tmp_path.glob("*.bak")] == ["a.bin.bak"]


@pytest.fixture
def in_place(tmp_path: Path) -> tuple[Path, bytes, bytes]:
    """(source, its bytes, the bytes that it is to have)"""
    source = write_bin(tmp_path / "a.bin", FACES[:6])
    reencode(source, to=tmp_path / "out")
    return source, source.read_bytes(), (tmp_path / "out" / "a.bin").read_bytes()


def check_nothing_is_lost(source: Path, original: bytes, new: bytes) -> None:
    kept = Path(f"{source}.bak")
    assert source.read_bytes() in (original, new)
    assert not kept.exists() or kept.read_bytes() == original
    assert source.read_bytes() == original or kept.exists()


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("overwrite", [False, True])
def test_in_place_killed_at_any_change_of_the_disk(
    in_place: tuple[Path, bytes, bytes],
    monkeypatch: pytest.MonkeyPatch,
    links: bool,
    overwrite: bool,
) -> None:
    source, original, new = in_place
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    if overwrite:
        reencode(source, quality=5)
    killed, at = True, TURN % 3
    while killed:
        at += 3
        killed = run_and_kill(source, at, overwrite)
        check_now = source.read_bytes()
        assert check_now in (original, new) or overwrite
        kept = Path(f"{source}.bak")
        assert not kept.exists() or kept.read_bytes() == original
        assert check_now == original or kept.exists()
    assert at > 10
    assert source.read_bytes() == new


def no_links(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, "no links here")


def run_and_kill(source: Path, at: int, overwrite: bool) -> bool:
    """Return whether a run in its own process reached its disk change `at`, where it dies."""
    child = os.fork()
    if child == 0:
        try:
            with before_changes(lambda name, number: os._exit(9) if number == at else None):
                reencode(source, overwrite=overwrite)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_in_place_with_a_disk_that_is_full_or_broken(
    in_place: tuple[Path, bytes, bytes], error: int
) -> None:
    source, original, new = in_place
    at = failed = 0
    while True:
        at += 1
        try:
            with before_changes(failing(error, at)):
                reencode(source)
            break
        except FaceprepError:
            failed += 1
            check_nothing_is_lost(source, original, new)
    assert failed > 10
    reencode(source)
    assert source.read_bytes() == new and Path(f"{source}.bak").read_bytes() == original
