"""Graphs run where they should, and never silently elsewhere."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from faceprep.core.errors import FaceprepError, OptionError, OutOfMemory, SourceError
from faceprep.models.onnx_session import Runtime
from faceprep.models.weights import retinaface_onnx
from tests.real import ROOT

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class PretendSession:
    """A session that claims the given providers."""

    def __init__(self, providers: list[str]) -> None:
        self._providers = providers

    def get_providers(self) -> list[str]:
        return self._providers

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {CUDA: {"device_id": "1"}}

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="input")]


@pytest.fixture()
def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An ONNX Runtime built with CUDA, whose sessions report the providers in the list; empty:
    what they were asked.
    """
    reported: list[str] = []

    def open_session(model: bytes, options: Any, providers: list[Any], **more: Any) -> Any:
        names = [provider if isinstance(provider, str) else provider[0] for provider in providers]
        return PretendSession(reported or names)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    return reported


def test_auto_runs_on_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    network = Runtime(threads=1).open(retinaface_onnx())
    assert network.provider == "CPU" and not network.on_gpu
    assert network.run(np.zeros((1, 3, 32, 32), np.float32))[0].shape == (1, 42, 4)


@pytest.mark.parametrize("runtime", [Runtime("cuda"), Runtime("cuda:1"), Runtime(require_gpu=True)])
def test_a_gpu_that_is_asked_for_must_be_there(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    with pytest.raises(
        FaceprepError, match=r"expected CUDA .* found an ONNX Runtime with CPU.* onnxruntime-gpu"
    ):
        runtime.open(retinaface_onnx())


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_a_working_gpu_is_taken(device: str, pretend_gpu: list[str]) -> None:
    network = Runtime(device).open(b"")
    assert network.on_gpu and network.provider == "CUDA (device 1)" and network.best_batch > 1


def test_the_cpu_is_taken_on_request(pretend_gpu: list[str]) -> None:
    assert Runtime("cpu").open(b"").provider == "CPU"


@pytest.mark.parametrize("runtime", [Runtime("cuda"), Runtime(require_gpu=True)])
def test_a_session_that_fell_back_is_an_error(runtime: Runtime, pretend_gpu: list[str]) -> None:
    pretend_gpu.append(CPU)
    with pytest.raises(FaceprepError, match="a CUDA installation that does not start"):
        runtime.open(b"")


def test_auto_says_why_it_falls_back(
    pretend_gpu: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    pretend_gpu.append(CPU)
    with caplog.at_level(logging.WARNING, "faceprep"):
        assert Runtime().open(b"").provider == "CPU"
    assert (
        "the CPU is used, because no GPU can be used: a CUDA installation that does not start"
        in caplog.text
    )


def test_a_gpu_error_is_reported(pretend_gpu: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA failure 100: no CUDA-capable device\nand a long trace")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(
        FaceprepError, match=r"found CUDA failure 100: no CUDA-capable device\. Uninstall"
    ):
        Runtime("cuda").open(b"")


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("Exception during loading: std::bad_alloc", r"memory ran out .*ulimit -v"),
        ("pthread_create failed, error code: 11", r"no thread can be started .*ulimit -u"),
    ],
)
def test_a_lack_of_memory_is_no_bad_model(
    reason: str, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(reason)

    network = Runtime("cpu", threads=1).open(retinaface_onnx())
    monkeypatch.setattr(network.session, "run", fail)
    with pytest.raises(MemoryError):
        network.run(np.zeros((1, 3, 32, 32), np.float32))
    monkeypatch.setattr(onnxruntime.capi._pybind_state, "InferenceSession", fail)
    with pytest.raises(OutOfMemory, match=line):
        Runtime("cpu", threads=1).open(retinaface_onnx())
    assert capfd.readouterr().out == "", "ONNX Runtime prints to stdout before it tries again"


@pytest.mark.parametrize("model", [b"", b"no model", retinaface_onnx()[:1000]])
def test_what_is_no_model_is_refused(model: bytes) -> None:
    with pytest.raises(SourceError, match="not a model that ONNX Runtime can open"):
        Runtime("cpu").open(model)


def test_workers_take_several_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = "cuda:2,cuda:0,cuda:1"
    assert Runtime(devices).device == "cuda:2", "the driver is as the first worker"
    taken = []
    for number in range(5):
        monkeypatch.setenv("FACEPREP_WORKER", str(number))
        taken.append(Runtime(devices).device)
    assert taken == ["cuda:2", "cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert Runtime("cpu").device == "cpu"


@pytest.mark.parametrize("device", ["cuda:0,cpu", "cuda,cuda", "cuda:0,", "auto,cuda:1"])
def test_lists_of_anything_but_numbered_gpus_are_refused(device: str) -> None:
    with pytest.raises(OptionError, match="several as cuda:0,cuda:1"):
        Runtime(device)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_unknown_devices_are_refused(device: str) -> None:
    with pytest.raises(OptionError, match="^invalid --device: expected"):
        Runtime(device)


def test_wishes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(OptionError, match="the device is cpu"):
        Runtime("cpu", require_gpu=True)
    with pytest.raises(OptionError, match="invalid number of threads"):
        Runtime(threads=-1)


def test_threads_are_those_asked_for() -> None:
    session = Runtime("cpu", threads=1).open(retinaface_onnx()).session
    assert session.get_session_options().intra_op_num_threads == 1


def test_onnx_runtime_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    program = (
        "from faceprep.models.onnx_session import Runtime\n"
        "from faceprep.models.weights import retinaface_onnx\n"
        "Runtime('cpu', 1).open(retinaface_onnx())\n"
    )
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORT_")}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env=environment | places)
    assert not list(tmp_path.rglob("*"))
