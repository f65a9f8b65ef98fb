"""Keras models in .h5 and .keras files. Code in a file is not run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.models.files.keras_config import refuse_code
from faceprep.models.files.open_model import OpenModel, Output
from faceprep.models.files.preparation import KERAS_STD
from faceprep.models.files.scaling import Graph, Node, read_scaling
from faceprep.models.files.tensorflow_session import BATCH, errors_of, only_input, open_tensorflow
from faceprep.models.onnx_session import Runtime
from faceprep.models.weights import find_model, fingerprint_files

_OPERATORS = {
    "Add": "Add",
    "Subtract": "Sub",
    "Multiply": "Mul",
    "Divide": "Div",
    "TrueDivide": "Div",
}
_PASSING = {"InputLayer", "ZeroPadding2D", "Identity", "Activation"}


def open_keras(runtime: Runtime, source: str) -> OpenModel:
    """Open a Keras model. Raises SourceError, MissingExtra, FaceprepError."""
    path = find_model(source, "a Keras file")
    tf, device, provider = open_tensorflow(runtime)
    with errors_of(path), tf.device(device):
        refuse_code(path)
        model = tf.keras.models.load_model(str(path), compile=False, safe_mode=True)
        input_ = only_input(model.inputs)
        names = getattr(model, "output_names", ("output",))  # a Sequential has one without a name
        shapes = [tuple(each.shape) for each in model.outputs]
        layers = _Layers(model)
        graph = Graph(list(layers.nodes()), layers.constants.get)
        reading = read_scaling(graph.find_scaling(_name(input_)))

    def run(values: Floats) -> list[npt.NDArray[Any]]:
        with errors_of(path), tf.device(device):
            return [np.asarray(each) for each in tf.nest.flatten(model.predict_on_batch(values))]

    return OpenModel(
        path=path,
        name=f"{path.stem}/{fingerprint_files(path)}",
        run=run,
        outputs=tuple(map(Output, names, shapes)),
        shape=input_.shape,
        batch=BATCH,
        is_fixed=True,  # TensorFlow traces the model again for another size
        provider=provider,
        reading=reading,
        default_std=KERAS_STD,
    )


def _name(tensor: Any) -> str:
    return f"t{id(tensor)}"


class _Layers:
    """The layers of a model as operators; their numbers are the `constants`."""

    def __init__(self, model: Any) -> None:
        functional = getattr(model, "_functional", None) or model  # a Sequential has one inside
        self._calls = getattr(functional, "_nodes_by_depth", {})
        self.constants: dict[str, Any] = {}
        self._numbers = count()

    def nodes(self) -> Iterator[Node]:
        for calls in self._calls.values():
            for call in calls:
                if call.input_tensors:
                    yield from self._steps(call.operation, call)

    def _steps(self, layer: Any, call: Any) -> Iterator[Node]:
        """Yield the operators of one call of a layer."""
        kind, inputs = type(layer).__name__, [_name(each) for each in call.input_tensors]
        output = _name(call.outputs[0])
        if kind == "Rescaling":
            yield from self._chain(inputs[0], output, ("Mul", layer.scale), ("Add", layer.offset))
        elif kind == "Normalization":
            steps = ("Sub", layer.mean), ("Div", np.sqrt(np.asarray(layer.variance)))
            yield from self._chain(inputs[0], output, *steps)
        elif kind in _OPERATORS and len(inputs) == 1:
            operands = [self._operand(each, inputs[0]) for each in call.arguments.args[:2]]
            yield Node(_OPERATORS[kind], tuple(operands), (output,))
        else:
            passing = "Identity" if kind in _PASSING else kind
            yield Node(passing, tuple(inputs), (output,))

    def _chain(self, value: str, output: str, *steps: tuple[str, Any]) -> Iterator[Node]:
        for place, (kind, numbers) in enumerate(steps, 1):
            result = output if place == len(steps) else f"{output}/{place}"
            yield Node(kind, (value, self._constant(numbers)), (result,))
            value = result

    def _operand(self, argument: Any, value: str) -> str:
        if _name(argument) == value:
            return value
        return self._constant(argument)

    def _constant(self, numbers: Any) -> str:
        name = f"c{next(self._numbers)}"
        self.constants[name] = np.asarray(numbers, np.float64)
        return name
