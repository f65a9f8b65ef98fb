"""The disk is full, or reports a fault, at any one moment: one clear line, and a second start
goes on.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faceprep import ProcessRunner, Rec2Folder, Request, SerialRunner, run_job
from faceprep.cli import main
from faceprep.core import disk_space
from faceprep.core.errors import OutputError
from tests.fakes import (
    BROKEN,
    FULL,
    JoinedLines,
    Lines,
    before_changes,
    failing,
    results,
    tree,
    write_lines,
)
from tests.turns import points_of_the_day

Run = Callable[[Path], object]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "source.txt", 7)


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [FULL, BROKEN], ids=os.strerror)
@pytest.mark.parametrize("kind", ["files", "one joined file"])
def test_fault_at_any_change_of_the_disk(
    kind: str, error: int, for_good: bool, source: Path, tmp_path: Path
) -> None:
    job, name = (JoinedLines(), "lines.bin") if kind == "one joined file" else (Lines(), "out")

    def run(output: Path) -> None:
        run_job(job, Request((source,), output), SerialRunner())

    with before_changes(lambda name, number: None) as made:
        run(tmp_path / "whole" / name)
    expected, sound = tree(tmp_path / "whole"), results(tmp_path / "whole")
    n_errors, changes = 0, points_of_the_day(range(1, len(made) + 1), 20)
    for change in changes:
        root = tmp_path / f"fault {change}"
        try:
            with before_changes(failing(error, change, for_good)):
                run(root / name)
        except OutputError as line:
            n_errors += 1
            assert os.strerror(error) in str(line) and "\n" not in str(line)
            assert str(root) in str(line), "where?"
            assert line.remedy
        for visible, data in results(root).items() if root.exists() else ():
            assert data == sound[visible], (
                f"half of {visible} is visible after a fault at change {change}"
            )
        run(root / name)
        assert tree(root) == expected, f"fault at change {change}, {made[change - 1]}"
    assert n_errors > len(changes) / 2  # of all 112, 94 or more end the run


def test_a_fault_leaves_no_file_of_a_shard_that_is_not_done(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with before_changes(lambda name, number: None) as made:
        run_job(Lines(), Request((source,), tmp_path / "whole"), SerialRunner())
    last_page = [n for n, name in enumerate(made, 1) if name == "link"][-2]  # before the joining
    last_write = last_page - made[:last_page][::-1].index("write")
    with before_changes(failing(FULL, last_write)), pytest.raises(OutputError):
        run_job(Lines(), Request((source,), output), SerialRunner())
    assert set(results(output)) == {"0", "1", "2", "0/0.txt", "1/1.txt", "2/2.txt", "0/3.txt"}


def test_short_writes_are_completed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job(Lines(), Request((source,), tmp_path / "whole"), SerialRunner())
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:3]))
    run_job(Lines(), Request((source,), tmp_path / "out"), SerialRunner())
    monkeypatch.undo()
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_full_disk_on_the_command_line(
    source: Path,
    rec_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    monkeypatch.setattr(
        "sys.argv", ["faceprep", "rec2folder", str(rec_set), str(output), "--runner", "serial"]
    )
    with before_changes(failing(FULL, 40, for_good=True)):
        assert main() == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert (
        line.startswith("faceprep: ")
        and "No space left on device" in line
        and "again to resume" in line
    )
    assert main() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 64 KiB; only root can make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no right to mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_disk_that_is_really_full(
    rec_set: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job(Rec2Folder(), Request((rec_set,), tmp_path / "whole"), SerialRunner())
    request = Request((rec_set,), small_disk / "out")
    with pytest.raises(
        OutputError, match=r"not enough space: expected .* data \+ 30 files .*found 5\d\.0 KiB"
    ):
        run_job(Rec2Folder(), request, ProcessRunner(2))
    assert not request.output.exists()
    monkeypatch.setattr(disk_space, "free_space", lambda path: (1 << 40, None, 4096))
    with pytest.raises(OutputError, match="No space left on device"):
        run_job(Rec2Folder(), request, ProcessRunner(2))
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    assert run_job(Rec2Folder(), request, ProcessRunner(2)).ok == 30
    assert tree(request.output).keys() == tree(tmp_path / "whole").keys()
    assert results(request.output) == results(tmp_path / "whole")


def test_unreadable_spot_costs_the_records_there(
    rec_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    offsets = [
        int(line.split("\t")[1]) for line in (rec_set / "train.idx").read_text().splitlines()
    ]
    bad = range(offsets[7] + 100, offsets[8] + 20)
    real = os.pread

    def pread(fd: int, n_bytes: int, offset: int) -> bytes:
        if offset < bad.stop and offset + n_bytes > bad.start:
            raise OSError(BROKEN, os.strerror(BROKEN))
        return real(fd, n_bytes, offset)

    monkeypatch.setattr(
        "sys.argv",
        ["faceprep", "rec2folder", str(rec_set), str(tmp_path / "out"), "--runner", "serial"],
    )
    monkeypatch.setattr(os, "pread", pread)
    assert main() == 3
    rows = (tmp_path / "out/failures.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [["7", "unreadable"], ["8", "unreadable"]]
    assert "Input/output error" in rows[1]
    assert capsys.readouterr().out.startswith("28 of 30 images ok, 28 files")
    assert len([name for name in results(tmp_path / "out") if name.endswith(".jpg")]) == 28
