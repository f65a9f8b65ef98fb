"""Runs on a Ray cluster end with the bytes of a serial run, whatever befalls its nodes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from faceprep import Request, SerialRunner, run_job
from faceprep.core import registry
from faceprep.core.errors import FaceprepError, OptionError
from faceprep.core.job import Job
from faceprep.run import ray_address
from faceprep.run.ray import RayRunner
from tests.command import faceprep
from tests.fakes import Lines, results, write_lines
from tests.object_store import running_store
from tests.real import ROOT
from tests.run.ray_cluster import TRIALS

pytest.importorskip("ray", reason="pip install 'faceprep[ray]'")
ENVIRONMENT = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder of the runs and how each ended."""
    root = tmp_path_factory.mktemp("ray")
    program = [sys.executable, "-m", "tests.run.ray_cluster", str(root)]
    for _ in range(3):  # Ray gives a node 30 s to start, which a busy machine may exceed
        done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if "timed out during startup" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    yield root, json.loads(done.stdout)


@pytest.mark.parametrize("name", TRIALS)
def test_the_bytes_of_a_serial_run(name: str, trial: tuple[Path, dict[str, Any]]) -> None:
    root, done = trial
    status, printed = done[name]
    assert status == 0
    found = json.loads(printed)  # nothing else is on stdout
    assert (found["inputs"], found["ok"], found["by_status"]) == (60, 60, {"ok": 60})
    serial = root / f"{name}-serial"
    run_job(Lines(), Request((root / "source.txt",), serial), SerialRunner())
    assert results(root / name) == results(serial)


def test_lost_shards_are_attempted_again(trial: tuple[Path, dict[str, Any]]) -> None:
    root, _ = trial
    lost = [name for name in TRIALS if name != "killed"]
    attempts = [(root / f"{name}.diary").read_text().split() for name in lost]
    assert all(len(set(each)) == 15 for each in attempts)
    assert sum(map(len, attempts)) > len(lost) * 15


def test_a_cluster_of_this_machine_alone(tmp_path: Path) -> None:
    """No cluster is at hand; relative paths hold, and damage is named as by other runners."""
    source = tmp_path / "in" / "ann"
    source.mkdir(parents=True)
    for n in range(3):
        (source / f"{n}.jpg").write_bytes(b"junk")
    words = ("score", "in", "out.parquet", "--workers", "1")
    ours = faceprep(*words, "--runner", "ray", cwd=tmp_path, **ENVIRONMENT)
    (tmp_path / "out.parquet").rename(tmp_path / "ray.parquet")
    theirs = faceprep(*words, "--overwrite", cwd=tmp_path)
    assert (ours.returncode, theirs.returncode) == (3, 3)
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "out.parquet").read_bytes()
    assert "0.jpg" in ours.stderr and "3 undecodable" in ours.stdout


def test_a_cluster_that_does_not_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray raises an error of no class of its own on a busy machine."""
    import ray

    def init(*_: object, **__: object) -> None:
        raise Exception("The current node timed out during startup.\nMore.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("faceprep.run.ray.choose_address", lambda address: ray_address.LOCAL)
    write_lines(tmp_path / "in.txt", 1)
    request = Request((tmp_path / "in.txt",), tmp_path / "out")
    with pytest.raises(FaceprepError, match=r"connect to Ray: The .* startup\. Check the cluster"):
        run_job(Lines(), request, RayRunner(1))
    assert not (tmp_path / "out").exists()


def test_an_output_in_a_store(rec_set: Path, tmp_path: Path) -> None:
    """Workers put what they make, and the objects are those of a serial run."""
    words = ("convert", rec_set / "train.rec", "s3://faces/out/train.tar", "--shards", "3")
    with running_store() as store:
        places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "RAY_ADDRESS": "local"}
        done = store.run(*words, "--runner", "ray", "--workers", "2", **ENVIRONMENT, **places)
        assert done.returncode == 0, done.stderr
        found = store.objects()
        store.clear()
        assert store.run(*words, "--runner", "serial", **places).returncode == 0
        assert store.objects() == found
        assert len([key for key in found if key.endswith(".tar")]) == 3


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "127.0.0.1", "127.0.0.1:x", ":1"])
def test_an_address_that_is_none(address: str) -> None:
    from faceprep import RayRunner

    with pytest.raises(OptionError, match="--ray-address: expected HOST:PORT"):
        RayRunner(1, address=address)


def test_an_address_where_nothing_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    (tmp_path / "in").mkdir()
    words = ("score", "in", "out.parquet", "--ray-address", address)
    done = faceprep(*words, "--runner", "ray", cwd=tmp_path)
    assert done.returncode == 2 and f"no Ray cluster at {address}" in done.stderr
    done = faceprep(*words, cwd=tmp_path)
    assert done.returncode == 2 and "--ray-address needs --runner ray" in done.stderr
    assert not (tmp_path / "out.parquet").exists()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Listen and never answer, as a frozen cluster does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_address_that_does_not_answer(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from faceprep import RayRunner

    monkeypatch.setattr(ray_address, "_CONNECT_S", 0.2)
    address = f"127.0.0.1:{silent_port}"
    with pytest.raises(OptionError, match=f"--ray-address: no Ray cluster at {address}: no answer"):
        RayRunner(1, address=address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(OptionError, match=f"RAY_ADDRESS: no Ray cluster at {address}: no answer"):
        RayRunner(1)


def test_an_address_of_another_program() -> None:
    from faceprep import RayRunner

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(OptionError, match="another program answers"):
            RayRunner(1, address=f"127.0.0.1:{server.server_port}")


@pytest.mark.parametrize("port", ["1", "99999", "x", ""])
def test_the_address_of_a_cluster_that_is_gone(
    port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ray would try to reach it for minutes."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert ray_address.choose_address("") == ray_address.AT_HAND
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{port}\n")
    assert ray_address.choose_address("") == ray_address.LOCAL
    (line,) = caplog.messages
    assert line.startswith(f"no Ray cluster at 127.0.0.1:{port}, which {tmp_path}")
    assert line.endswith("starting one on this machine")


def test_a_missing_package(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError(name='ray')")
    (tmp_path / "in").mkdir()
    paths = f"{tmp_path}{os.pathsep}{ROOT}"
    done = faceprep("score", "in", "out.parquet", "--runner", "ray", cwd=tmp_path, PYTHONPATH=paths)
    assert done.returncode == 1 and "pip install 'faceprep[ray]'" in done.stderr


@pytest.mark.parametrize("name", sorted(registry.COMMANDS))
def test_commands_with_a_device_take_a_gpu(name: str) -> None:
    command = registry.load(registry.COMMANDS, name)
    if issubclass(command, Job):
        has_device = "device" in {each.name for each in fields(command)}
        assert (command.uses_gpu is not Job.uses_gpu) == has_device
