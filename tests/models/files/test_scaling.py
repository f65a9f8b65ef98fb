"""The constants that scale an input, in graphs of every shape: what such a model must be given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from faceprep.core.errors import SourceError
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from faceprep.models.files.preparation import InputOptions
from faceprep.models.files.scaling import Graph, Node, Scaling, read_scaling
from tests.real import DATA, needs_data, needs_tflite
from tests.tiny_models import CELL, SIDE, expected, random_crops

CROPS = random_crops(3)
PIXELS = {"mean": "0", "std": "1"}
SHARES = {"mean": "0", "std": "255"}
SIGNED = {"mean": "127.5", "std": "127.5"}


def graph_of(path: Path, *steps: tuple[str, Any], first: str = "") -> Path:
    """Save a graph that does `steps` to its input, then takes means of cells."""
    nodes, weights, value = [], [], "data"
    if first:
        nodes.append(helper.make_node(first, ["data"], ["first"]))
        value = "first"
    for place, (kind, number) in enumerate(steps):
        weights.append(numpy_helper.from_array(np.array(number, np.float32), f"c{place}"))
        nodes.append(helper.make_node(kind, [value, f"c{place}"], [f"y{place}"]))
        value = f"y{place}"
    sides = [CELL] * 2
    nodes.append(
        helper.make_node("AveragePool", [value], ["cells"], kernel_shape=sides, strides=sides)
    )
    nodes.append(helper.make_node("Flatten", ["cells"], ["vectors"]))
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", None])
    graph = helper.make_graph(nodes, "tiny", [data], [vectors], weights)
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), path)
    return path


def vectors(path: Path, **options: Any) -> Any:
    return open_embedder(
        EmbedderSpec(str(path), device="cpu", input_options=InputOptions(**options))
    ).embed(CROPS)


MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_planes = (1, 3, 1, 1)


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ([("Sub", 127.5), ("Mul", 1 / 128)], expected(CROPS, 127.5, 128)),
        ([("Sub", 127.5), ("Div", 127.5)], expected(CROPS, 127.5, 127.5)),
        ([("Mul", 1 / 127.5), ("Add", -1.0)], expected(CROPS, 127.5, 127.5)),
        ([("Div", 255.0)], expected(CROPS, 0, 255)),
        ([("Sub", 127.5)], expected(CROPS, 127.5, 1)),
        (
            [("Sub", np.reshape(MEAN, _planes)), ("Div", np.reshape(STD, _planes))],
            expected(CROPS, MEAN, STD),
        ),
        ([("Mul", 2.0), ("Sub", 1.0)], expected(CROPS, 127.5, 127.5)),
        ([("Sub", 0.5), ("Div", 0.5)], expected(CROPS, 127.5, 127.5)),
        ([("Mul", 255.0), ("Sub", 127.5)], expected(CROPS, 127.5, 1)),
        ([("Add", 1.0), ("Mul", 127.5)], expected(CROPS, 0, 1)),
        ([("Mul", 1.5), ("Add", 0.01)], expected(CROPS) * 1.5 + 0.01),
        ([], expected(CROPS)),
    ],
)
def test_pixels_are_normalised_once(tmp_path: Path, steps: Any, wanted: Any) -> None:
    found = vectors(graph_of(tmp_path / "net.onnx", *steps))
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_what_comes_after_other_operators_is_no_scaling_of_pixels(tmp_path: Path) -> None:
    """As in a PReLU of a tf2onnx export."""
    path = graph_of(tmp_path / "net.onnx", ("Sub", 127.5), ("Mul", 1 / 128), first="Relu")
    wanted = (np.maximum(expected(CROPS), 0) - 127.5) / 128
    embedder = open_embedder(EmbedderSpec(str(path), device="cpu"))
    assert "mean127.5/std127.5" in embedder.model.fingerprint
    assert embedder.embed(CROPS).shape == wanted.shape


def test_a_scaling_that_nobody_uses_is_refused(tmp_path: Path) -> None:
    path = graph_of(tmp_path / "net.onnx", ("Mul", 40.0), ("Add", 3000.0))
    with pytest.raises(SourceError, match=r"net.onnx: .*found 40 × input \+ 3000. Give mean= and"):
        vectors(path)
    assert vectors(path, mean=(0.0,), std=(1.0,)).shape == (3, 48)


def test_a_scaling_folded_into_weights_is_refused() -> None:
    """TFLite's converter does that, and pixels would be normalised twice."""
    node = Node("Conv_2d", ("data", "w", "b"), ("y",))
    constants = {"w": np.full((8, 3, 3, 3), 0.002), "b": np.linspace(-1, 1, 8)}
    scaling = Graph([node], constants.get).find_scaling("data")
    assert scaling.is_blind and "mean=0,std=1" in read_scaling(scaling).doubt
    constants["w"] *= 128
    assert read_scaling(Graph([node], constants.get).find_scaling("data")) == read_scaling(
        Scaling()
    )


@given(st.lists(st.tuples(st.sampled_from(["Add", "Sub", "Mul", "Div"]), st.floats(0.1, 300))))
def test_steps_are_followed_in_their_order(steps: list[tuple[str, float]]) -> None:
    nodes = [
        Node(kind, (f"y{place}", f"c{place}"), (f"y{place + 1}",))
        for place, (kind, _) in enumerate(steps)
    ]
    constants = {f"c{place}": number for place, (_, number) in enumerate(steps)}
    scaling = Graph(nodes, constants.get).find_scaling("y0")
    for value in (0.0, 1.0, 255.0):
        wanted = value
        for kind, number in steps:
            wanted = {
                "Add": wanted + number,
                "Sub": wanted - number,
                "Mul": wanted * number,
                "Div": wanted / number,
            }[kind]
        found = float((scaling.factor * value + scaling.shift)[0])
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6 * max(abs(scaling.shift[0]), 1))


@pytest.mark.parametrize(
    ("factor", "shift", "stated"),
    [
        (1 / 128, -127.5 / 128, PIXELS),
        (1 / 255, 0, PIXELS),
        (-1 / 127.5, 1, PIXELS),
        (1, -104, PIXELS),
        (2, -1, SHARES),
        (255, 0, SHARES),
        (127.5, 127.5, SIGNED),
        (0.9, 0.02, {}),
        (1, 0, {}),
    ],
)
def test_the_rules(factor: float, shift: float, stated: dict[str, str]) -> None:
    reading = read_scaling(Scaling(np.array([float(factor)]), np.array([float(shift)])))
    assert (dict(reading.stated), reading.doubt) == (stated, "")


@needs_data
@needs_tflite
def test_real_exports_give_the_vectors_of_their_source() -> None:
    crops = random_crops(5)
    paths = (
        DATA / "models" / "MobileFaceNet.tflite",
        DATA / "cases" / "models" / "mfn_nhwc2.onnx",
        DATA / "cases" / "models" / "sub_div.onnx",
        DATA / "cases" / "models" / "rescaling_mul_add.onnx",
    )
    tflite, export, first, second = (
        open_embedder(EmbedderSpec(str(path), device="cpu", threads=1)).embed(crops)
        for path in paths
    )
    assert np.abs(tflite - export).max() < 1e-4 * np.abs(tflite).max()
    assert np.abs(first - second).max() < 1e-5 * np.abs(first).max()
