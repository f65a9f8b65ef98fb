"""MXNet's operators that move values but do not change them, as ONNX nodes."""

from __future__ import annotations

import numpy as np

from faceprep.models.mxnet.operation import Operation
from faceprep.models.onnx_graph import Value

_MAX_SCALE, _MAX_PARTS = 64, 1 << 12


def reshape(op: Operation) -> list[Value]:
    """Convert Reshape with the codes 0 (the same side) and -1 (the rest). Raises SourceError."""
    attributes, x = op.attributes, op.value()
    shape = attributes.integers("shape")
    for name in ("target_shape", "reverse", "keep_highest"):
        text = attributes.text(name)
        if text.strip("()[]0, ") not in ("", "False"):
            raise attributes.error(name, "none", text)
    is_known = all(
        side > 0 or side == -1 or (side == 0 and axis < x.rank) for axis, side in enumerate(shape)
    )
    if not shape or not is_known or shape.count(-1) > 1:
        raise attributes.error("shape", "sides, 0 or one -1", str(shape))
    sides = op.graph.constant(shape, np.int64)
    return [op.graph.add("Reshape", [x, sides], len(shape))]


def flatten(op: Operation) -> list[Value]:
    """Convert Flatten."""
    return [op.graph.add("Flatten", [op.value()], 2, axis=1)]


def concat(op: Operation) -> list[Value]:
    """Convert Concat. Raises SourceError."""
    op.attributes.integer("num_args", 1)
    values, axis = op.values(), op.attributes.integer("dim", 1)
    return [op.graph.add("Concat", values, values[0].rank, axis=axis)]


def crop(op: Operation) -> list[Value]:
    """Convert Crop to the height and width of the second input. Raises SourceError."""
    attributes = op.attributes
    if attributes.integer("num_args") != 2 or op.n_inputs != 2:
        raise attributes.error("num_args", "2", attributes.text("num_args"))
    if attributes.flag("center_crop"):
        raise attributes.error("center_crop", "False", "True")
    offset = attributes.integers("offset", (0, 0))
    attributes.integers("h_w")
    if len(offset) != 2 or min(offset) < 0:
        raise attributes.error("offset", "two numbers of 0 or more", str(offset))
    graph, x = op.graph, op.expect_rank(4)
    start, axes = graph.constant(offset, np.int64), graph.constant([2, 3], np.int64)
    shape = graph.add("Shape", [op.value(1)], 1)
    stop = graph.add("Gather", [shape, axes], 1)
    if any(offset):
        stop = graph.add("Add", [stop, start], 1)
    return [graph.add("Slice", [x, start, stop, axes], 4)]


def slice_channel(op: Operation) -> list[Value]:
    """Convert SliceChannel into equal parts. Raises SourceError."""
    attributes, x = op.attributes, op.value()
    n, axis = attributes.integer("num_outputs"), attributes.integer("axis", 1)
    if not 0 < n <= _MAX_PARTS:
        raise attributes.error("num_outputs", f"1 to {_MAX_PARTS:,}", str(n))
    parts = op.graph.add_many("Split", [x], [x.rank] * n, axis=axis)
    if not attributes.flag("squeeze_axis"):
        return parts
    axes = op.graph.constant([axis], np.int64)
    return [op.graph.add("Squeeze", [part, axes], x.rank - 1) for part in parts]


def up_sampling(op: Operation) -> list[Value]:
    """Convert UpSampling of one input by repetition. Raises SourceError."""
    attributes, scale = op.attributes, op.attributes.integer("scale")
    attributes.choice("sample_type", "nearest", ("nearest",))
    if attributes.integer("num_args", 1) != 1:
        raise attributes.error("num_args", "1", attributes.text("num_args"))
    if not 1 <= scale <= _MAX_SCALE:
        raise attributes.error("scale", f"1 to {_MAX_SCALE}", str(scale))
    x = op.expect_rank(4)
    inputs = [x, Value("", 0), op.graph.constant([1, 1, scale, scale])]
    return [
        op.graph.add(
            "Resize",
            inputs,
            4,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    ]


def transpose(op: Operation) -> list[Value]:
    """Convert transpose. Raises SourceError."""
    x = op.value()
    axes = op.attributes.integers("axes", tuple(reversed(range(x.rank))))
    if sorted(axes) != list(range(x.rank)):
        raise op.attributes.error("axes", f"the axes 0 to {x.rank - 1}", str(axes))
    return [op.graph.add("Transpose", [x], x.rank, perm=axes)]
