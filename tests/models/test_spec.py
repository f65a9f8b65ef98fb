"""Model specs: what a word says, and what is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import OptionError
from faceprep.models.files.preparation import InputOptions
from faceprep.models.spec import EMBEDDER_SETTINGS, SCORER_SETTINGS, ModelSpec, parse_spec

NAMES = (
    "dlib-resnet",
    "insightface:buffalo_l",
    "net.onnx",
    "model-r100,0",
    "r100-symbol.json",
    "a b/c:d,e.onnx",
)
numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: float(f"{number:g}"))
triples = st.one_of(st.tuples(numbers), st.tuples(numbers, numbers, numbers))
sides = st.integers(1, 9999)


def write(spec: ModelSpec) -> str:
    """Write a spec as a user would."""
    stated = spec.input_options
    words = [
        f"{name}={'/'.join(f'{number:g}' for number in numbers)}"
        for name, numbers in (("mean", stated.mean), ("std", stated.std))
        if numbers
    ]
    if stated.size:
        words.append(f"size={stated.size[0]}x{stated.size[1]}")
    texts = (("color", stated.color), ("crops", stated.crops), ("output", stated.output))
    words += [f"{name}={text}" for name, text in texts if text]
    if spec.flip is not None:
        words.append(f"flip={str(spec.flip).lower()}")
    return spec.model + (":" + ",".join(words) if words else "")


@given(
    st.builds(
        ModelSpec,
        st.sampled_from(NAMES),
        st.builds(
            InputOptions,
            mean=st.none() | triples,
            std=st.none() | triples,
            size=st.none() | st.tuples(sides, sides),
            color=st.sampled_from(["", "rgb", "bgr"]),
            crops=st.sampled_from(["", "arcface-112", "box1.5-256"]),
            output=st.sampled_from(["", "fc1", "StatefulPartitionedCall:0"]),
        ),
        flip=st.none() | st.booleans(),
    )
)
def test_a_spec_is_read_as_it_was_written(spec: ModelSpec) -> None:
    assert parse_spec(write(spec), EMBEDDER_SETTINGS) == spec


def test_one_side_makes_a_square() -> None:
    assert parse_spec("a.onnx:size=128", EMBEDDER_SETTINGS).input_options.size == (128, 128)


def test_scorers_have_a_name_and_a_rule() -> None:
    spec = parse_spec("spoof.onnx:crops=box1.5-256,read=softmax/1,name=spoof", SCORER_SETTINGS)
    assert (spec.model, spec.input_options.crops, spec.read, spec.name) == (
        "spoof.onnx",
        "box1.5-256",
        "softmax/1",
        "spoof",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.onnx:mean=1,", "found ''"),
        ("a.onnx:mean=", "found 'mean='"),
        ("a.onnx:mean=1,2", "found '2'"),
        ("a.onnx:mean=1/2", "mean=: expected a number, or three: R/G/B"),
        ("a.onnx:std=nan", "std=: expected a number"),
        ("a.onnx:size=0", "size=: expected pixels"),
        ("a.onnx:color=hsv", "color=: expected rgb or bgr"),
        ("a.onnx:flip=yes", "flip=: expected true or false"),
        ("a.onnx:mean=1,mean=2", "expected mean= once"),
        ("a.onnx:men=1", "one of mean, std, size, color, crops, output, flip, found 'men=1'"),
        ("a.onnx:read=leaf", "found 'read=leaf'"),
    ],
)
def test_what_a_spec_cannot_say_is_one_line(text: str, problem: str) -> None:
    with pytest.raises(OptionError, match=problem) as caught:
        parse_spec(text, EMBEDDER_SETTINGS)
    assert "\n" not in str(caught.value)
