"""Every operator gives what real MXNet gives: drawn graphs, over shapes and attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.models.mxnet.checkpoint import Checkpoint
from faceprep.models.mxnet.operators import OPERATORS
from faceprep.models.onnx_session import Runtime
from tests.models.mxnet_files import Step, symbol_bytes
from tests.models.real_mxnet import RealMxnet, Refused, real_mxnet
from tests.real import needs_mxnet

CLOSE = 1e-5
"""Largest difference, relative to the largest value."""


class Drawn(NamedTuple):
    """A graph, its outputs, and the shape of its data."""

    steps: list[Step]
    shape: tuple[int, ...]
    heads: list[tuple[int, int]] = []


Draw = st.DrawFn
pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
shapes = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(6, 11), st.integers(6, 11))


def optional(attributes: Mapping[str, st.SearchStrategy[object]]) -> st.SearchStrategy[dict]:
    """Draw some of the attributes, as texts."""
    drawn = st.fixed_dictionaries({}, optional=dict(attributes))
    return drawn.map(lambda found: {name: str(value) for name, value in found.items()})


def flat_or_not(draw: Draw, step: Step) -> Drawn:
    """Draw a graph of one step on the data, flattened or not."""
    steps = [step]
    if draw(st.booleans()):
        steps = [Step("Flatten"), step._replace(inputs=(1,))]
    return Drawn(steps, draw(shapes))


@st.composite
def convolutions(draw: Draw, operator: str = "Convolution") -> Drawn:
    n, _, height, width = draw(shapes)
    n_groups = draw(st.sampled_from((1, 2, 3)))
    no_bias = draw(st.booleans())
    channels = n_groups * draw(st.integers(1, 2))
    attributes = draw(
        optional(
            {
                "stride": pair,
                "dilate": st.tuples(st.integers(1, 2), st.integers(1, 2)),
                "pad": st.tuples(st.integers(0, 2), st.integers(0, 2)),
            }
        )
    )
    attributes |= {
        "kernel": str(draw(pair)),
        "num_filter": str(n_groups * draw(st.integers(1, 3))),
        "num_group": str(n_groups),
        "no_bias": str(no_bias),
        "workspace": "512",
        "cudnn_tune": "off",
        "layout": "None",
    }
    if operator == "Deconvolution":
        attributes |= draw(optional({"adj": st.tuples(st.integers(0, 1), st.integers(0, 1))}))
    weights = ("weight",) if no_bias else ("weight", "bias")
    step = Step(operator, attributes, (0,), weights)
    return Drawn([step], (n, channels, height, width))


@st.composite
def pools(draw: Draw) -> Drawn:
    attributes = draw(
        optional(
            {
                "pool_type": st.sampled_from(("max", "avg")),
                "stride": pair,
                "pad": st.tuples(st.integers(0, 2), st.integers(0, 2)),
                "pooling_convention": st.sampled_from(("valid", "full")),
                "count_include_pad": st.booleans(),
                "global_pool": st.booleans(),
            }
        )
    )
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return Drawn([Step("Pooling", attributes | {"kernel": str(kernel)})], draw(shapes))


@st.composite
def batch_norms(draw: Draw) -> Drawn:
    attributes = draw(
        optional(
            {
                "eps": st.sampled_from((2e-5, 1e-3, 0.1)),
                "fix_gamma": st.booleans(),
                "momentum": st.just(0.9),
                "use_global_stats": st.booleans(),
                "axis": st.just(1),
            }
        )
    )
    names = ("gamma", "beta", "moving_mean", "moving_var")
    return flat_or_not(draw, Step("BatchNorm", attributes, (0,), names))


@st.composite
def leaky(draw: Draw) -> Drawn:
    kind = draw(st.sampled_from(("leaky", "prelu", "elu", "selu", "rrelu", "")))
    bounds = {"slope": st.sampled_from((0.1, 0.25)), "lower_bound": st.just(0.2)}
    attributes = draw(optional(bounds)) | ({"act_type": kind} if kind else {})
    weights = ("gamma",) if kind == "prelu" else ()
    return flat_or_not(draw, Step("LeakyReLU", attributes, (0,), weights))


@st.composite
def dense(draw: Draw) -> Drawn:
    no_bias = draw(st.booleans())
    attributes = {"num_hidden": str(draw(st.integers(1, 9))), "no_bias": str(no_bias)}
    weights = ("weight",) if no_bias else ("weight", "bias")
    return flat_or_not(draw, Step("FullyConnected", attributes, (0,), weights))


@st.composite
def crops(draw: Draw) -> Drawn:
    """A map crops one of twice its size, as in RetinaFace's pyramid."""
    attributes = {"num_args": "2"} | draw(
        optional({"offset": st.tuples(st.integers(0, 2), st.integers(0, 2))})
    )
    steps = [
        Step("Pooling", {"kernel": "(3, 3)", "stride": "(2, 2)"}),
        Step("Crop", attributes, (0, 1)),
    ]
    return Drawn(steps, draw(shapes))


