"""Paths of files outside the project: real data, and real MXNet in an environment of its own."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the real files are not beside the project"
)
has_tflite = any(map(importlib.util.find_spec, ("ai_edge_litert", "tensorflow")))
needs_tflite = pytest.mark.skipif(
    not has_tflite, reason="neither ai-edge-litert nor TensorFlow is installed"
)
needs_embedder = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="pip install face-recognition-models, for the weights of the default embedder",
)
needs_mtcnn = pytest.mark.skipif(
    importlib.util.find_spec("mtcnn") is None, reason="pip install mtcnn, for its weights"
)
"""Its import would load TensorFlow, which takes long and makes each fork slow."""

MXNET_PYTHON = Path(
    os.environ.get("FACEPREP_MXNET_PYTHON", ROOT / ".venv-mxnet" / "bin" / "python")
)
needs_mxnet = pytest.mark.skipif(
    not MXNET_PYTHON.exists(), reason="no MXNet: tests/run.sh makes its environment"
)
