"""Standard streams that are closed, full or no longer read cost no output and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell that uses $faceprep."""
    line = f"faceprep='{sys.executable} -m faceprep'; {words}"
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=os.environ, capture_output=True, text=True
    )


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_stream_that_is_closed_or_full_changes_nothing(
    streams: str, face_folder: Path, tmp_path: Path
) -> None:
    whole = run(f"$faceprep convert {face_folder} whole.tar", tmp_path)
    assert whole.returncode == 0
    assert run(f"$faceprep convert {face_folder} out.tar {streams}", tmp_path).returncode == 0
    assert (tmp_path / "out.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()
    assert run(f"$faceprep inspect none {streams}", tmp_path).returncode == 1


@pytest.mark.parametrize("words", ["--help", "inspect {}", "inspect {} --json", "convert {} o.tar"])
def test_a_result_that_cannot_be_written_is_an_error(
    words: str, face_folder: Path, tmp_path: Path
) -> None:
    done = run(f"$faceprep {words.format(face_folder)} >/dev/full", tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("faceprep: standard output: cannot write: No space left on device.")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["--help", "inspect {}", "convert {} o.tar"])
def test_without_a_reader_only_the_status_tells(
    words: str, face_folder: Path, tmp_path: Path
) -> None:
    line = f"$faceprep {words.format(face_folder)} | true; exit ${{PIPESTATUS[0]}}"
    done = run(line, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error" not in done.stderr


@pytest.mark.parametrize("n_kib", [200_000, 400_000])
def test_a_limit_of_memory_is_no_missing_package(
    n_kib: int, face_folder: Path, tmp_path: Path
) -> None:
    done = run(f"ulimit -v {n_kib}; $faceprep score {face_folder} out.parquet", tmp_path)
    assert done.returncode == 1
    assert "memory ran out" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "pip install" not in done.stderr
