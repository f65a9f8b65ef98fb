"""Inputs that the environment has spoilt are tried again at the next start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep import Request, SerialRunner, run_job
from faceprep.core import passing_faults, storage
from faceprep.run import heartbeat
from faceprep.vision import codec
from tests.fakes import results
from tests.real import ROOT
from tests.run import test_items
from tests.run.test_items import BAD, Copies, N, fill

_FAULTS = """
import errno, os
from faceprep.core import storage
from faceprep.vision import codec
real, decode = storage.open_regular, codec.decode_noted
kind = os.environ.get("FAULT", "")
def open_regular(path):
    if "1.png" in str(path) and kind in ("EACCES", "EIO"):
        number = getattr(errno, kind)
        raise OSError(number, os.strerror(number))
    return real(path)
def decode_noted(data):
    if bytes(data).endswith(b"large") and kind == "memory":
        raise MemoryError
    return decode(data)
storage.open_regular, codec.decode_noted = open_regular, decode_noted
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three people with an image each, and the module that spoils some."""
    image = codec.encode(np.full((112, 112, 3), 99, np.uint8), ".png")
    for i, end in enumerate((b"", b"large", b"")):
        folder = tmp_path / "set" / str(i)
        folder.mkdir(parents=True)
        (folder / f"{i}.png").write_bytes(image + end)
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "sitecustomize.py").write_text(_FAULTS)
    return tmp_path / "set"


def start(images: Path, command: str, output: Path, fault: str = "") -> tuple[int, dict[str, Any]]:
    words = [command, str(images), str(output), "--workers", "1", "--json", "-q"]
    stub = images.parent / "stub"
    done = subprocess.run(
        [sys.executable, "-m", "faceprep", *words],
        env=os.environ | {"PYTHONPATH": f"{stub}:{ROOT}", "FAULT": fault},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("command", "name", "fault", "status"),
    [
        ("convert", "out", "EACCES", "unreadable"),
        ("convert", "out.rec", "EIO", "unreadable"),
        ("score", "out.parquet", "memory", "no_memory"),
    ],
)
def test_what_was_spoilt_is_tried_again(
    command: str, name: str, fault: str, status: str, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "spoilt" / name
    exit_status, told = start(images, command, output, fault)
    assert (exit_status, told["by_status"]) == (3, {"ok": 2, status: 1})
    exit_status, told = start(images, command, output)
    assert (exit_status, told["by_status"]) == (0, {"ok": 3}), told
    assert start(images, command, tmp_path / "whole" / name)[0] == 0
    assert results(tmp_path / "spoilt") == results(tmp_path / "whole")
    assert start(images, command, output)[1]["done_before"] == 3


def test_only_the_shard_with_the_fault_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, diary = fill(tmp_path / "source", {}), tmp_path / "diary"
    request, job = Request((source,), tmp_path / "out"), Copies(diary=str(diary))
    real = storage.open_regular

    def open_regular(path: str | os.PathLike[str]) -> int:
        if os.fspath(path).endswith("07"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "open_regular", open_regular)
        for _ in range(2):
            assert run_job(job, request, SerialRunner()).by_status == {"ok": N - 1, "unreadable": 1}
    assert diary.read_text().split() == ["000000", "000001", "000001"]
    assert run_job(job, request, SerialRunner()).ok == N
    assert diary.read_text().split() == ["000000", "000001", "000001", "000001"]


def test_damage_is_final(tmp_path: Path) -> None:
    passing_faults.forget()
    storage.make_folder(tmp_path / "a")
    with pytest.raises(Exception, match="Is a directory"):
        storage.read_bytes(tmp_path / "a")
    assert not passing_faults.are_met()


def test_a_display_in_the_same_process_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, diary = fill(tmp_path / "source", {BAD: "decoder raises"}), tmp_path / "diary"
    request, job = Request((source,), tmp_path / "out"), Copies(diary=str(diary))
    real = test_items.happen

    def happen(what: str) -> None:
        assert heartbeat.count_done(tmp_path / "signs of no shard") == 0
        real(what)

    monkeypatch.setattr(test_items, "happen", happen)
    begun = []
    for _ in range(2):
        assert run_job(job, request, SerialRunner()).by_status == {"ok": N - 1, "crashed": 1}
        begun.append(diary.read_text())
    assert begun[0] == begun[1]
