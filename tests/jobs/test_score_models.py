"""score --model: a column from any model, its limits in the plan, and what cannot be."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from faceprep.core.errors import OptionError, SourceError
from faceprep.core.types import Request, Summary
from faceprep.jobs.score import Score
from faceprep.models.files.tflite_file import find_interpreter
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.tables.plan import read_plan
from faceprep.vision.codec import encode
from tests.failures import read_failures
from tests.real import DATA, needs_data, needs_tflite
from tests.tiny_models import head_weights, random_crops, save_heads

CROPS = random_crops(70)


def run(source: Path, output: Path, workers: int = 0, **options: Any) -> Summary:
    runner = ProcessRunner(workers) if workers else SerialRunner()
    return run_job(Score(device="cpu", **options), Request((source,), output), runner)


def column(path: Path, name: str) -> Any:
    return pq.read_table(path).column(name).to_pylist()


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 crops: more than a batch."""
    root = tmp_path_factory.mktemp("crops") / "a"
    root.mkdir()
    for place, crop in enumerate(CROPS):
        (root / f"{place:02d}.png").write_bytes(encode(crop, ".png"))
    return root.parent


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of four classes, of the mean colour."""
    return save_heads(tmp_path_factory.mktemp("net") / "net.onnx", {"logits": 4})


def logits(mean: float = 0, std: float = 255) -> Any:
    values = (CROPS.astype(np.float64) - mean) / std
    return values.mean(axis=(1, 2)) @ head_weights(4).T


def test_columns_are_what_the_models_say(crops: Path, net: Path, tmp_path: Path) -> None:
    models = (
        f"{net}:mean=0,std=255,read=softmax/1,name=spoof",
        f"{net}:mean=127.5,std=127.5,read=column/2",
    )
    summary = run(crops, tmp_path / "out.parquet", model=models, drop_above=("spoof=0.3",))
    assert (summary.inputs, summary.ok) == (70, 70)
    powers = np.exp(logits())
    wanted = powers[:, 1] / powers.sum(axis=1)
    assert np.allclose(column(tmp_path / "out.parquet", "spoof"), wanted, atol=1e-5)
    assert np.allclose(
        column(tmp_path / "out.parquet", "net"), logits(127.5, 127.5)[:, 2], atol=1e-5
    )
    judged, decisions = read_plan(tmp_path / "out.plan.jsonl")
    assert judged["options"]["model"] == list(models)
    dropped = {decision.subject for decision in decisions}
    assert dropped == {f"a/{place:02d}.png" for place in np.flatnonzero(wanted > 0.3)}


def test_the_same_bytes_with_any_number_of_workers(crops: Path, net: Path, tmp_path: Path) -> None:
    for name, workers in (("serial", 0), ("two", 2)):
        model = (f"{net}:mean=0,std=255,read=column/0",)
        run(crops, tmp_path / f"{name}.parquet", workers, model=model)
    serial, two = (tmp_path / f"{name}.parquet" for name in ("serial", "two"))
    assert serial.read_bytes() == two.read_bytes()


def test_crops_of_another_size_are_scaled_and_of_another_shape_noted(
    net: Path, tmp_path: Path
) -> None:
    large, wide = np.full((224, 224, 3), 90, np.uint8), np.full((60, 120, 3), 90, np.uint8)
    for name, pixels in (("large", large), ("wide", wide)):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.png").write_bytes(encode(pixels, ".png"))
    run(tmp_path / "in", tmp_path / "out.parquet", model=(f"{net}:mean=0,std=1,read=column/0",))
    grey, letterboxed = column(tmp_path / "out.parquet", "net")
    factor = head_weights(4)[0].sum()
    assert grey == pytest.approx(90 * factor, rel=1e-4)
    assert letterboxed == pytest.approx(45 * factor, rel=0.03), "letterboxed with black"


def test_one_number_needs_no_rule(tmp_path: Path, crops: Path) -> None:
    net = save_heads(tmp_path / "quality.onnx", {"score": 1})
    run(crops, tmp_path / "out.parquet", model=(f"{net}:mean=0,std=255",))
    wanted = (CROPS / 255).mean(axis=(1, 2)) @ head_weights(1).T
    assert np.allclose(column(tmp_path / "out.parquet", "quality"), wanted[:, 0], atol=1e-5)


def test_a_score_that_is_no_number_is_a_named_failure(tmp_path: Path) -> None:
    """The logarithm of what is negative."""
    net = save_heads(tmp_path / "log.onnx", {"score": 1}, last="Log")
    sign = int(np.sign(head_weights(1).sum()))
    for name, value in (("good", 255 if sign > 0 else 0), ("bad", 0 if sign > 0 else 255)):
        path = tmp_path / "in" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(np.full((112, 112, 3), value, np.uint8), ".png"))
    summary = run(tmp_path / "in", tmp_path / "out.parquet", model=(f"{net}:mean=127.5,std=127.5",))
    assert dict(summary.by_status) == {"ok": 1, "no_score": 1}
    bad, good = column(tmp_path / "out.parquet", "log")
    assert bad is None and np.isfinite(good)
    failures = Path(summary.details["failures"]).read_text()
    assert "bad.png,no_score,bad.png: log gives no number" in failures


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("{net}", "does not say which number .* found 4 numbers"),
        ("{net}:read=column/4", "expected a column from 0 to 3, which the output has, found 4"),
        ("{net}:read=column/0,name=yaw", "a name of its own for the column, found 'yaw'"),
        ("{net}:read=mean/0", "read= one of softmax/N, column/N, leaf, found read=mean/0"),
        ("{net}:read=softmax", "a column, as in read=softmax/0"),
        ("{net}:crops=square,read=column/0", "unknown template 'square'"),
        ("dlib-resnet", "found no such kind of file"),
    ],
)
def test_specs_that_cannot_be(
    spec: str, problem: str, crops: Path, net: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=problem):
        run(crops, tmp_path / "out.parquet", model=(spec.format(net=net),))
    assert not (tmp_path / "out.parquet").exists()


def test_two_models_need_two_names(net: Path) -> None:
    with pytest.raises(OptionError, match="a name of its own for the column, found 'net'"):
        Score(model=(f"{net}:read=column/0", f"{net}:read=column/1"))


def test_probabilities_get_no_second_softmax(tmp_path: Path, crops: Path) -> None:
    net = save_heads(tmp_path / "net.onnx", {"p": 4}, last="Softmax")
    with pytest.raises(SourceError, match="its own Softmax: .* Take read=column/1"):
        run(crops, tmp_path / "out.parquet", model=(f"{net}:read=softmax/1",))


@needs_data
@needs_tflite
def test_a_real_network_against_spoofing(tmp_path: Path) -> None:
    """The rule of its authors on the interpreter itself."""
    path = DATA / "models" / "FaceAntiSpoofing.tflite"
    (tmp_path / "in").mkdir()
    pixels = random_crops(1, 256)[0]
    (tmp_path / "in" / "0.png").write_bytes(encode(pixels, ".png"))
    model = f"{path}:crops=box1.5-256,mean=0,std=255,read=leaf,name=spoof"
    run(tmp_path / "in", tmp_path / "out.parquet", model=(model,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = find_interpreter()(str(path), num_threads=1)
    interpreter.allocate_tensors()
    outputs = {each["name"]: each["index"] for each in interpreter.get_output_details()}
    interpreter.set_tensor(
        interpreter.get_input_details()[0]["index"], pixels[None].astype(np.float32) / 255
    )
    interpreter.invoke()
    predictions, mask = (interpreter.get_tensor(outputs[name])[0] for name in sorted(outputs))
    (found,) = column(tmp_path / "out.parquet", "spoof")
    assert found == pytest.approx(float((np.abs(predictions) * mask).sum()), rel=1e-4)


class Fragile:
    """A scorer that a crop with a bright first pixel ends, whatever else is in the batch."""

    fingerprint, provider, size = "fragile/1", "CPU", (112, 112)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def score(self, crops: Any) -> Any:
        if (crops[:, 0, 0, 0] > 200).any():
            raise RuntimeError("too bright")
        return crops[:, 0, 0, 0].astype(np.float32)


def test_a_model_that_fails_on_one_crop_costs_that_crop(crops: Path, tmp_path: Path) -> None:
    bright = {f"a/{i:02d}.png" for i, crop in enumerate(CROPS) if crop[0, 0, 0] > 200}
    assert 0 < len(bright) < 64
    summary = run(
        crops, tmp_path / "out.parquet", 1, model=("python:tests.jobs.test_score_models:Fragile",)
    )
    assert summary.by_status == {"ok": len(CROPS) - len(bright), "crashed": len(bright)}
    assert {row["input"] for row in read_failures(tmp_path / "out.parquet")} == bright
