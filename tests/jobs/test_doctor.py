"""`doctor`: what it says is so, and it works where little else does."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep import Doctor
from faceprep.core import dependencies as installed
from tests.command import faceprep
from tests.object_store import running_store
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


def test_a_store_is_asked_what_is_there(tmp_path: Path) -> None:
    """A name in a store has no free space; what counts is whether the store answers."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    with running_store() as store:
        store.put(tmp_path / "a.jpg", "set/a/1.jpg")

        def ask(url: str, **environment: str) -> tuple[int, dict[str, Any]]:
            done = doctor(url, "--json", **(dict(store.environment) | environment))
            told = json.loads(done.stdout)
            assert not any("s3:" in place for place in told["space"])
            return done.returncode, told["store"]

        status, there = ask("s3://faces/set")
        assert (status, there["found"], there["takes_outputs"]) == (0, "1 name listed", True)
        status, new = ask("s3://faces/new")
        assert (status, new["found"]) == (0, "nothing there yet, and listing is allowed")
        status, other = ask("s3://other/new")
        assert (status, other["found"]) == (1, "")
        assert other["problem"].startswith("s3://other/new: no such bucket: other")
        status, dead = ask("s3://faces/set", AWS_ENDPOINT_URL="http://127.0.0.1:9")
        assert status == 1
        assert "the store does not answer properly" in dead["problem"]
        shown = doctor("s3://faces/set", **store.environment).stdout
        assert "s3://faces/set: 1 name listed; writing was not tried" in shown


def test_a_store_whose_package_is_missing() -> None:
    pytest.importorskip("fsspec")
    if importlib.util.find_spec("gcsfs"):
        pytest.skip("gcsfs is installed")
    done = doctor("gs://bucket/x")
    assert done.returncode == 1
    assert "pip install 'faceprep[gcs]'" in done.stdout.partition("object store")[2]


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
