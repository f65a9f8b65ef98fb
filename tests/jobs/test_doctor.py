"""`doctor`: what it says is so, and it works where little else does."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from faceprep import Doctor
from faceprep.core import dependencies as installed
from tests.command import faceprep
from tests.real import ROOT


def doctor(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return faceprep("doctor", *arguments, cwd=ROOT, **environment)


def test_what_it_tells(tmp_path: Path) -> None:
    done = doctor(tmp_path / "not" / "there", "--json", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["versions"]["numpy"] == np.__version__
    assert told["versions"]["pyarrow"] == importlib.metadata.version("pyarrow")
    assert told["cores"]["usable"] == len(os.sched_getaffinity(0))
    assert set(told["space"]) == {str(tmp_path / "not" / "there"), str(ROOT), str(tmp_path)}
    assert all(free["free_bytes"] > 0 for free in told["space"].values())
    assert told["open_files"]["soft"] > 0
    assert told["broken"] == []
    assert not (tmp_path / "not").exists()


def test_providers_are_those_of_onnx_runtime() -> None:
    ort = pytest.importorskip("onnxruntime")
    assert Doctor().look().providers == ort.get_available_providers()


def test_what_is_missing_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    have = installed.version_of
    monkeypatch.setattr(
        installed,
        "version_of",
        lambda project: None if project in ("av", "mtcnn") else have(project),
    )
    found = Doctor().look()
    lacks = {lack.extra: lack for lack in found.lacks}
    assert lacks["video"].commands == ("extract-video",)
    assert lacks["detect"].commands == ("extract-photos",)
    assert lacks["detect"].models == ("mtcnn",)
    assert "for extract-video: pip install 'faceprep[video]'" in str(found)
    assert "    av is not installed" in str(found)
    assert found.exit_status == 0, "the base install is sound"


def test_a_broken_base_is_status_1(tmp_path: Path) -> None:
    """It runs without numpy, and says so."""
    (tmp_path / "numpy.py").write_text("raise ImportError('libsomething.so.1: cannot open')")
    done = doctor("--json", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "")
    broken = json.loads(done.stdout)["broken"]
    assert any(
        line.startswith("numpy cannot be loaded: libsomething.so.1: cannot open; pip install")
        for line in broken
    )


def test_few_open_files_are_told() -> None:
    command = f"ulimit -n 256; {sys.executable} -m faceprep doctor"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "256 (few: raise it with ulimit -n)" in done.stdout
