"""TensorFlow's SavedModel folders. Their graphs may read and write files: take them from people
whom you trust.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import SourceError
from faceprep.models.files.open_model import OpenModel, Output
from faceprep.models.files.preparation import KERAS_STD
from faceprep.models.files.scaling import Graph, Node, Reading, read_scaling
from faceprep.models.files.tensorflow_session import BATCH, errors_of, only_input, open_tensorflow
from faceprep.models.onnx_session import Runtime
from faceprep.models.weights import find_model, fingerprint_files

_OPERATORS = {"AddV2": "Add", "BiasAdd": "Add", "RealDiv": "Div", "Placeholder": "Identity"}
_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
_SIGNATURE = "serving_default"


def open_saved_model(runtime: Runtime, source: str) -> OpenModel:
    """Open the signature `serving_default` of a folder.

    Raises SourceError, MissingExtra, FaceprepError.
    """
    path = find_model(source, "a SavedModel folder", os.path.isdir)
    if not any((path / name).is_file() for name in _GRAPHS):
        raise SourceError("not a SavedModel folder", path=path, expected=f"{_GRAPHS[0]} in it")
    tf, device, provider = open_tensorflow(runtime)
    with errors_of(path), tf.device(device):
        model = tf.saved_model.load(str(path))
        call = model.signatures[_SIGNATURE]
        input_name, spec = only_input(list(call.structured_input_signature[1].items()))
        shape = spec.shape.as_list()
        declared = sorted(call.structured_outputs.items())
        outputs = [Output(name, tuple(each.shape)) for name, each in declared]
        reading = _read_graph(tf, call)

    def run(values: Floats) -> list[npt.NDArray[Any]]:
        kept = model  # the signature does not keep its variables alive
        with errors_of(path), tf.device(device):
            found = kept.signatures[_SIGNATURE](**{input_name: tf.constant(values)})
            return [np.asarray(found[output.name].numpy()) for output in outputs]

    return OpenModel(
        path=path,
        name=f"{path.name}/{fingerprint_files(path)}",
        run=run,
        outputs=tuple(outputs),
        shape=shape,
        batch=shape[0] or BATCH,
        is_fixed=True,
        provider=provider,
        reading=reading,
        default_std=KERAS_STD,
    )


def _read_graph(tf: Any, call: Any) -> Reading:
    """Follow the input through the graph, its variables made constants."""
    from tensorflow.python.framework import convert_to_constants as freezing

    frozen = freezing.convert_variables_to_constants_v2(call, lower_control_flow=False)
    graph = frozen.graph.as_graph_def()
    constants = {node.name: node for node in graph.node if node.op == "Const"}
    nodes = [
        Node(
            _OPERATORS.get(node.op, node.op),
            tuple(name.partition(":")[0] for name in node.input),
            (node.name,),
        )
        for node in graph.node
    ]

    def constant(name: str) -> Any:
        if name in constants:
            return tf.make_ndarray(constants[name].attr["value"].tensor)
        return None

    start = frozen.inputs[0].name.partition(":")[0]
    return read_scaling(Graph(nodes, constant).find_scaling(start))
