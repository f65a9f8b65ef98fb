"""Conversion to ONNX: a network whose vectors are known, and refusals by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from faceprep.models.mxnet.checkpoint import Checkpoint
from faceprep.models.onnx_session import Runtime
from tests.models.mxnet_files import (
    EMBEDDER,
    Arrays,
    Step,
    embedder_arrays,
    embedder_vectors,
    params_bytes,
    save_embedder,
    symbol_bytes,
)
from tests.tiny_models import random_crops

WEIGHTS = {"s1_weight": np.ones((2, 3, 1, 1), "<f4")}
CONVOLUTION = {"kernel": "(1, 1)", "num_filter": "2", "no_bias": "True"}


def save(folder: Path, symbol: bytes, arrays: Arrays) -> Checkpoint:
    (folder / "net-symbol.json").write_bytes(symbol)
    (folder / "net-0000.params").write_bytes(params_bytes(arrays))
    return Checkpoint.find(f"{folder / 'net'},0")


def convert(folder: Path, steps: list[Step], arrays: Arrays, **options: Any) -> bytes:
    return save(folder, symbol_bytes(steps, **options), arrays).to_onnx()


def vectors_of(model: bytes, crops: np.ndarray) -> np.ndarray:
    values = crops.transpose(0, 3, 1, 2).astype(np.float32)
    vectors: np.ndarray = Runtime("cpu", 1).open(model).run(values)[0]
    return vectors


# Values


def test_vectors_are_those_of_the_network(tmp_path: Path) -> None:
    crops = random_crops(3)
    symbol = save_embedder(tmp_path / "net")
    expected = embedder_vectors(crops)
    for is_for_cpu in (False, True):
        model = Checkpoint.find(str(symbol)).to_onnx(is_for_cpu)
        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
        np.testing.assert_allclose(vectors_of(model, crops), expected, rtol=1e-4, atol=1e-4)
    embedder = open_embedder(EmbedderSpec(str(symbol), "cpu", threads=1))
    np.testing.assert_allclose(embedder.embed(crops), expected, rtol=1e-4, atol=1e-4)


def test_the_file_has_the_names_of_mxnet(tmp_path: Path) -> None:
    graph = onnx.load_from_string(
        Checkpoint.find(str(save_embedder(tmp_path / "a"))).to_onnx()
    ).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["data", "fc1"]
    assert {weights.name for weights in graph.initializer} >= {"pre_fc1_weight", "s3_weight"}


def test_a_value_may_be_an_output_twice(tmp_path: Path) -> None:
    steps = [Step("Flatten"), Step("_mul_scalar", {"scalar": "2"}, (1,))]
    model = convert(tmp_path, steps, {}, heads=[(1, 0), (2, 0), (1, 0)])
    network = Runtime("cpu", 1).open(model)
    values = np.ones((1, 3, 2, 2), np.float32)
    assert [each.sum() for each in network.run(values)] == [12, 24, 12]
    names = [each.name for each in network.session.get_outputs()]
    assert names == ["s1_output0", "s2", "s1_output2"]


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    checkpoint = Checkpoint.find(str(save_embedder(tmp_path / "net")))
    assert checkpoint.to_onnx() == checkpoint.to_onnx()


def test_a_training_head_is_left_out(tmp_path: Path) -> None:
    """Its weights may be missing, and its operators need not be known."""
    head = [
        Step("FullyConnected", {"num_hidden": "900"}, (6,), ("weight", "bias")),
        Step("SoftmaxOutput", {}, (7,), ("label",)),
        Step("a margin that nobody knows", {}, (8,)),
    ]
    crops = random_crops(2)
    model = convert(tmp_path, [*EMBEDDER, *head], embedder_arrays(), heads=[(9, 0), (6, 0)])
    np.testing.assert_allclose(
        vectors_of(model, crops), embedder_vectors(crops), rtol=1e-4, atol=1e-4
    )


def test_means_of_an_old_symbol_are_found_by_their_names(tmp_path: Path) -> None:
    old = [*EMBEDDER[:-1], EMBEDDER[-1]._replace(weights=("gamma", "beta"))]
    crops = random_crops(2)
    model = convert(tmp_path, old, embedder_arrays(), key="param")
    np.testing.assert_allclose(
        vectors_of(model, crops), embedder_vectors(crops), rtol=1e-4, atol=1e-4
    )


def test_weights_of_half_precision_are_read(tmp_path: Path) -> None:
    halves = {name: array.astype("<f2") for name, array in embedder_arrays().items()}
    crops = random_crops(2)
    vectors = vectors_of(convert(tmp_path, list(EMBEDDER), halves), crops)
    np.testing.assert_allclose(vectors, embedder_vectors(crops), rtol=0.05, atol=0.01)


# Refusals

REFUSED: dict[str, tuple[list[Step], str]] = {
    "operator": ([Step("ROIPooling")], r"node 's1' \(ROIPooling\): expected .* found ROIPooling"),
    "reshape": ([Step("Reshape", {"shape": "(-3, 0)"})], r"attribute shape .*found '\(-3, 0\)'"),
    "reverse": ([Step("Reshape", {"shape": "(0, -1)", "reverse": "True"})], "attribute reverse"),
    "dtype": ([Step("Activation", {"act_type": "gelu"})], "attribute act_type .*found 'gelu'"),
    "pool": ([Step("Pooling", {"kernel": "(2, 2)", "pool_type": "lp"})], "max or avg, found 'lp'"),
    "kernel": ([Step("Pooling", {"kernel": "(0, 2)"})], "attribute kernel"),
    "layout": (
        [Step("Convolution", CONVOLUTION | {"layout": "NHWC"}, (0,), ("weight",))],
        "attribute layout .*found 'NHWC'",
    ),
    "groups": (
        [Step("Convolution", CONVOLUTION | {"num_group": "0"}, (0,), ("weight",))],
        "attribute num_group .*expected a divisor of 2, found '0'",
    ),
    "stride": (
        [Step("Convolution", CONVOLUTION | {"stride": "(1, 99999999999)"}, (0,), ("weight",))],
        "attribute stride",
    ),
    "filters": (
        [Step("Convolution", CONVOLUTION | {"num_filter": "3"}, (0,), ("weight",))],
        "weights of another shape .*expected 3 × n × 1 × 1, found 2 × 3 × 1 × 1",
    ),
    "scale": ([Step("UpSampling", {"scale": "100000", "sample_type": "nearest"})], "scale"),
    "parts": ([Step("SliceChannel", {"num_outputs": "99999999"})], "num_outputs"),
    "unread": (
        [Step("Flatten", {"mode": "x"})],
        "attributes that cannot be converted .*found mode",
    ),
    "dropout": ([Step("Dropout", {"mode": "always"})], "expected training, found 'always'"),
    "number": ([Step("_mul_scalar", {"scalar": "two"})], "expected a number, found 'two'"),
    "output": ([Step("Flatten", output=3)], "expected output 0 to 0, found 3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_converted_is_named(name: str, tmp_path: Path) -> None:
    steps, message = REFUSED[name]
    with pytest.raises(SourceError, match=rf"net-symbol\.json: .*{message}"):
        convert(tmp_path, steps, WEIGHTS)


def test_attributes_of_training_are_no_matter(tmp_path: Path) -> None:
    attributes = CONVOLUTION | {"__lr_mult__": "2", "weight_wd_mult": "1", "workspace": "512"}
    assert convert(tmp_path, [Step("Convolution", attributes, (0,), ("weight",))], WEIGHTS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "found none for data, s1_weight"),
        (WEIGHTS | {"data": np.ones(1, "<f4")}, "found none for no variable"),
        ({"s1_weight": np.ones((2, 3, 1, 1), "<i4")}, "expected floats, found int32"),
        ({"s1_weight": np.ones((2, 3, 0, 1), "<f4")}, "the weights 's1_weight' are empty"),
    ],
)
def test_wrong_weights_are_named(arrays: Arrays, message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        convert(tmp_path, [Step("Convolution", CONVOLUTION, (0,), ("weight",))], arrays)


TEXTS = st.sampled_from(("", "0", "-1", "1e99", "True", "(1, 1)", "(0, -1)", "nan", "9" * 30))
ATTRIBUTES = st.dictionaries(
    st.sampled_from(("kernel", "num_filter", "pad", "scalar", "shape", "axis", "mode", "eps")),
    TEXTS,
)
KINDS = ("Convolution", "Pooling", "Reshape", "_mul_scalar", "BatchNorm", "softmax", "Concat")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from(KINDS), ATTRIBUTES), min_size=1, max_size=3))
def test_attributes_of_any_kind_are_one_line(
    tmp_path: Path, drawn: list[tuple[str, Mapping[str, str]]]
) -> None:
    steps = [
        Step(kind, attributes, (number,), ("weight",) if kind == "Convolution" else ())
        for number, (kind, attributes) in enumerate(drawn)
    ]
    try:
        Runtime("cpu", 1).open(convert(tmp_path, steps, WEIGHTS))
    except SourceError as error:
        assert "\n" not in str(error)


# The files of a checkpoint


def test_a_symbol_stands_for_its_newest_epoch(tmp_path: Path) -> None:
    for epoch in (2, 10):
        symbol = save_embedder(tmp_path / "net", epoch)
    (tmp_path / "net-best.params").write_bytes(b"")
    (tmp_path / "net2-0099.params").write_bytes(b"")
    assert Checkpoint.find(str(symbol)).params.name == "net-0010.params"
    assert Checkpoint.find(f"{tmp_path / 'net'},2").params.name == "net-0002.params"
    prints = {Checkpoint.find(f"{tmp_path / 'net'},{epoch}").fingerprint for epoch in (2, 10)}
    assert {each.partition("/")[0] for each in prints} == {"net-0002", "net-0010"}


def test_a_fingerprint_is_that_of_both_files(tmp_path: Path) -> None:
    symbol = save_embedder(tmp_path / "net")
    prints = [Checkpoint.find(str(symbol)).fingerprint]
    save_embedder(tmp_path / "net", seed=1)
    prints.append(Checkpoint.find(str(symbol)).fingerprint)
    graph = json.loads(symbol.read_bytes())
    symbol.write_text(json.dumps(graph, indent=1))
    prints.append(Checkpoint.find(str(symbol)).fingerprint)
    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("net,7", r"net-0007\.params: no such file: expected the weights"),
        ("other,0", r"other-symbol\.json: no such file: expected the graph"),
        ("other-symbol.json", r"other-symbol\.json: no such file"),
        ("alone-symbol.json", r"no weights beside this symbol: expected alone-0000\.params"),
    ],
)
def test_a_missing_file_is_named(spec: str, message: str, tmp_path: Path) -> None:
    save_embedder(tmp_path / "net")
    (tmp_path / "alone-symbol.json").write_bytes(b"{}")
    with pytest.raises(SourceError, match=message):
        Checkpoint.find(str(tmp_path / spec))


def test_an_embedder_has_one_output(tmp_path: Path) -> None:
    save(tmp_path, symbol_bytes([Step("Flatten"), Step("Flatten")], [(1, 0), (2, 0)]), {})
    with pytest.raises(SourceError, match=r"net-symbol\.json: .*s1.*s2"):
        open_embedder(EmbedderSpec(f"{tmp_path / 'net'},0", "cpu", threads=1))
