"""Checks before a run: places, a run at work, and room on the disk."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from faceprep import Request, SerialRunner, run_job
from faceprep.core import locks
from faceprep.core.errors import OutputError, SourceError
from faceprep.run.preview import preview_job
from tests.fakes import JoinedLines, Lines, tree, write_lines

SERIAL = SerialRunner()


# Places


def test_output_over_the_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    source = write_lines(tmp_path / "a" / "source.txt")
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for output in (source, tmp_path / "a", tmp_path, link / "a", tmp_path / "b" / ".." / "a"):
        with pytest.raises(
            OutputError, match=r"would overwrite the input: found the input .*source\.txt\. Name"
        ):
            run_job(Lines(), Request((source,), output, overwrite=True), SERIAL)
    with pytest.raises(OutputError, match=r"source\.txt: the output would be inside the input"):
        run_job(_OfFolder(), Request((tmp_path / "a",), source, overwrite=True), SERIAL)
    assert source.read_text().startswith("line 0")
    assert os.listdir(tmp_path / "a") == ["source.txt"]


def test_a_folder_that_the_path_leaves_again_is_not_made(tmp_path: Path) -> None:
    source, place = write_lines(tmp_path / "source.txt"), tmp_path / "place"
    run_job(Lines(), Request((source,), place / "no" / "such" / ".." / ".." / "out"), SERIAL)
    assert os.listdir(place) == ["out"]
    (tmp_path / "link").symlink_to(place / "out")
    run_job(JoinedLines(), Request((source,), tmp_path / "link" / ".." / "file"), SERIAL)
    assert (place / "file").is_file(), "a link leads where it leads"


class _OfFolder(JoinedLines):
    def plan(self, request: Request, scratch: Path):  # type: ignore[no-untyped-def]
        return super().plan(replace(request, sources=(request.sources[0] / "source.txt",)), scratch)


@pytest.mark.parametrize("name", ["out.rec", "out.TAR", "out.bin"])
def test_a_folder_named_like_a_file_of_images_is_refused(tmp_path: Path, name: str) -> None:
    source, output = write_lines(tmp_path / "source.txt"), tmp_path / name
    with pytest.raises(OutputError, match=f"{name}: this command writes a folder: .*convert"):
        run_job(Lines(), Request((source,), output), SERIAL)
    assert not output.exists()
    output.mkdir()  # a person wants it so, or an earlier version made it
    assert run_job(Lines(), Request((source,), output), SERIAL).failed == 0


@pytest.mark.parametrize("only_looks", [False, True])
def test_the_root_of_the_file_system_is_no_output(tmp_path: Path, only_looks: bool) -> None:
    (tmp_path / "a.txt").write_text("a")
    start = preview_job if only_looks else run_job
    with pytest.raises(OutputError, match="the root of the file system cannot be an output"):
        start(Lines(), Request((tmp_path / "a.txt",), Path("/")), SERIAL)


def test_missing_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.txt: no such file or folder\. Check the path"):
        run_job(Lines(), Request((tmp_path / "none.txt",), tmp_path / "out"), SERIAL)
    (tmp_path / "none-00000-of-00002.txt").touch()
    with pytest.raises(SourceError, match=r"found .*/none-00000-of-00002\.txt\. Name that one"):
        run_job(Lines(), Request((tmp_path / "none.txt",), tmp_path / "out"), SERIAL)
    assert not (tmp_path / "out").exists()


def test_source_that_cannot_be_planned_leaves_nothing(request_: Request) -> None:
    class Bad(Lines):
        def plan(self, request: Request, scratch: Path):  # type: ignore[no-untyped-def]
            (scratch / "index").touch()
            raise SourceError("no lines")

    with pytest.raises(SourceError, match="no lines"):
        run_job(Bad(), replace(request_, output=request_.output / "deep" / "er"), SERIAL)
    assert not request_.output.exists()


def test_second_run_at_the_same_time_is_refused(request_: Request) -> None:
    run_job(Lines(poison="bad"), request_, SERIAL)
    before = tree(request_.output)
    at_work = pytest.raises(
        OutputError, match="another faceprep run is at work here. Wait for it, or stop it"
    )
    with locks.lock(request_.output / ".faceprep"), at_work:
        run_job(Lines(), request_, SERIAL)
    assert tree(request_.output) == before


# Room


@pytest.mark.parametrize(
    ("free", "message"),
    [
        (
            {"f_bavail": 5},
            r"not enough space: expected 24\.1 KiB free \(96 bytes of data \+ 12 files × half a "
            r"block of 4,096 bytes\),"
            r" found 20\.0 KiB\. Free some",
        ),
        ({"f_favail": 11}, r"cannot hold so many files: expected 12 free inodes, found 11\."),
    ],
)
def test_what_cannot_fit_is_refused(
    free: dict[str, int], message: str, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"f_bavail": 1 << 30, "f_frsize": 4096, "f_favail": 1 << 30, "f_files": 1 << 30}
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**state | free))
    with pytest.raises(OutputError, match=message):
        run_job(Lines(), request_, SERIAL)
    assert not request_.output.exists()
    monkeypatch.undo()
    run_job(Lines(poison="raise"), request_, SERIAL)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**state | {"f_favail": 4}))
    run_job(Lines(poison="raise"), request_, SERIAL)


def test_file_systems_without_a_limit_of_files(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = SimpleNamespace(f_bavail=1 << 30, f_frsize=4096, f_favail=0, f_files=0)
    monkeypatch.setattr(os, "statvfs", lambda path: state)
    assert run_job(Lines(), request_, SERIAL).ok == 12