@st.composite
def splits(draw: Draw, operator: str) -> Drawn:
    n, axis = draw(st.integers(1, 3)), draw(st.sampled_from((1, 2, 3)))
    squeezes = draw(st.booleans())
    shape = list(draw(shapes))
    shape[axis] = n if squeezes else n * draw(st.integers(1, 3))
    attributes = {"num_outputs": str(n), "axis": str(axis), "squeeze_axis": str(squeezes)}
    return Drawn([Step(operator, attributes)], tuple(shape), [(1, each) for each in range(n)])


@st.composite
def reshapes(draw: Draw, operator: str) -> Drawn:
    n, channels, height, width = draw(shapes)
    target = draw(
        st.sampled_from(
            [(0, 2, -1, 0), (0, -1), (0, 0, -1), (-1, width), (n, 2, channels, height, width)]
        )
    )
    return Drawn([Step(operator, {"shape": str(target)})], (n, 2 * channels, height, width))


def simple(operator: str, **attributes: st.SearchStrategy[object]) -> st.SearchStrategy[Drawn]:
    """Draw a graph of one operator on the data, with all of the attributes."""
    texts = st.fixed_dictionaries(attributes).map(
        lambda found: {k: str(v) for k, v in found.items()}
    )
    return st.builds(lambda drawn, shape: Drawn([Step(operator, drawn)], shape), texts, shapes)


def on_positive(operator: str, **attributes: st.SearchStrategy[object]) -> st.SearchStrategy[Drawn]:
    """Draw a graph of one operator on the absolute values of the data, and 1 more."""
    first = [Step("abs"), Step("_plus_scalar", {"scalar": "1"}, (1,))]
    return simple(operator, **attributes).map(
        lambda drawn: Drawn([*first, drawn.steps[0]._replace(inputs=(2,))], drawn.shape)
    )


def combined(operator: str, is_broadcast: bool = False) -> st.SearchStrategy[Drawn]:
    """Draw a graph of an operator on a nonzero map and the data, or the means of its channels."""
    attributes = (
        {"num_args": "2"} if operator in ("add_n", "ElementWiseSum", "Concat", "concat") else {}
    )
    second = Step("Pooling", {"kernel": "(1, 1)", "global_pool": str(is_broadcast)})
    nonzero = [Step("abs", {}, (1,)), Step("_plus_scalar", {"scalar": "0.5"}, (2,))]
    steps = [second, *nonzero, Step(operator, attributes, (0, 3))]
    return shapes.map(lambda shape: Drawn(steps, shape))


@st.composite
def labelled(draw: Draw, operator: str) -> Drawn:
    """Draw a graph of one operator that has a label; only then may the data be flattened."""
    kind = draw(st.sampled_from(("multi_output", "preserve_shape", "")))
    step = Step(operator, {kind: "True"} if kind else {}, (0,), ("label",))
    if kind:
        return Drawn([step], draw(shapes))
    return Drawn([Step("Flatten"), step._replace(inputs=(1,))], draw(shapes))


