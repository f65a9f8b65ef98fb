"""Outputs and batches of ONNX files: what is an embedding, what a graph holds, what lies beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceprep.core.errors import OptionError, SourceError
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from faceprep.models.files.preparation import InputOptions
from tests.tiny_models import random_crops, save_heads

SIDE = 112
CROPS = random_crops(5)
DIMS = {"embedding": 32, "prob": 2, "fc1": 24, "fc2": 2}


def heads(path: Path, *names: str, last: str = "Identity") -> Path:
    """Save a network with one output per name."""
    return save_heads(path, {name: DIMS.get(name, 32) for name in names}, last)


def held_batch(path: Path, n: int, total: int = 32) -> Path:
    """Save a network whose input has any batch, and whose Reshape has `n` rows."""
    matrix = np.random.default_rng(0).normal(size=(3, total)).astype(np.float32)
    weights = [numpy_helper.from_array(matrix, "w")]
    weights.append(numpy_helper.from_array(np.array([n, total], np.int64), "shape"))
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["raw"]),
        helper.make_node("Reshape", ["raw", "shape"], ["vectors"]),
    ]
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [n, total])
    graph = helper.make_graph(nodes, "held", [data], [vectors], weights)
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), path)
    return path


def opened(path: Path, **options: Any) -> Any:
    return open_embedder(
        EmbedderSpec(str(path), device="cpu", threads=1, input_options=InputOptions(**options))
    )


@pytest.mark.parametrize("names", [("prob", "embedding"), ("fc1", "prob"), ("embedding",), ("x",)])
def test_the_output_with_the_usual_name_is_taken(tmp_path: Path, names: tuple[str, ...]) -> None:
    taken = next((name for name in names if name in ("embedding", "fc1")), names[0])
    alone = opened(heads(tmp_path / "net.onnx", *names), output=taken).embed(CROPS)
    assert np.array_equal(opened(tmp_path / "net.onnx").embed(CROPS), alone)
    assert alone.shape == (5, DIMS.get(taken, 32))


@pytest.mark.parametrize("names", [("a", "b"), ("embedding", "fc1"), ("prob", "logits")])
def test_several_outputs_are_listed(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = heads(tmp_path / "net.onnx", *names)
    with pytest.raises(SourceError, match=r"net.onnx: has several outputs: .* found ") as caught:
        opened(path)
    assert all(f"{name} (n, " in str(caught.value) for name in names)
    with pytest.raises(OptionError, match="output=: expected one of "):
        opened(path, output="c")


def test_several_outputs_of_which_none_holds_vectors(tmp_path: Path) -> None:
    """No choice is offered among boxes and scores, as those of a detector."""
    path = heads(tmp_path / "net.onnx", "prob", "fc2")
    assert DIMS["prob"] == DIMS["fc2"] == 2
    with pytest.raises(
        SourceError, match=r"not an embedder: .* found prob \(n, 2\), fc2 "
    ) as caught:
        opened(path)
    assert "output=NAME" not in str(caught.value) and "score --model" in str(caught.value)


def test_the_output_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    path = heads(tmp_path / "net.onnx", "a", "b")
    prints = {opened(path, output=name).model.fingerprint for name in "ab"}
    assert len(prints) == 2


def test_probabilities_and_short_vectors_are_no_embeddings(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not an embedder: .* found probabilities"):
        opened(heads(tmp_path / "many.onnx", "logits", last="Softmax"))
    with pytest.raises(SourceError, match="expected vectors of 16 numbers or more, found 2"):
        opened(heads(tmp_path / "few.onnx", "prob"))


def test_a_softmax_may_be_asked_for(tmp_path: Path) -> None:
    path = heads(tmp_path / "many.onnx", "logits", last="Softmax")
    assert opened(path, output="logits").dim == 32


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_a_batch_that_the_graph_holds_is_found(tmp_path: Path, n: int) -> None:
    found = opened(held_batch(tmp_path / "net.onnx", n)).embed(CROPS)
    free = opened(held_batch(tmp_path / "free.onnx", -1)).embed(CROPS)
    assert found.shape == (5, 32) and np.abs(found - free).max() < 1e-5


def test_a_graph_that_runs_with_no_batch_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"net.onnx: ONNX Runtime cannot run the model") as caught:
        opened(held_batch(tmp_path / "net.onnx", 3))
    assert "\n" not in str(caught.value)


def with_external_data(path: Path) -> Path:
    model = onnx.load(heads(path, "embedding"))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def test_external_data_lie_beside_the_file(tmp_path: Path) -> None:
    whole = opened(heads(tmp_path / "whole.onnx", "embedding"))
    parted = opened(with_external_data(tmp_path / "net.onnx"))
    assert np.array_equal(parted.embed(CROPS), whole.embed(CROPS))
    weights = tmp_path / "weights.bin"
    weights.write_bytes(bytes(reversed(weights.read_bytes())))
    open_embedder.cache_clear()
    assert opened(tmp_path / "net.onnx").model.fingerprint != parted.model.fingerprint


def test_external_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = with_external_data(tmp_path / "net.onnx")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(SourceError, match=r"net.onnx: .* expected weights.bin beside it"):
        opened(path)


def test_external_data_elsewhere_are_refused(tmp_path: Path) -> None:
    path = with_external_data(tmp_path / "net.onnx")
    model = onnx.load(path, load_external_data=False)
    for weight in model.graph.initializer:
        for entry in weight.external_data:
            if entry.key == "location":
                entry.value = "../other.bin"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(SourceError, match="outside of its folder, found ../other.bin|outside"):
        opened(path)
