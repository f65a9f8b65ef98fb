"""Normalisation inside a graph: follow the input, and read the constants that scale it.

A graph that scales pixels itself must get pixels. Others get the normalisation that was used in
their training, which a graph does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles
from faceprep.models.files.preparation import UNCHANGED

_CHANNELS = (1, 3)
_PASSING = frozenset(
    [
        "Identity",
        "Cast",
        "Transpose",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "ExpandDims",
        "Dropout",
        "Pad",
        "Quantize",
        "Dequantize",
        "QuantizeLinear",
        "DequantizeLinear",
    ]
)
"""Operators after which a value is still the same value."""
_CONVOLUTIONS = ("Conv", "Conv_2d")
"""Names in ONNX and TFLite; the first axis of their weights is that of the outputs."""
_SEEN_SHARE = 0.1
_FOLDED = "first weights so small that it seems to take pixels as they are, which is mean=0,std=1"
_DEPTH = 8
_OF_SHARES = {"mean": "0", "std": "255"}
_OF_SIGNED = {"mean": "127.5", "std": "127.5"}
_RULES: tuple[tuple[tuple[float, float], tuple[float, float], Mapping[str, str]], ...] = (
    ((1, 1), (80, 180), UNCHANGED),  # subtracts the mean of pixels
    ((0.001, 0.08), (-1, 256), UNCHANGED),  # scales pixels: 1/255, 1/127.5, ImageNet's 1/58
    ((1, 20), (0.2, 0.8), _OF_SHARES),  # scales 0 to 1: 2 × input - 1, ImageNet's 4.4 and 0.45
    ((200, 260), (-0.01, 0.99), _OF_SHARES),  # makes pixels of 0 to 1
    ((100, 135), (-1.05, -0.95), _OF_SIGNED),  # makes pixels of -1 to 1
    ((0.08, 20), (-0.2, 0.2), {}),  # a learned normalisation of an input around 0
)
"""Bounds of the factor, and of the input that becomes 0; then what such a graph must be given."""


class Node(NamedTuple):
    """An operator with the names of its inputs and outputs; `settings` hold its numbers."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, float] = {}


class Scaling(NamedTuple):
    """The map from the input of a graph to factor × input + shift, for one channel or three.

    `is_blind` says that the first convolution would hardly see an input of -1 to 1: the scaling of
    pixels is folded into its weights.
    """

    factor: Doubles = np.ones(1)
    shift: Doubles = np.zeros(1)
    is_blind: bool = False

    def __str__(self) -> str:
        factor, shift = ("/".join(f"{x:.4g}" for x in np.unique(each)) for each in self[:2])
        return f"{factor} × input + {shift}"

    def then(self, step: Scaling) -> Scaling:
        """Return the map of this one, followed by `step`."""
        return Scaling(step.factor * self.factor, step.factor * self.shift + step.shift)


class Graph:
    """Operators and constants, as any kind of model file has them.

    `constant` returns the array of that name, or None if there is none.
    """

    def __init__(self, nodes: Iterable[Node], constant: Callable[[str], Any]) -> None:
        self._nodes, self._constant = list(nodes), constant
        self._makers = {name: node for node in self._nodes for name in node.outputs}

    def find_scaling(self, start: str) -> Scaling:
        """Follow the value `start` while operators only scale and shift it."""
        scaling, value = Scaling(), start
        while True:
            users = [node for node in self._nodes if value in node.inputs]
            if len(users) != 1:
                return scaling
            (node,) = users
            if node.kind not in _PASSING:
                step = self._read_step(node, value)
                if step is None:
                    return scaling._replace(is_blind=self._is_blind(node))
                scaling = scaling.then(step)
            value = node.outputs[0]

    def _read_step(self, node: Node, value: str) -> Scaling | None:
        """Return what an operator does to `value`, or None if it does something else to it."""
        if node.kind == "BatchNormalization":
            return self._read_batch_norm(node)
        if node.kind not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
            return None
        is_first = node.inputs[0] == value
        number = self._channels(node.inputs[int(is_first)])
        if number is None:
            return None
        if node.kind == "Add":
            return Scaling(np.ones(1), number)
        if node.kind == "Sub":
            return Scaling(np.ones(1), -number) if is_first else Scaling(-np.ones(1), number)
        if node.kind == "Mul":
            return Scaling(number, np.zeros(1))
        if is_first and number.all():
            return Scaling(1 / number, np.zeros(1))
        return None

    def _read_batch_norm(self, node: Node) -> Scaling | None:
        numbers = [self._channels(name) for name in node.inputs[1:5]]
        gamma, beta, mean, variance = [*numbers, None, None, None, None][:4]
        if gamma is None or beta is None or mean is None or variance is None:
            return None
        factor = gamma / np.sqrt(variance + node.settings.get("epsilon", 1e-5))
        return Scaling(factor, beta - factor * mean)

    def _is_blind(self, node: Node) -> bool:
        """Return whether a convolution with biases hardly sees an input of -1 to 1."""
        if node.kind not in _CONVOLUTIONS or len(node.inputs) != 3:
            return False
        weights, biases = (self._value(name) for name in node.inputs[1:])
        if weights is None or biases is None:
            return False
        largest = np.abs(weights).reshape(len(weights), -1).sum(axis=1).max()
        return bool(largest < _SEEN_SHARE * np.abs(biases).max())

    def _channels(self, name: str) -> Doubles | None:
        """Return a constant as one number or three, or None if it is neither."""
        value = self._value(name)
        if value is None or value.size not in _CHANNELS or not np.isfinite(value).all():
            return None
        return value.ravel()

    def _value(self, name: str, depth: int = 0) -> Doubles | None:
        """Return a constant, or what a few operators make of constants."""
        found = self._constant(name)
        if found is not None:
            return np.asarray(found, np.float64)
        node = self._makers.get(name)
        if node is None or depth > _DEPTH or not node.inputs:
            return None
        values = [self._value(each, depth + 1) for each in node.inputs]
        first = values[0]
        if first is None or node.kind in _PASSING:
            return first
        if node.kind == "Sqrt":
            return np.sqrt(first)
        if node.kind == "Maximum" and len(values) == 2 and values[1] is not None:
            return np.maximum(first, values[1])
        return None


class Reading(NamedTuple):
    """The preprocessing that a model's file states or its graph shows.

    `stated` are mean, std, size and color as strings; empty if the file shows none. `origin` says
    where they are from. `doubt` is a scaling inside the graph that is not understood.
    """

    stated: Mapping[str, str] = {}
    origin: str = ""
    doubt: str = ""


def read_scaling(scaling: Scaling) -> Reading:
    """Conclude from what a graph does first to what it must be given.

    >>> read_scaling(Scaling(np.array([1 / 128]), np.array([-127.5 / 128]))).stated
    {'mean': '0', 'std': '1'}
    >>> dict(read_scaling(Scaling(np.array([2.0]), np.array([-1.0]))).stated)
    {'mean': '0', 'std': '255'}
    """
    factor, shift = np.broadcast_arrays(*scaling[:2])
    if (factor == 1).all() and not shift.any():
        return Reading(doubt=_FOLDED if scaling.is_blind else "")
    if factor.all():
        centre, sizes = -shift / factor, np.abs(factor)
        for of_factor, of_centre, stated in _RULES:
            if _within(sizes, of_factor) and _within(centre, of_centre):
                return Reading(stated, f"the graph itself computes {scaling}")
    return Reading(doubt=str(scaling))


def _within(values: Doubles, bounds: Sequence[float]) -> bool:
    return bool((values >= bounds[0]).all() and (values <= bounds[1]).all())
