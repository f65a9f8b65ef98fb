"""One run at a time; a worker of a run that is over may not write any more."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from faceprep.core import locks
from faceprep.core.errors import OutputError


def test_lock_is_for_one_and_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        refused = pytest.raises(OutputError, match="another faceprep run is at work here")
        with locks.lock(tmp_path), refused, locks.lock(tmp_path):
            raise AssertionError("held twice")


def test_folders_made_for_the_lock_alone_go_again(tmp_path: Path) -> None:
    with locks.lock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / "lock").exists()
    assert os.listdir(tmp_path) == []
    with locks.lock(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "run.json").touch()
    assert (tmp_path / "a" / "b" / "run.json").exists()


def test_folder_in_which_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = pytest.raises(
        OutputError, match=r"cannot make the folder: File exists\. A file is in the way"
    )
    with refused, locks.lock(tmp_path / "file" / ".faceprep"):
        raise AssertionError("there is no such folder")


def test_error_inside_is_not_taken_for_one_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locks.lock(tmp_path):
        raise FileNotFoundError("inside")
    with (
        locks.lock(tmp_path) as token,
        pytest.raises(FileNotFoundError),
        locks.at_work(tmp_path, token),
    ):
        raise FileNotFoundError("inside")


def test_next_run_waits_for_the_last_worker(tmp_path: Path) -> None:
    with locks.lock(tmp_path) as token:
        (tmp_path / "run.json").touch()
        worker = locks.at_work(tmp_path, token)
        worker.__enter__()
    ended: list[float] = []

    def end() -> None:
        time.sleep(0.1)
        ended.append(time.monotonic())
        worker.__exit__(None, None, None)

    thread = threading.Thread(target=end)
    thread.start()
    with locks.lock(tmp_path):
        assert ended and time.monotonic() >= ended[0]
    thread.join()


def test_patience_with_a_worker_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 0.05)
    with locks.lock(tmp_path) as token:
        (tmp_path / "run.json").touch()
        refused = pytest.raises(OutputError, match="is still writing here. Wait for it")
        with locks.at_work(tmp_path, token), refused, locks.without_workers(tmp_path):
            raise AssertionError("it is at work")


def test_worker_that_comes_too_late(tmp_path: Path) -> None:
    with locks.lock(tmp_path) as old:
        (tmp_path / "run.json").touch()
    for token in (old, ""):
        refused = pytest.raises(OutputError, match="another run has taken over here")
        with locks.lock(tmp_path), refused, locks.at_work(tmp_path, token):
            raise AssertionError("it may not work")


def test_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(fd: int, operation: int) -> None:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locks.lock(tmp_path) as token, locks.at_work(tmp_path, token):
        pass
    assert caplog.messages == [
        f"{tmp_path}: this file system has no locks: do not start a second run on this output"
    ]
