"""TorchScript: the pip line without PyTorch; with a stand-in, what it is asked; with PyTorch
itself, its vectors.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faceprep.core.errors import FaceprepError, MissingExtra, SourceError
from faceprep.models.embedders.embedder import EmbedderSpec
from faceprep.models.embedders.file_embedder import FileEmbedder
from faceprep.models.files.preparation import InputOptions
from faceprep.models.files.torchscript import open_torchscript
from faceprep.models.onnx_session import Runtime
from tests.tiny_models import DIM, expected, random_crops, save_torchscript

CROPS = random_crops(20)


def open_embedder_at(runtime: Runtime, path: str, options: InputOptions) -> FileEmbedder:
    return FileEmbedder(open_torchscript(runtime, path), options)


class PretendTensor:
    """The part of a tensor that an embedder needs."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.values if name == "numpy" else self


class PretendModule:
    """Means of cells, as the tiny models have them."""

    def eval(self) -> PretendModule:
        return self

    def __call__(self, tensor: PretendTensor) -> PretendTensor:
        n, channels, side, _ = tensor.values.shape
        if side != 112:
            raise RuntimeError(
                "The following operation failed\nmat1 and mat2 shapes cannot be multiplied"
            )
        return PretendTensor(
            tensor.values.reshape(n, channels, 4, 28, 4, 28).mean(axis=(3, 5)).reshape(n, -1)
        )


@pytest.fixture()
def pretend_torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    torch: Any = ModuleType("torch")

    def load(path: str, map_location: str) -> PretendModule:
        warnings.warn("deprecated", FutureWarning, stacklevel=2)  # as PyTorch 2.14 does
        if b"hello" in Path(path).read_bytes():
            raise RuntimeError("PytorchStreamReader failed\nat line 1")
        torch.device = map_location
        return PretendModule()

    torch.jit = SimpleNamespace(load=load)
    torch.cuda = SimpleNamespace(
        is_available=lambda: torch.n_gpus > 0, device_count=lambda: torch.n_gpus
    )
    torch.n_gpus, torch.from_numpy, torch.set_num_threads = 0, PretendTensor, lambda n: None
    torch.inference_mode = lambda: pytest.MonkeyPatch.context()
    monkeypatch.setitem(sys.modules, "torch", torch)
    return torch


def test_the_vectors_of_the_module(pretend_torch: Any, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"module")
    embedder = open_embedder_at(Runtime("auto", 1), str(tmp_path / "net.pt"), InputOptions())
    assert (embedder.template, embedder.dim, embedder.provider, pretend_torch.device) == (
        "arcface-112",
        DIM,
        "CPU",
        "cpu",
    )
    assert np.abs(embedder.embed(CROPS) - expected(CROPS)).max() < 1e-4
    pretend_torch.n_gpus = 2
    on_gpu = open_embedder_at(Runtime("cuda:1", 1), str(tmp_path / "net.pt"), InputOptions())
    assert (on_gpu.provider, pretend_torch.device) == ("CUDA (device 1)", "cuda:1")
    assert on_gpu.model == embedder.model


def test_what_cannot_be_is_one_line(pretend_torch: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    with pytest.raises(SourceError, match="no such file"):
        open_embedder_at(Runtime(), str(path), InputOptions())
    path.write_bytes(b"hello")
    with pytest.raises(SourceError, match="not a TorchScript module: PytorchStreamReader failed"):
        open_embedder_at(Runtime(), str(path), InputOptions())
    path.write_bytes(b"module")
    with pytest.raises(SourceError, match=r"does not take crops of \(224, 224\): mat1 and mat2"):
        open_embedder_at(Runtime(), str(path), InputOptions(size=(224, 224)))
    for runtime in (Runtime("cuda:3"), Runtime(require_gpu=True)):
        with pytest.raises(FaceprepError, match="no GPU can be used"):
            open_embedder_at(runtime, str(path), InputOptions())


def test_without_it_the_pip_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"module")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match="pip install torch"):
        open_embedder_at(Runtime(), str(tmp_path / "net.pt"), InputOptions())


def test_too_little_memory_to_load_it_is_not_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "net.pt").write_bytes(b"module")
    (tmp_path / "torch.py").write_text('raise ImportError("libtorch.so: failed to map segment")')
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FaceprepError, match="memory ran out .*ulimit -v"):
        open_embedder_at(Runtime(), str(tmp_path / "net.pt"), InputOptions())


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_real_module(tmp_path: Path) -> None:
    from faceprep.models.embedders.embedder import open_embedder

    save_torchscript(tmp_path / "net.pt")
    found = open_embedder(EmbedderSpec(str(tmp_path / "net.pt"), device="cpu")).embed(CROPS)
    assert np.abs(found - expected(CROPS)).max() < 1e-4


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_pickled_module_is_not_read(tmp_path: Path) -> None:
    import torch

    torch.save(torch.nn.Flatten(), tmp_path / "net.pt")
    with pytest.raises(SourceError, match="not a TorchScript module") as refused:
        open_embedder_at(Runtime("cpu"), str(tmp_path / "net.pt"), InputOptions())
    assert "torch.jit.save" in str(refused.value)
    assert ". " not in refused.value.problem
