"""An output that is the root of another disk: a link to a folder there, a mount, or an overlay."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faceprep import Request, SerialRunner, run_job
from faceprep.run.staging import Staging
from faceprep.synthetic import write_insightface_rec
from tests.command import faceprep
from tests.fakes import JoinedLines, Lines, results, tree, write_lines
from tests.run.test_siblings import EVEN, ODD, SortedLines, files

SERIAL = SerialRunner()
MEMORY = Path("/dev/shm")


def mount(*arguments: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no mount here: {done.stderr.strip()}")


@pytest.fixture(params=["link", "tmpfs", "bind"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty folder that nothing can be renamed onto."""
    path = tmp_path / "there" / "out"
    path.parent.mkdir()
    if request.param == "link":
        if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip(f"{MEMORY} is no other file system")
        with tempfile.TemporaryDirectory(dir=MEMORY) as target:
            path.symlink_to(target)
            yield path
        return
    path.mkdir()
    if request.param == "tmpfs":
        mount("-t", "tmpfs", "tmpfs", str(path))
    else:
        (tmp_path / "bound").mkdir()
        mount("--bind", str(tmp_path / "bound"), str(path))
    yield path
    subprocess.run(["umount", str(path)], check=True)


def start_three_times(job: Any, request: Request, n: int = 12) -> None:
    assert run_job(job, request, SERIAL).ok == n
    assert run_job(job, request, SERIAL).details["done_before"] == n
    assert run_job(job, replace(request, overwrite=True), SERIAL).ok == n


@pytest.mark.parametrize("job", [Lines(), JoinedLines()], ids=lambda job: job.command)
def test_files_in_its_root(job: Any, place: Path, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "source.txt")
    output = place / "joined" if isinstance(job, JoinedLines) and job.has_file_output else place
    start_three_times(job, Request((source,), output))
    run_job(job, Request((source,), tmp_path / "plain"), SERIAL)
    if output == place:
        assert results(place) == results(tmp_path / "plain")


def test_folders_beside_it(place: Path, tmp_path: Path) -> None:
    start_three_times(SortedLines(), Request((write_lines(tmp_path / "source.txt"),), place))
    assert files(place) == EVEN | {"counts"}
    assert files(place.parent / "out_odd") == ODD
    assert os.listdir(place.parent / "out_odd") == ["a"]


def test_a_folder_beside_it_on_another_disk(tmp_path: Path) -> None:
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip(f"{MEMORY} is no other file system")
    with tempfile.TemporaryDirectory(dir=MEMORY) as target:
        (tmp_path / "out_odd").symlink_to(target)
        request = Request((write_lines(tmp_path / "source.txt"),), tmp_path / "out")
        start_three_times(SortedLines(), request)
        assert files(Path(target)) == ODD and os.listdir(target) == ["a"]


def carry_out(*arguments: str | Path) -> None:
    done = faceprep(*arguments, "-q")
    assert done.returncode == 0, done.stderr


def test_commands(place: Path, tmp_path: Path) -> None:
    """A container to a folder, and a folder to a file in one, each begun three times."""
    rec = tmp_path / "set" / "train.rec"
    write_insightface_rec(rec.parent, 2, 2)
    for more in ((), (), ("--overwrite",)):
        carry_out("rec2folder", rec, place / "", *more)
    listed = tmp_path / "listed"
    shutil.copytree(place, listed, ignore=shutil.ignore_patterns(".faceprep"))
    for more in ((), (), ("--overwrite",)):
        carry_out("manifest", listed, place / "list.csv", "--seed", "1", *more)
    assert (place / "list.csv").stat().st_size


def test_staged_folders_that_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An overlay renames the files of a folder in a lower layer, but not the folder."""
    real = os.rename

    def rename(source: str, *args: Any, **kwargs: Any) -> None:
        if os.path.isdir(source):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, *args, **kwargs)

    monkeypatch.setattr(os, "rename", rename)
    (tmp_path / "out").mkdir()
    new = Staging(tmp_path / "out", tmp_path / "state")
    new.write("a/1", b"1")
    new.commit([], tmp_path / "page")
    assert tree(tmp_path / "out") == {"a": None, "a/1": b"1"}
    assert sorted(os.listdir(tmp_path)) == ["out", "page"]
