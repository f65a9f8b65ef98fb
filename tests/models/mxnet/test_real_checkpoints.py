"""Real graphs of InsightFace's families and of MTCNN give what real MXNet gives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.storage import ByteSource
from faceprep.models import weights
from faceprep.models.mxnet.checkpoint import Checkpoint
from faceprep.models.mxnet.params import Params
from faceprep.models.onnx_session import Runtime
from tests.models.real_mxnet import RealMxnet, real_mxnet
from tests.real import DATA, needs_data, needs_mxnet

MODELS = DATA / "models" / "mxnet"
CLOSE = 1e-5
"""Largest difference, relative to the largest value; the promise is 1e-4."""
SHAPES = {
    "det1": (2, 3, 40, 51),
    "det2": (2, 3, 24, 24),
    "det3": (2, 3, 48, 48),
    "retinaface-like": (1, 3, 100, 90),
}
"""Shape of the data; 112 × 112 where there is none. RetinaFace's is no multiple of a stride."""
CROPS = (2, 3, 112, 112)
NAMES = [*SHAPES, "m1", "y1", "y2", "vargfacenet", "r50", "r50v1se"]


@pytest.fixture(scope="module")
def mxnet() -> Iterator[RealMxnet]:
    with real_mxnet() as running:
        yield running


@needs_data
@needs_mxnet
@pytest.mark.parametrize("name", NAMES)
def test_a_network_agrees_with_mxnet(name: str, mxnet: RealMxnet, tmp_path: Path) -> None:
    for path in MODELS.glob(f"{name}-*"):
        shutil.copyfile(path, tmp_path / path.name)
    epoch = 1 if name.startswith("det") else None
    data, expected = mxnet.run(tmp_path / name, SHAPES.get(name, CROPS), epoch=epoch)
    checkpoint = Checkpoint.find(str(tmp_path / f"{name}-symbol.json"))
    for is_for_cpu in (False, True):
        found = Runtime("cpu", 1).open(checkpoint.to_onnx(is_for_cpu)).run(data)
        assert [each.shape for each in found] == [each.shape for each in expected]
        for one, other in zip(found, expected, strict=True):
            assert other.std() > 1e-3, "a saturated output shows no difference"
            assert np.abs(one - other).max() < CLOSE * np.abs(other).max()


@needs_data
@pytest.mark.parametrize(("name", "packed"), [("det1", "pnet"), ("det2", "rnet"), ("det3", "onet")])
def test_the_weights_of_mtcnn_are_those_of_the_detector(name: str, packed: str) -> None:
    """`--detector mtcnn` has the weights of InsightFace's checkpoints, with channels reversed."""
    pytest.importorskip("lz4")
    kernel = weights.mtcnn_layers(weights.mtcnn_file(packed))[0]
    with ByteSource(MODELS / f"{name}-0001.params") as source:
        found = Params(source).read("conv1_weight")
    assert np.array_equal(found, kernel.transpose(3, 2, 0, 1)[:, ::-1])