numbers = st.sampled_from((-1.5, -0.25, 0.0078125, 2, 127.5))
CASES: dict[str, Callable[[str], st.SearchStrategy[Drawn]]] = {
    "Convolution": convolutions,
    "Deconvolution": convolutions,
    "FullyConnected": lambda _: dense(),
    "BatchNorm": lambda _: batch_norms(),
    "Activation": lambda name: simple(
        name, act_type=st.sampled_from(("relu", "sigmoid", "tanh", "softrelu", "softsign"))
    ),
    "LeakyReLU": lambda _: leaky(),
    "Pooling": lambda _: pools(),
    "Reshape": reshapes,
    "reshape": reshapes,
    "Crop": lambda _: crops(),
    "SliceChannel": splits,
    "split": splits,
    "UpSampling": lambda name: simple(
        name, scale=st.integers(1, 3), sample_type=st.just("nearest"), num_args=st.just(1)
    ),
    "transpose": lambda name: simple(name, axes=st.permutations((1, 2, 3)).map(lambda p: (0, *p))),
    "Dropout": lambda name: simple(name, p=st.just(0.4)),
    "clip": lambda name: simple(name, a_min=st.just(-0.5), a_max=st.sampled_from((0.25, 6))),
    "hard_sigmoid": lambda name: simple(name, alpha=st.just(0.3), beta=st.just(0.4)),
    "softmax": lambda name: simple(name, axis=st.sampled_from((-1, 1, 2))),
    "SoftmaxActivation": lambda name: simple(name, mode=st.sampled_from(("instance", "channel"))),
    "SoftmaxOutput": labelled,
    "Softmax": labelled,
    "L2Normalization": lambda name: simple(
        name, mode=st.sampled_from(("instance", "channel", "spatial")), eps=st.just(1e-10)
    ),
    "sqrt": on_positive,
    "_rdiv_scalar": lambda name: on_positive(name, scalar=numbers),
    "_RDivScalar": lambda name: on_positive(name, scalar=numbers),
    "_power_scalar": lambda name: on_positive(name, scalar=st.sampled_from((2, 0.5))),
}


LAYERS = (
    "Convolution",
    "Deconvolution",
    "FullyConnected",
    "BatchNorm",
    "Activation",
    "LeakyReLU",
    "Pooling",
)
"""Operators with many attributes, drawn more often."""


def case_of(operator: str) -> st.SearchStrategy[Drawn]:
    """Return the graphs of one operator."""
    if operator in CASES:
        return CASES[operator](operator)
    if operator.endswith(("_scalar", "Scalar")):
        return simple(operator, scalar=numbers)
    if operator.startswith("broadcast_"):
        return combined(operator, is_broadcast=True)
    if operator.startswith(
        ("elemwise_", "_Plus", "_Minus", "_Mul", "_Div", "add_n", "ElementWise")
    ):
        return combined(operator)
    if operator.lower() == "concat":
        return combined(operator)
    return simple(operator)


@pytest.fixture(scope="module")
def mxnet() -> Iterator[RealMxnet]:
    with real_mxnet() as running:
        yield running


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference relative to the largest value."""
    assert found.shape == expected.shape and np.isfinite(expected).all()
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-6))


def compare(drawn: Drawn, mxnet: RealMxnet, folder: Path) -> None:
    """Compare all outputs of a graph, in the graph for other tools and in that for the CPU."""
    prefix = folder / "net"
    (folder / "net-symbol.json").write_bytes(symbol_bytes(drawn.steps, drawn.heads))
    try:
        data, expected = mxnet.run(prefix, drawn.shape)
    except Refused:
        assume(False)
    for is_for_cpu in (False, True):
        try:
            model = Checkpoint.find(f"{prefix},0").to_onnx(is_for_cpu)
        except SourceError as error:
            assume("cannot convert the windows" not in str(error))
            raise
        found = with_any_channels(model).run(data)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert difference(one, other) < CLOSE


def with_any_channels(model: bytes):  # type: ignore[no-untyped-def]
    """Open a graph whose input may have any shape: drawn data are not images."""
    import onnx

    graph = onnx.load_from_string(model)
    graph.graph.input[0].type.tensor_type.ClearField("shape")
    del graph.graph.value_info[:]
    for output in graph.graph.output:
        output.type.tensor_type.ClearField("shape")
    return Runtime("cpu", 1).open(graph.SerializeToString())


ON_MXNET = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


@needs_mxnet
@pytest.mark.parametrize("operator", LAYERS)
@settings(ON_MXNET, max_examples=25)
@given(drawing=st.data())
def test_a_layer_agrees_with_mxnet(
    operator: str, drawing: st.DataObject, mxnet: RealMxnet, tmp_path: Path
) -> None:
    compare(drawing.draw(case_of(operator)), mxnet, tmp_path)


@needs_mxnet
@pytest.mark.parametrize("operator", sorted(OPERATORS.keys() - LAYERS))
@settings(ON_MXNET, max_examples=5)
@given(drawing=st.data())
def test_an_operator_agrees_with_mxnet(
    operator: str, drawing: st.DataObject, mxnet: RealMxnet, tmp_path: Path
) -> None:
    compare(drawing.draw(case_of(operator)), mxnet, tmp_path)
