"""TFLite files: the real embedder, without TensorFlow, and the pip line where there is nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.errors import FaceprepError, MissingExtra
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from faceprep.models.files.preparation import InputOptions
from tests.real import DATA, needs_data, needs_tflite
from tests.tiny_models import random_crops

REAL = DATA / "models" / "MobileFaceNet.tflite"


@needs_data
@needs_tflite
def test_a_real_embedder_needs_no_settings(capfd: pytest.CaptureFixture[str]) -> None:
    embedder = open_embedder(EmbedderSpec(str(REAL), device="cpu", threads=1))
    assert (embedder.template, embedder.dim, embedder.provider) == ("arcface-112", 192, "CPU")
    assert "mean127.5/std128/rgb" in embedder.model.fingerprint
    crops = random_crops(5)
    vectors = embedder.embed(crops)
    assert np.array_equal(embedder.embed(crops[3:]), vectors[3:]), "whatever the batch"
    assert capfd.readouterr().err == "", "its program prints nothing"


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.tflite").write_bytes(b"")
    for module in ("ai_edge_litert", "ai_edge_litert.interpreter", "tensorflow"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"pip install 'faceprep\[tflite\]'"):
        open_embedder(
            EmbedderSpec(
                str(tmp_path / "net.tflite"), device="cpu", input_options=InputOptions(size=(9, 9))
            )
        )


def test_a_gpu_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"")
    with pytest.raises(FaceprepError, match="found a .tflite, which runs on the CPU only"):
        open_embedder(EmbedderSpec(str(tmp_path / "net.tflite"), device="cuda"))
