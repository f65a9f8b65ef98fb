"""RetinaFace with nine maps: an MXNet checkpoint, and an .onnx made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.errors import OptionError, SourceError
from faceprep.core.faces import Detector
from faceprep.models.detectors.detector import DetectorSpec, open_detector
from faceprep.models.detectors.insightface import InsightFacePack
from faceprep.models.detectors.mxnet_file import MxnetDetector
from faceprep.models.detectors.retinaface_maps import decode
from faceprep.models.mxnet.checkpoint import Checkpoint
from faceprep.models.onnx_session import Runtime
from tests.models.mxnet_files import save_embedder, save_retinaface, with_red_cell

CPU = Runtime("cpu", 1)


def plain_decode(
    stride: int, maps: list[np.ndarray], min_score: float
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Decode as InsightFace does, anchor by anchor: base anchors of 16, scaled, in steps."""
    scales = {32: (32, 16), 16: (8, 4), 8: (2, 1)}[stride]
    found = []
    _, height, width = maps[0].shape
    for anchor, row, column in np.ndindex(2, height, width):
        score = maps[0][2 + anchor, row, column]
        if score < min_score:
            continue
        half = (16 * scales[anchor] - 1) / 2
        x1, y1 = 7.5 - half + column * stride, 7.5 - half + row * stride
        x2, y2 = 7.5 + half + column * stride, 7.5 + half + row * stride
        side = x2 - x1 + 1
        centre = np.array([x1 + (side - 1) / 2, y1 + (y2 - y1) / 2])
        shift = maps[1][4 * anchor : 4 * anchor + 4, row, column]
        middle, size = shift[:2] * side + centre, np.exp(shift[2:]) * side
        box = np.concatenate([middle - (size - 1) / 2, middle + (size - 1) / 2])
        points = maps[2][10 * anchor : 10 * anchor + 10, row, column].reshape(5, 2)
        found.append((box, points * side + centre, score))
    return found


@settings(max_examples=30, deadline=None)
@given(st.sampled_from((32, 16, 8)), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1 << 16))
def test_decoding_is_that_of_insightface(stride: int, rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = [rng.normal(0, 0.5, (n, rows, columns)).astype(np.float32) for n in (4, 8, 20)]
    maps[0] = rng.random(maps[0].shape, np.float32)
    boxes, landmarks, scores = decode(stride, maps, 0.5)
    expected = plain_decode(stride, maps, 0.5)
    assert len(boxes) == len(expected)
    for box, points, score, (one, two, three) in zip(
        boxes, landmarks, scores, expected, strict=True
    ):
        np.testing.assert_allclose(box, one, rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(points, two, rtol=1e-4, atol=1e-2)
        assert score == three


@pytest.fixture(params=["checkpoint", "onnx", "onnx of a fixed size"])
def detector(request: pytest.FixtureRequest, tmp_path: Path) -> Detector:
    symbol = save_retinaface(tmp_path / "r")
    if request.param == "checkpoint":
        return MxnetDetector(CPU, str(symbol))
    model = Checkpoint.find(str(symbol)).to_onnx()
    if request.param == "onnx of a fixed size":
        model = of_fixed_size(model, 96, 80)
    (tmp_path / "r.onnx").write_bytes(model)
    return InsightFacePack(CPU, str(tmp_path / "r.onnx"))


def of_fixed_size(model: bytes, height: int, width: int) -> bytes:
    import onnx

    fixed = onnx.load_from_string(model)
    sides = fixed.graph.input[0].type.tensor_type.shape.dim
    for side, size in zip(sides, (1, 3, height, width), strict=True):
        side.dim_value = size
    return fixed.SerializeToString()


@pytest.mark.parametrize("size", [(64, 64), (40, 77), (90, 50)])
def test_a_face_is_where_the_image_is_red(detector: Detector, size: tuple[int, int]) -> None:
    """The second anchor at stride 16 has a side of 64 around the middle of the cell."""
    faces, none = detector.detect([with_red_cell(*size), np.zeros((*size, 3), np.uint8)])
    assert len(faces) == 1 and len(none) == 0
    x, y = 2 * 16 + 7.5, 16 + 7.5
    box = [x + 16 - 31.5, y - 63.5, x + 16 + 31.5, y + 63.5]
    np.testing.assert_allclose(faces.boxes, [box], atol=1e-3)
    points = np.arange(10).reshape(5, 2) * 6.4 + (x, y)
    np.testing.assert_allclose(faces.landmarks, [points], atol=1e-3)
    assert 0.99 < faces.scores[0] <= 1


def test_a_network_of_a_fixed_size_gets_a_smaller_image(tmp_path: Path) -> None:
    model = of_fixed_size(Checkpoint.find(str(save_retinaface(tmp_path / "r"))).to_onnx(), 64, 64)
    (tmp_path / "r.onnx").write_bytes(model)
    large = with_red_cell().repeat(2, axis=0).repeat(2, axis=1)
    (faces,) = InsightFacePack(CPU, str(tmp_path / "r.onnx")).detect([large])
    (half,) = MxnetDetector(CPU, f"{tmp_path / 'r'},0").detect([with_red_cell()])
    np.testing.assert_allclose(faces.boxes, 2 * half.boxes, atol=1e-2)
    np.testing.assert_allclose(faces.landmarks, 2 * half.landmarks, atol=1e-2)


def test_the_spec_may_be_either_name(tmp_path: Path) -> None:
    symbol = save_retinaface(tmp_path / "r")
    for spec in (str(symbol), f"{tmp_path / 'r'},0"):
        (faces,) = open_detector(DetectorSpec(spec, "cpu", threads=1)).detect([with_red_cell()])
        assert len(faces) == 1


def test_another_network_is_refused(tmp_path: Path) -> None:
    symbol = save_embedder(tmp_path / "net")
    with pytest.raises(
        SourceError, match=r"net-symbol\.json: not a RetinaFace .* found outputs \(n, 32\)"
    ):
        MxnetDetector(CPU, str(symbol))
    with pytest.raises(OptionError, match="FILE-symbol.json, .* or a path to an .onnx") as raised:
        open_detector(DetectorSpec("mxnet", "cpu"))
    assert "Did you mean mxnet" not in str(raised.value)
